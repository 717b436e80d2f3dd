"""How the page looks and what it does in the browser: CSS and JavaScript."""

import json
from collections.abc import Sequence

__all__ = ["BEHAVIOUR", "FRAMES", "SPOKEN", "STYLE", "when_opened"]

STYLE = """
h2 { font-size: 2rem; margin: 0 0 .25rem; }
p { margin: .5rem 0; }
.lead { font-size: 1.1rem; }
.hint { color: var(--body-text-color-subdued); }
.chips, .links { display: flex; flex-wrap: wrap; gap: .5rem; }
.chips button {
  border: 1px solid var(--border-color-primary); border-radius: 1rem; padding: .2rem .8rem; cursor: pointer;
  background: var(--background-fill-secondary); color: var(--body-text-color);
}
.chips button:focus-visible, .links a:focus-visible { outline: 2px solid var(--color-accent); }
iframe { width: 100%; height: 260px; border: 1px solid var(--border-color-primary); border-radius: .5rem; }
table { width: 100%; border-collapse: collapse; }
table, thead, tbody, tr { border: 0 !important; }
th, td { text-align: left; padding: .4rem .5rem; border: 0; border-bottom: 1px solid var(--border-color-primary); }
td img { width: 64px; height: 64px; object-fit: cover; border-radius: .3rem; }
td.name { overflow-wrap: anywhere; min-width: 6rem; }
.wide { overflow-x: auto; }
.links a { text-decoration: underline; color: var(--link-text-color); margin-right: .5rem; }
"""

# Of the whole page: a photo of a few pixels fills its frame, as a large one does; below an example stands its caption.
FRAMES = """
:is(#photo, #reason) .image-frame img { object-fit: contain; }
.gallery-item::after { content: attr(aria-label); display: block; max-width: 10rem; padding: .2rem .5rem; }
"""

SPOKEN = "element.setAttribute('aria-live', 'polite');"  # a screen reader says what comes

# Photos whose kind the browser does not know, such as HEIC on many desks, get the one of their file's ending, since
# gradio takes nothing else for a photo.
_OPENED = """() => {
  const captions = CAPTIONS;
  document.querySelectorAll('.gallery-item').forEach((item, i) => item.setAttribute('aria-label', captions[i]));
  const kinds = {heic: 'heic', heif: 'heif', avif: 'avif', tif: 'tiff', tiff: 'tiff', webp: 'webp', jpg: 'jpeg'};
  const named = files => {
    const all = new DataTransfer();
    for (const file of files) {
      const kind = kinds[file.name.split('.').pop().toLowerCase()];
      all.items.add(file.type || !kind ? file : new File([file], file.name, {type: `image/${kind}`}));
    }
    return all.files;
  };
  const photo = document.querySelector('#photo');
  photo.addEventListener('change', event => {
    if (event.target.type === 'file') event.target.files = named(event.target.files);
  }, true);
  photo.addEventListener('drop', event => {
    const chooser = photo.querySelector('input[type=file]');
    if (!chooser || ![...event.dataTransfer.files].some(file => !file.type)) return;
    event.preventDefault();
    event.stopPropagation();
    chooser.files = named(event.dataTransfer.files);
    chooser.dispatchEvent(new Event('change', {bubbles: true}));
  }, true);
}"""


def when_opened(captions: Sequence[str]) -> str:
    """What the page runs when it opens: each example gets its caption, and photos their kind as they are chosen."""
    return _OPENED.replace("CAPTIONS", json.dumps(captions))


# What an answer does: a click on a chip copies it, and the chip says so; the map is asked for by a click alone.
# A page that is not served encrypted, such as one in a local network, has no `navigator.clipboard`.
BEHAVIOUR = """
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
  const said = chip.textContent;
  chip.dataset.busy = 'yes';
  try {
    await copy(chip.dataset.copy);
    chip.focus();
    chip.textContent = 'Copied';
  } catch (error) {
    chip.textContent = 'Select and copy';
  }
  setTimeout(() => { chip.textContent = said; delete chip.dataset.busy; }, 1200);
});
"""
