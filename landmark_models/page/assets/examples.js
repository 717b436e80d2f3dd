// Runs once for the component with the photos to try, `element`: a click on one chooses it.
element.addEventListener('click', event => {
  const button = event.target.closest('[data-index]');
  if (button) trigger('select', {index: Number(button.dataset.index), value: button.textContent.trim()});
});
