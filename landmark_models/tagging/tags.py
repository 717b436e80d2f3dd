"""Turn predictions into what a person or an archive keeps: hashtags, alt text, JSON, a CSV row, an XMP sidecar.

tags = Tags.of(classifier.predict("taj.jpg"), photo_position("taj.jpg"))
tags.hashtags  # ['#TajMahal', '#Agra', '#UttarPradesh', '#India']
"""

import math
import re
import unicodedata
from dataclasses import dataclass
from typing import Any

from landmark_models.classifier import Answer, Prediction
from landmark_models.tagging.gazetteer import Landmark, find
from landmark_models.tagging.xmp import sidecar
from landmark_models.text import for_spreadsheet, for_terminal

CONTRADICTION_KM = 50.0  # from the photo's own position to the landmark

CSV_COLUMNS = (
    "path", "name", "label", "score", "known", "verdict", "place", "country", "latitude", "longitude", "wikidata",
    "hashtags", "agrees", "error",
)  # fmt: skip

_EARTH_RADIUS_KM = 6371.0088  # mean, IUGG


def distance_km(here: tuple[float, float], there: tuple[float, float]) -> float:
    """The great-circle distance in km between two points, latitude and longitude in degrees (haversine formula)."""
    (latitude, longitude), (other_latitude, other_longitude) = (map(math.radians, point) for point in (here, there))
    a = (
        math.sin((other_latitude - latitude) / 2) ** 2
        + math.cos(latitude) * math.cos(other_latitude) * math.sin((other_longitude - longitude) / 2) ** 2
    )
    return 2 * _EARTH_RADIUS_KM * math.asin(min(1.0, math.sqrt(a)))


