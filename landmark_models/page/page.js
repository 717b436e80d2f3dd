// Gives each example its caption, and each chosen photo its type where the browser doesn't know it.
captions => {
  document.querySelectorAll('.gallery-item').forEach((item, i) => item.setAttribute('aria-label', captions[i]));
  // Browsers know no type for HEIC, for example, where nothing is installed that opens it, and gradio only accepts files
  // with the type of an image, so these get the type that their ending stands for.
  const types = {heic: 'heic', heif: 'heif', avif: 'avif', tif: 'tiff', tiff: 'tiff', webp: 'webp', jpg: 'jpeg'};
  const withTypes = files => {
    const typed = new DataTransfer();
    for (const file of files) {
      const type = types[file.name.split('.').pop().toLowerCase()];
      typed.items.add(file.type || !type ? file : new File([file], file.name, {type: `image/${type}`}));
    }
    return typed.files;
  };
  const photo = document.querySelector('#photo');
  photo.addEventListener('change', event => {
    if (event.target.type === 'file') event.target.files = withTypes(event.target.files);
  }, true);
  photo.addEventListener('drop', event => {
    const chooser = photo.querySelector('input[type=file]');
    if (!chooser || ![...event.dataTransfer.files].some(file => !file.type)) return;
    event.preventDefault();
    event.stopPropagation();
    chooser.files = withTypes(event.dataTransfer.files);
    chooser.dispatchEvent(new Event('change', {bubbles: true}));
  }, true);
}
