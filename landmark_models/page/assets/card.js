// Runs once for a component with answers, `element`: a screen reader reads each answer; a click on a button copies its
// text, and the button says so; a menu closes when another place is clicked, or by Escape.
element.setAttribute('aria-live', 'polite');
const closeMenus = () => element.querySelectorAll('details.menu[open]').forEach(menu => { menu.open = false; });
document.addEventListener('click', event => {
  if (!event.target.closest?.('details.menu')) closeMenus();
});
element.addEventListener('keydown', event => {
  const menu = event.key === 'Escape' && event.target.closest('details.menu[open]');
  if (!menu) return;
  menu.open = false;
  menu.querySelector('summary').focus();
});
// A page that isn't served over https, such as one in a local network, has no `navigator.clipboard`. One in somebody
// else's iframe has one that it may not use.
async function copy(text) {
  try {
    return await navigator.clipboard.writeText(text);
  } catch {}
  const area = document.createElement('textarea');
  area.value = text;
  area.style.position = 'fixed';
  element.append(area);
  area.select();
  const copied = document.execCommand('copy');
  area.remove();
  if (!copied) throw new Error('not copied');
}
element.addEventListener('click', async event => {
  const button = event.target.closest('[data-copy]');
  if (!button || button.dataset.busy) return;
  const label = button.textContent;
  button.dataset.busy = 'yes';
  try {
    await copy(button.dataset.copy);
    button.focus();
    button.textContent = button.dataset.copied;
  } catch {
    const field = document.createElement('input');  // where the text can be selected and copied by hand
    field.readOnly = true;
    field.value = button.dataset.copy;
    field.setAttribute('aria-label', button.dataset.byHand);
    field.addEventListener('blur', () => field.remove());
    button.after(field);
    field.select();
  }
  setTimeout(() => { button.textContent = label; delete button.dataset.busy; }, 1200);
});