@dataclass(frozen=True)
class Tags:
    """The tags of one photo, from its predictions, most likely first, and the position in its own metadata.

    `known` is whether it shows a landmark the model knows, and `verdict` says so in words; both are the `Answer`'s. A
    label without an entry in the gazetteer is used as the name.
    """

    predictions: tuple[Prediction, ...]
    photo_position: tuple[float, float] | None = None
    known: bool = True
    verdict: str = ""

    @classmethod
    def of(cls, answer: Answer, photo_position: tuple[float, float] | None = None) -> "Tags":
        """The tags for an answer and the photo's own latitude and longitude, if it has them.

        Raises:
            ValueError: there are no predictions.
        """
        if not answer:
            raise ValueError("There are no predictions to make tags of.")
        return cls(tuple(answer), photo_position, answer.known, answer.verdict)

    @property
    def best(self) -> Prediction:
        return self.predictions[0]

    @property
    def landmark(self) -> Landmark | None:
        """What the gazetteer knows of the most likely landmark, recognised or not."""
        return find(self.best.label)

    def named(self, count: int) -> dict[str, float]:
        """The scores of the first candidates, by proper name; by label where two labels have one name."""
        scores: dict[str, float] = {}
        for prediction in self.predictions[:count]:
            landmark = find(prediction.label)
            name = landmark.name if landmark else prediction.label
            scores[prediction.label if name in scores else name] = prediction.score
        return scores

    @property
    def recognised(self) -> bool:
        """Whether the most likely landmark counts: the model knows one, and the photo wasn't taken elsewhere."""
        return self.known and self.agrees is not False

    @property
    def name(self) -> str:
        """The proper name of the most likely landmark."""
        return self.landmark.name if self.landmark else self.best.label

    @property
    def place(self) -> str:
        """Its place and country, e.g. "Agra, Uttar Pradesh, India"; empty if the gazetteer has no entry."""
        return f"{self.landmark.place}, {self.landmark.country_name}" if self.landmark else ""

    @property
    def distance_km(self) -> float | None:
        """From the photo's own position to the landmark; None if either is unknown."""
        there = self.landmark.position if self.landmark else None
        return distance_km(self.photo_position, there) if self.photo_position and there else None

    @property
    def agrees(self) -> bool | None:
        """Whether the photo's own position fits the answer; None if there is nothing to compare."""
        if self.distance_km is None or self.landmark is None:
            return None
        return self.distance_km <= CONTRADICTION_KM + self.landmark.reach

    @property
    def contradicted(self) -> bool:
        """Whether the model knows a landmark here, but the photo was taken elsewhere."""
        return self.known and self.agrees is False

    @property
    def statement(self) -> str:
        """The answer in words, without a full stop: the verdict, unless the photo's own position contradicts it."""
        if self.contradicted:
            return f"Looks like {self.name}, but the photo was taken {self.distance_km:,.0f} km from it"
        return self.verdict

    @property
    def hashtags(self) -> list[str]:
        """Hashtags of the recognised landmark, the most specific first, without duplicates."""
        if not self.recognised:
            return []
        words = self.landmark.hashtags if self.landmark else (_hashtag(self.best.label),)
        return [f"#{word}" for word in dict.fromkeys(words) if word]

    @property
    def alt_text(self) -> str:
        """What the photo shows, in a sentence for somebody who can't see it."""
        if not self.recognised:
            return "A photo in which no landmark was recognised."
        name, landmark = for_terminal(self.name), self.landmark
        return f"Photo of {name}, {landmark.kind} in {self.place}." if landmark else f"Photo of {name}."

    def annotations(self) -> dict[str, Any]:
        """The answer in the format of Google Cloud Vision's `landmarkAnnotations`; `mid` is a Wikidata id or empty."""
        return {"landmarkAnnotations": [_annotation(prediction) for prediction in self.predictions]}

    def record(self) -> dict[str, Any]:
        """The answer as JSON: `annotations`, known, name, place, verdict, hashtags, alt text, distance, and `agrees`.

        The verdict is the `statement`. Name and place are None if no landmark was recognised, the last two if the photo
        has no position of its own.
        """
        return self.annotations() | {
            "known": self.known,
            "name": self.name if self.recognised else None,
            "place": self.place if self.recognised else None,
            "verdict": self.statement,
            "hashtags": self.hashtags,
            "altText": self.alt_text,
            "distanceKm": None if self.distance_km is None else round(self.distance_km),
            "agrees": self.agrees,
        }

    def row(self, path: str) -> dict[str, str]:
        """A row of a CSV file with `CSV_COLUMNS`; spreadsheets won't take any cell for a formula.

        The position is that of the landmark, not of the camera.
        """
        landmark = self.landmark if self.recognised else None
        cells = {
            "path": path,
            "name": self.name if self.recognised else "",
            "label": self.best.label,
            "score": f"{self.best.score:.4f}",
            "known": str(self.known).lower(),
            "verdict": self.statement,
            "place": landmark.place if landmark else "",
            "country": landmark.country if landmark else "",
            "wikidata": (landmark.wikidata if landmark else None) or "",
            "hashtags": " ".join(self.hashtags),
            "agrees": "" if self.agrees is None else str(self.agrees).lower(),
        }
        escaped = {column: for_spreadsheet(cells.get(column, "")) for column in CSV_COLUMNS}
        if landmark and landmark.position:  # numbers, so a minus sign needs no escaping
            escaped["latitude"], escaped["longitude"] = (f"{value:.4f}" for value in landmark.position)
        return escaped

    def xmp(self, camera_position: bool = False, existing: bytes | None = None) -> str:
        """An XMP sidecar: keywords, description, and the landmark as the location shown (IPTC).

        With `camera_position`, a photo without a position of its own gets the landmark's as the camera's. Everything in
        an `existing` sidecar is kept.

        Raises:
            LandmarkError: `existing` isn't XMP that can be read safely.
        """
        landmark = self.landmark if self.recognised else None
        names = [self.name, *(tag.removeprefix("#") for tag in self.hashtags)] if self.recognised else []
        camera = landmark.position if landmark and camera_position and not self.photo_position else None
        return sidecar([for_terminal(name) for name in names], self.alt_text, landmark, camera, existing)


def _hashtag(label: str) -> str:
    """A label as one word of letters and digits, e.g. "PalaceOfTheMist"."""
    plain = unicodedata.normalize("NFC", label)
    return "".join(word[:1].upper() + word[1:] for word in re.findall(r"\w+", plain.replace("_", " ")))


def _annotation(prediction: Prediction) -> dict[str, Any]:
    landmark = find(prediction.label)
    annotation: dict[str, Any] = {
        "mid": (landmark.wikidata if landmark else None) or "",
        "description": landmark.name if landmark else prediction.label,
        "score": prediction.score,
        "locations": [],
    }
    if landmark and landmark.position:
        latitude, longitude = landmark.position
        annotation["locations"] = [{"latLng": {"latitude": latitude, "longitude": longitude}}]
    return annotation
