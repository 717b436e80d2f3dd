"""Make the row of a photo: from what was decoded and the model's answer, or from the row that it has already."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from landmark_models import models
from landmark_models.answer import Answer, Prediction
from landmark_models.errors import LandmarkError
from landmark_models.files import Entry, sha256
from landmark_models.library.decoding import Decoded
from landmark_models.library.listing import original_path, written_path
from landmark_models.library.rows import Row, SidecarFacts, sidecar_of
from landmark_models.library.sidecars import Sidecars
from landmark_models.tagging.tags import CSV_COLUMNS, NO_RECORD, Tags
from landmark_models.teaching import AddOn, Taught, combined_by_dimensions
from landmark_models.text import for_spreadsheet, from_spreadsheet

COLUMNS = (
    *CSV_COLUMNS[:-1], "bytes", "width", "height", "photo_latitude", "photo_longitude", "model", "revision", "sidecar",
    "sidecar_file", "sidecar_error", "error",
)  # fmt: skip


class RowMaker:
    """Makes rows for a JSON lines or a CSV file, and the photos' sidecars if any are wanted."""

    def __init__(
        self,
        csv: bool,
        model: models.LoadedModel,
        min_confidence: float,
        sidecars: Sidecars | None,
        addons: Sequence[AddOn] = (),
    ):
        if not 0 <= min_confidence <= 1:
            raise LandmarkError(f"min_confidence={min_confidence} must be from 0 to 1.")
        self.csv, self.min_confidence, self.sidecars = csv, min_confidence, sidecars
        from_hub = model.source.startswith(models.PREFIX)
        self.origin = {
            "model": model.source.partition("@")[0] if from_hub else model.source,
            "revision": model.revision or f"sha256:{sha256(model.weights)[:16]}",
        }
        self._taught: Mapping[str, Taught] = {}
        if addons:
            parts, own = combined_by_dimensions(addons), set(model.labels)
            self.origin["revision"] += "".join(f" with sha256:{part.digest[:16]}" for part in parts)
            facts = {label: known for part in parts for label, known in part.facts.items() if label not in own}
            self._taught = {label: Taught(0, known) for label, known in facts.items()}

    @property
    def job(self) -> Row:
        """What the rows of an output have in common."""
        return {**self.origin, "min_confidence": self.min_confidence}

    def answered(self, photo: Decoded, answer: Answer | None) -> Row:
        """The row of a photo; without an answer, of one that can't be read."""
        path = written_path(photo.entry.path)
        error = photo.error.replace(photo.entry.path, path)
        tags = Tags.of(answer, photo.position, self.min_confidence) if answer is not None else None
        sidecar = self._sidecar(photo.entry, tags) if tags else SidecarFacts()
        size = dict(zip(("bytes", "width", "height"), (photo.bytes, *(photo.size or (None, None))), strict=True))
        if self.csv:
            position = dict(zip(("photo_latitude", "photo_longitude"), photo.position or (None, None), strict=True))
            cells = {name: "" if fact is None else str(fact) for name, fact in {**size, **position}.items()}
            row = dict.fromkeys(COLUMNS, "") | (tags.row(path) if tags else {"path": path})
            return row | cells | self.origin | self._told(sidecar) | {"error": for_spreadsheet(error)}
        gps = dict(zip(("latitude", "longitude"), photo.position, strict=True)) if photo.position else None
        record = {"path": path, "size": size, **(tags.record() if tags else NO_RECORD), "gps": gps}
        return record | self._told(sidecar) | self.origin | {"error": error or None}

    def is_due(self, row: Row) -> bool:
        """Whether the sidecar of a photo that was answered earlier may be missing, or has to be merged into.

        A LandmarkError says that the answer was judged by another minimum than those that follow would be.
        """
        self._check_minimum(row)
        if self.sidecars is None:
            return False
        file = original_path(sidecar_of(row).file)
        if self.sidecars.merge or not file:
            return self.sidecars.merge or bool(row["name"])
        if self.sidecars.folder is None:
            in_place = Path(file).parent == Path(original_path(row["path"])).parent
        else:
            in_place = Path(file).is_relative_to(os.path.abspath(self.sidecars.folder))
        return not (in_place and os.path.lexists(file))

    def _check_minimum(self, row: Row) -> None:
        try:
            score = float(row["score"].replace(",", ".")) if self.csv else row["landmarkAnnotations"][0]["score"]
        except (LookupError, ValueError):  # of an earlier version, or changed by a spreadsheet
            return
        known, margin = bool(row["name"]), 1e-4 if self.csv else 0.0  # CSV has four digits
        below = score < self.min_confidence - margin if known else score < self.min_confidence + margin
        if below if known else row.get("reason") == "confidence" and not below:
            raise LandmarkError(
                f"The rows so far were made with another minimum than {self.min_confidence:g}: {row['path']} has a "
                f"score of {score:.4f} and counts as {'known' if known else 'not known'}. Use the same "
                "--min-confidence, or name another output."
            )

    def with_sidecar(self, entry: Entry, row: Row) -> Row:
        """The row of a photo that was answered earlier, whose sidecar is written from it now."""
        label = from_spreadsheet(row["label"]) if self.csv else row.get("label") or _description(row)
        old, new = sidecar_of(row), self._sidecar(entry, self._known(label, bool(row["name"])))
        if old.what == "written" and old.file == new.file:
            return row
        return row | self._told(new)

    def _known(self, label: str, known: bool) -> Tags:
        """The tags of an answer of which only this is left."""
        return Tags((Prediction(label, 1.0),), model_knows=known, taught=self._taught)

    def _sidecar(self, entry: Entry, tags: Tags) -> SidecarFacts:
        """Write a photo's sidecar."""
        if self.sidecars is None:
            return SidecarFacts()
        try:
            what = self.sidecars.write(entry.path, tags)
            return SidecarFacts(what, written_path(str(self.sidecars.file(entry.path))) if what else "")
        except Exception as failure:  # an existing file may be crafted to break whatever reads it
            why = failure if isinstance(failure, LandmarkError) else f"{type(failure).__name__}: {failure}"
            return SidecarFacts("failed", error=f"It can't be written: {why}.")

    def _told(self, sidecar: SidecarFacts) -> Row:
        """The part of a row that is about the sidecar."""
        if self.csv:
            return dict(zip(("sidecar", "sidecar_file", "sidecar_error"), map(for_spreadsheet, sidecar), strict=True))
        return {
            "sidecar": sidecar.what or None, "sidecarFile": sidecar.file or None, "sidecarError": sidecar.error or None,
        }  # fmt: skip


def _description(row: Row) -> str:
    """What stands for the label in JSON of earlier versions."""
    description: str = row["landmarkAnnotations"][0]["description"]
    return description
