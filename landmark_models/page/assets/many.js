// Gives each picture of the gallery the name of what it shows; gradio's is its place, such as "Thumbnail 3 of 40".
() => requestAnimationFrame(() => {
  for (const button of document.querySelectorAll('#gallery .thumbnail-lg')) {
    button.setAttribute('aria-label', button.querySelector('img')?.alt ?? '');
  }
})
