// Runs once for a component with buttons that act on a photo or a landmark, `element`: the page is told which, and the
// keyboard goes on from the next button, since the list is drawn anew.
element.setAttribute('aria-live', 'polite');
let acted = null;
const buttons = act => [...element.querySelectorAll(`[data-act="${act}"]`)];
element.addEventListener('click', event => {
  const button = event.target.closest('[data-act]');
  if (!button) return;
  const {act, of} = button.dataset;
  acted = {act, place: buttons(act).indexOf(button)};
  trigger('select', {index: of, value: act});
});
watch('value', () => {
  if (!acted) return;
  const left = buttons(acted.act);
  left[Math.min(acted.place, left.length - 1)]?.focus();
  acted = null;
});
