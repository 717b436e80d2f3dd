// Gives each chosen photo its type where the browser doesn't know it, takes photos that are pasted anywhere, and opens the
// chooser with one click.
() => {
  // Browsers know no type for HEIC, for example, where nothing is installed that opens it, and gradio only accepts files
  // with the type of an image, so these get the type that their ending stands for.
  const types = {heic: 'heic', heif: 'heif', avif: 'avif', tif: 'tiff', tiff: 'tiff', webp: 'webp', jpg: 'jpeg'};
  const withTypes = files => {
    const typed = new DataTransfer();
    for (const file of files) {
      const type = types[file.name.split('.').pop().toLowerCase()];
      typed.items.add(file.type || !type ? file : new File([file], file.name, {type: `image/${type}`}));
    }
    return typed;
  };
  const photo = document.querySelector('#photo');
  const drop = data => photo.querySelector('.upload-container').dispatchEvent(
    new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true}));
  photo.addEventListener('change', event => {
    if (event.target.type === 'file') event.target.files = withTypes(event.target.files).files;
  }, true);
  photo.addEventListener('drop', event => {
    if (![...event.dataTransfer.files].some(file => !file.type)) return;
    const typed = withTypes(event.dataTransfer.files);
    if ([...typed.files].some(file => !file.type)) return;  // gradio says that it isn't an image
    event.preventDefault();
    event.stopPropagation();
    drop(typed);
  }, true);
  photo.addEventListener('click', event => {  // gradio itself only makes room for another photo
    if (event.target.closest('.source-selection button:first-child')) {
      setTimeout(() => photo.querySelector('input[type=file]')?.click());
    }
  });
  document.addEventListener('paste', event => {
    const files = [...event.clipboardData.files].filter(file => file.type.startsWith('image/') || !file.type);
    if (!files.length || !photo.offsetParent) return;
    event.preventDefault();
    const data = new DataTransfer();
    data.items.add(files[0]);
    drop(data);
  });
}
