"""The answer as a person reads it, in HTML: name, place, how sure, what it is, hashtags to copy, map, downloads."""

import base64
import json
from html import escape

from landmark_models.tagging import Tags

__all__ = ["COPY", "STYLE", "answer_html"]

STYLE = """
h2 { font-size: 2rem; margin: 0 0 .25rem; }
p { margin: .5rem 0; }
.lead { font-size: 1.1rem; }
.chips, .links { display: flex; flex-wrap: wrap; gap: .5rem; }
.chips button {
  border: 1px solid var(--border-color-primary); border-radius: 1rem; padding: .2rem .8rem; cursor: pointer;
  background: var(--background-fill-secondary); color: var(--body-text-color);
}
.chips button:focus-visible, .links a:focus-visible { outline: 2px solid var(--color-accent); }
.links a { text-decoration: underline; color: var(--link-text-color); margin-right: .5rem; }
"""

# What the page runs once: a click on a chip copies it, and the chip says so.
COPY = """
element.addEventListener('click', async event => {
  const chip = event.target.closest('[data-copy]');
  if (!chip || chip.dataset.busy) return;
  const said = chip.textContent;
  chip.dataset.busy = 'yes';
  try {
    await navigator.clipboard.writeText(chip.dataset.copy);
    chip.textContent = 'Copied';
  } catch (error) {
    chip.textContent = 'Select and copy';
  }
  setTimeout(() => { chip.textContent = said; delete chip.dataset.busy; }, 1200);
});
"""


def answer_html(tags: Tags) -> str:
    """The answer for a photo; every text in it is escaped."""
    name, score, landmark = escape(tags.name), f"{tags.best.score:.0%}", tags.landmark
    parts = []
    if known := tags.sureness != "hardly":
        place = f"{escape(tags.place)}<br>" if tags.place else ""
        parts.append(f"<h2>{name}</h2><p class='lead'>{place}{tags.sureness.capitalize()} ({score})</p>")
    elif tags.agrees is False:
        parts.append(f"<h2>Not sure</h2><p class='lead'>It looks like {name} ({score}), but was taken elsewhere.</p>")
    else:
        parts.append("<h2>Not recognised</h2><p class='lead'>It looks like none of the landmarks that are known here.")
        parts.append(f"The nearest is {name} ({score}).</p>")
    if tags.photo_position:
        where = "The photo itself says where it was taken: {:.4f}, {:.4f}".format(*tags.photo_position)
        distance = "" if tags.distance_km is None else f", {tags.distance_km:,.0f} km from {name}"
        parts.append(f"<p>{where}{distance}.</p>")
    links = []
    if known:
        if landmark:
            parts.append(f"<p>{escape(landmark.about)}</p>")
            links.append(f"<a href='{escape(landmark.map_url)}' target='_blank' rel='noopener noreferrer'>Map</a>")
        chips = [_chip(tag, tag) for tag in tags.hashtags]
        if len(chips) > 1:
            chips.append(_chip("Copy all", " ".join(tags.hashtags)))
        parts.append(f"<p class='chips'>{''.join(chips)}</p>")
        links.append(_download("photo.xmp", "application/rdf+xml", tags.xmp(), "XMP sidecar"))
    links.append(_download("landmark.json", "application/json", json.dumps(tags.annotations(), indent=1), "JSON"))
    return "".join([*parts, f"<p class='links'>{''.join(links)}</p>"])


def _chip(text: str, copied: str) -> str:
    return f"<button type='button' data-copy='{escape(copied)}'>{escape(text)}</button>"


def _download(name: str, kind: str, content: str, text: str) -> str:
    """A link that saves a small file; the page itself holds it, so that nothing is left on the server."""
    data = base64.b64encode(content.encode()).decode()
    return f"<a download='{name}' href='data:{kind};base64,{data}'>{text}</a>"
