// Runs once for a component with answers, `element`: a click on a chip copies it, and the chip says so; the map is loaded
// by a click only. A page that isn't served over https, such as one in a local network, has no `navigator.clipboard`.
// One in somebody else's iframe has one that it may not use.
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
  const map = event.target.closest('[data-map]');
  if (map) {
    const frame = document.createElement('iframe');
    frame.src = map.dataset.map;
    frame.title = 'Map';
    map.replaceWith(frame);
    frame.focus();
    return;
  }
  const chip = event.target.closest('[data-copy]');
  if (!chip || chip.dataset.busy) return;
  const label = chip.textContent;
  chip.dataset.busy = 'yes';
  try {
    await copy(chip.dataset.copy);
    chip.focus();
    chip.textContent = 'Copied';
  } catch (error) {
    const field = document.createElement('input');  // where the text can be selected and copied by hand
    field.readOnly = true;
    field.value = chip.dataset.copy;
    field.setAttribute('aria-label', 'Select and copy');
    field.addEventListener('blur', () => field.remove());
    chip.after(field);
    field.select();
  }
  setTimeout(() => { chip.textContent = label; delete chip.dataset.busy; }, 1200);
});
