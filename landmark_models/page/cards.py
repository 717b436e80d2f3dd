"""Answers as a person reads them, in HTML: name, place, verdict, what it is, hashtags to copy, map, downloads."""

import base64
import json
from collections.abc import Sequence
from html import escape

from landmark_models.page.batch import Tagged, as_csv, as_jsonl, sidecars
from landmark_models.tagging.gazetteer import Landmark

__all__ = ["EMPTY", "answer_html", "table_html"]

_XMP = "application/rdf+xml"
_HINT = "It also says that the camera stood at the landmark, where the photo itself says nothing."
_SCORE = "The probability among the landmarks known here, not how often such answers are right."
EMPTY = "<p class='hint'>The answer comes here.</p>"


def answer_html(photo: Tagged) -> str:
    """The answer for a photo, or why it can't be read; every text in it is escaped."""
    if (tags := photo.tags) is None:
        return f"<h2>This photo can't be read</h2><p class='lead'>{escape(photo.error)}</p>"
    name, score, landmark = escape(tags.name), f"{tags.best.score:.0%}", tags.landmark
    parts = []
    if tags.photo_position:
        where = "The photo itself says where it was taken: {:.4f}, {:.4f}".format(*tags.photo_position)
        distance = f", {tags.distance_km:,.0f} km from {name}" if tags.recognised and tags.agrees else ""
        parts.append(f"<p>{where}{distance}.</p>")
    statement = f"{escape(tags.statement)}." if tags.statement else ""
    if known := tags.recognised:
        lead, rest = (escape(tags.place), f"{statement} ") if tags.place else (statement, "")
        parts.append(f"<h2>{name}</h2><p class='lead'>{lead}</p><p title='{_SCORE}'>{rest}Score {score}.</p>")
    elif tags.contradicted:
        parts.append(f"<h2>Not recognised</h2><p class='lead'>{statement}</p><p title='{_SCORE}'>Score {score}.</p>")
    else:
        parts.append(f"<h2>Not recognised</h2><p class='lead'>{statement} The nearest is {name} ({score}).</p>")
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
    recognised = sum(photo.tags.recognised for photo in photos if photo.tags)
    others = len(photos) - failed - recognised
    parts = [f"<p class='lead' role='status'>{len(photos)} photos: {recognised} recognised, {others} not, "]
    parts.append(f"{failed} can't be read.</p><p class='links'>")
    parts.append(_download("landmarks.csv", "text/csv", as_csv(photos), "CSV"))
    parts.append(_download("landmarks.jsonl", "application/jsonl", as_jsonl(photos), "JSON lines"))
    parts.append(_download("sidecars.zip", "application/zip", sidecars(photos), "XMP sidecars (zip)"))
    placed = sidecars(photos, camera_position=True)
    parts.append(_download("sidecars.zip", "application/zip", placed, "XMP with positions (zip)", _HINT))
    parts.append("</p><div class='wide'><table><thead><tr><th>Photo</th><th>File</th><th>Landmark</th><th>Score</th>")
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
        why = tags.statement if tags.contradicted else f"The nearest is {tags.name} ({tags.best.score:.0%})"
        return f"<tr>{image}{name}<td colspan='4'>Not recognised. {escape(why)}.</td></tr>"
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
