// Runs once for a component with answers, `element`: a click on a chip copies it, and the chip says so; the map is loaded
// by a click only. A page that isn't served over https, such as one in a local network, has no `navigator.clipboard`.
async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
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
    chip.textContent = 'Select and copy';
  }
  setTimeout(() => { chip.textContent = label; delete chip.dataset.busy; }, 1200);
});
