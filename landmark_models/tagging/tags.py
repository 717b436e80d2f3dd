"""Turn predictions into what a person or an archive keeps: hashtags, alt text, JSON, a CSV row, an XMP sidecar.

tags = Tags.of(classifier.predict("taj.jpg"))
tags.hashtags  # ['#TajMahal', '#Agra', '#UttarPradesh', '#India']
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from landmark_models.answer import Answer, Prediction
from landmark_models.tagging.gazetteer import Landmark, entry_of
from landmark_models.tagging.hashtags import hashtag
from landmark_models.tagging.xmp import sidecar
from landmark_models.teaching import Taught
from landmark_models.text import for_spreadsheet, for_terminal, percent

CONTRADICTION_KM = 50.0  # from the photo's own position to the landmark

CSV_COLUMNS = (
    "path", "name", "label", "score", "known", "reason", "verdict", "place", "country", "latitude", "longitude",
    "wikidata", "hashtags", "agrees", "error",
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


# Why no landmark counts as known, and what all rows about it say.
MODEL, CONFIDENCE, POSITION = "model", "confidence", "position"


@dataclass(frozen=True)
class Tags:
    """The tags of one photo, from its predictions, most likely first, and the position in its own metadata.

    `model_knows` is whether the model takes it for one of its landmarks, and `verdict` says so in words; both are the
    `Answer`'s. A score below `min_confidence` (0..1) doesn't count. `taught` has those labels that were taught; what
    their teachers said of them goes before the gazetteer. A label without an entry in it is used as the name.
    """

    predictions: tuple[Prediction, ...]
    photo_position: tuple[float, float] | None = None
    model_knows: bool = True
    verdict: str = ""
    min_confidence: float = 0.0
    taught: Mapping[str, Taught] = field(default_factory=dict, hash=False)  # a session of the page hashes its states

    @classmethod
    def of(
        cls, answer: Answer, photo_position: tuple[float, float] | None = None, min_confidence: float = 0.0
    ) -> "Tags":
        """The tags for an answer and the photo's own latitude and longitude: those of the answer, or others.

        Raises:
            ValueError: there are no predictions.
        """
        if not answer:
            raise ValueError("There are no predictions to make tags of.")
        position = photo_position or answer.position
        return cls(tuple(answer), position, answer.known, answer.verdict, min_confidence, answer.taught)

    @property
    def best(self) -> Prediction:
        return self.predictions[0]

    @property
    def landmark(self) -> Landmark | None:
        """What is known of the most likely landmark, recognised or not."""
        return self.entry(self.best.label)

    def entry(self, label: str, language: str = "en") -> Landmark | None:
        """What is known of a candidate, from its teacher or else from the gazetteer, in a language if possible."""
        taught = self.taught.get(label)
        return entry_of(label, taught and taught.facts, language)

    def name_of(self, label: str, language: str = "en") -> str:
        """The proper name of a candidate; its label if nothing else is known."""
        entry = self.entry(label, language)
        return entry.name if entry else label

    def named(self, count: int, language: str = "en") -> dict[str, float]:
        """The scores of the first candidates, by proper name in a language; by label where two labels have one name."""
        scores: dict[str, float] = {}
        for prediction in self.predictions[:count]:
            name = self.name_of(prediction.label, language)
            scores[prediction.label if name in scores else name] = prediction.score
        return scores

    @property
    def reason(self) -> str | None:
        """Why no landmark counts as known; None if one does.

        `MODEL`: the photo shows none of the model's landmarks; `CONFIDENCE`: the score is below the minimum;
        `POSITION`: the photo's own position is too far from the landmark.
        """
        if not self.model_knows:
            return MODEL
        if self.best.score < self.min_confidence:
            return CONFIDENCE
        return POSITION if self.agrees is False else None

    @property
    def known(self) -> bool:
        """Whether the photo counts as showing a landmark: the model knows it, and nothing speaks against it."""
        return self.reason is None

    @property
    def recognised(self) -> bool:
        """The same as `known`."""
        return self.known

    @property
    def nearest(self) -> str:
        """The proper name of the most likely landmark, known or not."""
        return self.name_of(self.best.label)

    @property
    def name(self) -> str | None:
        """The proper name of the landmark; None if none is known."""
        return self.nearest if self.known else None

    @property
    def place(self) -> str:
        """Its place and country, e.g. "Agra, Uttar Pradesh, India"; empty if they or the landmark aren't known."""
        return self.landmark.address if self.known and self.landmark else ""

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
        return self.reason == POSITION

    @property
    def statement(self) -> str:
        """The answer in words, without a full stop: the verdict, unless something else speaks against it."""
        if self.reason == POSITION:
            return f"Looks like {self.nearest}, but the photo was taken {self.distance_km:,.0f} km from it"
        if self.reason == CONFIDENCE:
            return f"Its score is below the minimum of {percent(self.min_confidence, 1)}"
        return self.verdict

    @property
    def hashtags(self) -> list[str]:
        """Hashtags of the landmark, the most specific first, without duplicates; none if no landmark is known."""
        if not self.known:
            return []
        words = self.landmark.hashtags if self.landmark else (hashtag(self.best.label),)
        return [f"#{word}" for word in dict.fromkeys(words) if word]

    @property
    def alt_text(self) -> str:
        """What the photo shows, in a sentence for somebody who can't see it."""
        if not self.known:
            return "A photo in which no landmark was recognised."
        name, landmark = for_terminal(self.nearest), self.landmark
        what = f", {landmark.kind}" if landmark and landmark.kind else ""
        return f"Photo of {name}{what}{f' in {self.place}' if self.place else ''}."

    def annotations(self) -> dict[str, Any]:
        """The answer in the format of Google Cloud Vision's `landmarkAnnotations`; `mid` is a Wikidata id or empty."""
        return {"landmarkAnnotations": [self._annotation(prediction) for prediction in self.predictions]}

    def _annotation(self, prediction: Prediction) -> dict[str, Any]:
        landmark = self.entry(prediction.label)
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

    def record(self) -> dict[str, Any]:
        """The answer as JSON, with the keys of `NO_RECORD`.

        `landmarkAnnotations` are the `annotations`, `label` is the most likely landmark's. `reason` says why `known` is
        false. Name and place are None if no landmark is known, `distanceKm` and `agrees` if the photo has no position
        of its own. `verdict` is the `statement`.
        """
        return (
            NO_RECORD
            | self.annotations()
            | {
                "label": self.best.label,
                "known": self.known,
                "reason": self.reason,
                "name": self.name,
                "place": self.place or None,
                "verdict": self.statement,
                "hashtags": self.hashtags,
                "altText": self.alt_text,
                "distanceKm": None if self.distance_km is None else round(self.distance_km),
                "agrees": self.agrees,
            }
        )

    def row(self, path: str) -> dict[str, str]:
        """A row of a CSV file with `CSV_COLUMNS`, as `record` has it; spreadsheets won't take any cell for a formula.

        The position is that of the landmark, not of the camera.
        """
        landmark = self.landmark if self.known else None
        cells = {
            "path": path,
            "name": self.name or "",
            "label": self.best.label,
            "score": f"{self.best.score:.4f}",
            "known": str(self.known).lower(),
            "reason": self.reason or "",
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

        With `camera_position`, a photo without a position of its own gets the landmark's as the camera's. In an
        `existing` sidecar, what earlier calls have added is replaced, and all else is kept; the text is to be encoded
        as that one is.

        Raises:
            LandmarkError: `existing` isn't XMP that can be read safely.
        """
        landmark = self.landmark if self.known else None
        names = [self.nearest, *(tag.removeprefix("#") for tag in self.hashtags)] if self.known else []
        camera = landmark.position if landmark and camera_position and not self.photo_position else None
        return sidecar([for_terminal(name) for name in names], self.alt_text, landmark, camera, existing)


# The answer to a photo that has none, with the keys of `Tags.record`.
NO_RECORD: dict[str, Any] = {
    "landmarkAnnotations": [], "label": None, "known": None, "reason": None, "name": None, "place": None,
    "verdict": None, "hashtags": [], "altText": None, "distanceKm": None, "agrees": None,
}  # fmt: skip
