"""Answers as a person reads them, in HTML: name, place, how sure, what it is, hashtags to copy, map, downloads."""

import base64
import json
from collections.abc import Sequence
from html import escape

from landmark_models.batch import Tagged, as_csv, as_jsonl, sidecars
from landmark_models.gazetteer import Landmark

__all__ = ["BEHAVIOUR", "EMPTY", "STYLE", "answer_html", "table_html"]

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
table { width: 100%; border-collapse: collapse; border: 0; }
th, td { text-align: left; padding: .4rem .5rem; border: 0; border-bottom: 1px solid var(--border-color-primary); }
td img { width: 64px; height: 64px; object-fit: cover; border-radius: .3rem; }
td.name { overflow-wrap: anywhere; min-width: 6rem; }
.wide { overflow-x: auto; }
.links a { text-decoration: underline; color: var(--link-text-color); margin-right: .5rem; }
"""

_XMP = "application/rdf+xml"
_HINT = "It also says that the camera stood at the landmark, where the photo itself says nothing."
EMPTY = "<p class='hint'>The answer comes here.</p>"

# What the page runs once: a click on a chip copies it, and the chip says so; the map is asked for by a click alone.
# A page that is not served encrypted, such as one in a local network, has no `navigator.clipboard`.
BEHAVIOUR = """
element.setAttribute('aria-live', 'polite');
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


def answer_html(photo: Tagged) -> str:
    """The answer for a photo, or why it can't be read; every text in it is escaped."""
    if (tags := photo.tags) is None:
        return f"<h2>This photo can't be read</h2><p class='lead'>{escape(photo.error)}</p>"
    name, score, landmark = escape(tags.name), f"{tags.best.score:.0%}", tags.landmark
    parts = []
    if tags.photo_position:
        where = "The photo itself says where it was taken: {:.4f}, {:.4f}".format(*tags.photo_position)
        distance = "" if tags.distance_km is None else f", {tags.distance_km:,.0f} km from {name}"
        parts.append(f"<p>{where}{distance}.</p>")
    if known := tags.recognised:
        place = f"{escape(tags.place)}<br>" if tags.place else ""
        parts.append(f"<h2>{name}</h2><p class='lead'>{place}{tags.sureness.capitalize()} ({score})</p>")
    elif tags.agrees is False:
        parts.append(f"<h2>Not sure</h2><p class='lead'>It looks like {name} ({score}), but was taken elsewhere.</p>")
    else:
        parts.append("<h2>Not recognised</h2><p class='lead'>It looks like none of the landmarks that are known here. ")
        parts.append(f"The nearest is {name} ({score}).</p>")
    links = []
    if known:
        if landmark:
            parts.append(f"<p>{escape(landmark.about)}</p>")
            links.append(f"<a href='{escape(landmark.map_url)}' target='_blank' rel='noopener noreferrer'>Map</a>")
        chips = [_chip(tag, tag) for tag in tags.hashtags]
        if len(chips) > 1:
            chips.append(_chip("Copy all", " ".join(tags.hashtags)))
        parts.append(f"<p class='chips'>{''.join(chips)}</p>")
        links.append(_download(f"{photo.name}.xmp", _XMP, tags.xmp(), "XMP sidecar"))
        if landmark and landmark.position and not tags.photo_position:
            links.append(
                _download(f"{photo.name}.xmp", _XMP, tags.xmp(camera_position=True), "XMP with position", _HINT)
            )
    links.append(_download(f"{photo.name}.json", "application/json", json.dumps(tags.annotations(), indent=1), "JSON"))
    parts.append(f"<p class='links'>{''.join(links)}</p>")
    if known and landmark and landmark.position:
        parts.append(_map(landmark))
    return "".join(parts)


def table_html(photos: Sequence[Tagged]) -> str:
    """A table of many photos with what is in each, or why it can't be read, and everything to save."""
    failed = sum(not photo.tags for photo in photos)
    unsure = sum(not photo.tags.recognised for photo in photos if photo.tags)
    parts = [f"<p class='lead'>{len(photos)} photos: {len(photos) - failed - unsure} recognised, {unsure} not, "]
    parts.append(f"{failed} can't be read.</p><p class='links'>")
    parts.append(_download("landmarks.csv", "text/csv", as_csv(photos), "CSV"))
    parts.append(_download("landmarks.jsonl", "application/jsonl", as_jsonl(photos), "JSON lines"))
    parts.append(_download("sidecars.zip", "application/zip", sidecars(photos), "XMP sidecars (zip)"))
    placed = sidecars(photos, camera_position=True)
    parts.append(_download("sidecars.zip", "application/zip", placed, "XMP with positions (zip)", _HINT))
    parts.append("</p><div class='wide'><table><thead><tr><th>Photo</th><th>File</th><th>Landmark</th><th>Sure</th>")
    parts.append("<th>Place</th><th>Tags</th></tr></thead><tbody>")
    parts += [_row(photo) for photo in photos]
    return "".join([*parts, "</tbody></table></div>"])


def _row(photo: Tagged) -> str:
    name, tags = f"<td class='name'>{escape(photo.name)}</td>", photo.tags
    if tags is None:
        return f"<tr><td></td>{name}<td colspan='4'>{escape(photo.error)}</td></tr>"
    data = base64.b64encode(photo.thumbnail).decode()
    image = f"<td><img alt='{escape(tags.alt_text)}' src='data:image/jpeg;base64,{data}'></td>"
    if not tags.recognised:
        return f"<tr>{image}{name}<td>not recognised</td><td>{tags.best.score:.0%}</td><td></td><td></td></tr>"
    cells = [tags.name, f"{tags.best.score:.0%}", tags.place, " ".join(tags.hashtags)]
    return f"<tr>{image}{name}{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"


def _map(landmark: Landmark) -> str:
    """A button that puts OpenStreetMap's own map in its place, which tells that site who asks."""
    assert landmark.position is not None
    latitude, longitude = landmark.position
    box = f"{longitude - 0.01},{latitude - 0.006},{longitude + 0.01},{latitude + 0.006}"
    url = f"https://www.openstreetmap.org/export/embed.html?bbox={box}&marker={latitude},{longitude}"
    return (
        f"<p class='chips'><button type='button' data-map='{escape(url)}'>Show the map (openstreetmap.org)</button></p>"
    )


def _chip(text: str, copied: str) -> str:
    return f"<button type='button' data-copy='{escape(copied)}'>{escape(text)}</button>"


def _download(name: str, kind: str, content: str | bytes, text: str, hint: str = "") -> str:
    """A link that saves a small file; the page itself holds it, so that nothing is left on the server."""
    data = base64.b64encode(content.encode() if isinstance(content, str) else content).decode()
    return f"<a download='{escape(name)}' title='{hint}' href='data:{kind};base64,{data}'>{text}</a>"
