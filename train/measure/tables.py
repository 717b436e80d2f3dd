"""What `evaluate` measured, as tables for a terminal and a page, and as a CSV file of its predictions."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from landmark_models.text import for_spreadsheet
from train.data import Photos
from train.draw.output import Table, write_csv
from train.measure.rejection import score_words

_CALIBRATION_ERRORS = {
    "ece": "as served",
    "ece_uncalibrated": "without the temperature",
    "ece_plain_softmax": "plain softmax of the network, as timm gives it",
    "ece_if_perfect": "if perfectly calibrated",
}


def metrics_tables(metrics: dict[str, Any]) -> list[Table]:
    """The tables of an evaluation, the classes last."""
    rows = [[f"top-{k}", _percent(metrics[f"top{k}"]), _interval(metrics[f"top{k}_ci95"])] for k in (1, 3, 5)]
    names = ("macro_precision", "macro_recall", "macro_f1", "weighted_precision", "weighted_recall", "weighted_f1")
    rows += [[name.replace("_", " ").replace("f1", "F1"), _percent(metrics[name]), ""] for name in names]
    tables = [Table("Figures", ["", "%", "95% interval"], rows)]
    if "ece" in metrics:
        rows = [[words, _percent(metrics[key])] for key, words in _CALIBRATION_ERRORS.items() if key in metrics]
        tables.append(Table("Expected calibration error", ["scores", "%"], rows))
    if named := metrics.get("named"):
        outcomes = {"rightly": "named rightly", "wrongly": "named wrongly", "not": "not named"}
        rows = [[words, _percent(named[key]), _interval(named[f"{key}_ci95"])] for key, words in outcomes.items()]
        tables.append(Table("Photos of landmarks, by the model's rule", ["", "%", "95% interval"], rows))
    if parts := metrics.get("apart"):
        tables.append(_apart_table(parts))
    if rejection := metrics.get("rejection"):
        tables.append(_rejection_table(rejection))
    for key, title in (("robustness", "Corrupted photos"), ("per_source", "Sources")):
        if parts := metrics.get(key):
            rows = [[k, str(p["n"]), _percent(p["top1"]), _interval(p["top1_ci95"])] for k, p in parts.items()]
            tables.append(Table(title, ["", "photos", "top-1, %", "95% interval"], rows))
    classes = sorted(metrics["per_class"].items(), key=lambda item: item[1]["f1"])
    rows = [[name, str(c["n"]), *(_percent(c[key]) for key in ("precision", "recall", "f1"))] for name, c in classes]
    headers = ["class", "photos", "precision, %", "recall, %", "F1, %"]
    return [*tables, Table("Classes, hardest first", headers, rows)]


def _apart_table(parts: dict[str, Any]) -> Table:
    """Photos of known and of taught landmarks apart."""
    rows = [
        [f"{name}: {words}", str(part["n"]), _percent(part[key]), _interval(part[f"{key}_ci95"])]
        for name, part in parts.items()
        for key, words in (("top1", "top-1"), ("named_rightly", "named rightly"))
    ]
    return Table("Known landmarks and taught ones apart", ["", "photos", "%", "95% interval"], rows)


def _rejection_table(rejection: dict[str, Any]) -> Table:
    """Photos of other things by their kind, then all near and all far ones."""
    groups = {f"all {group}": rejection[group] for group in ("near", "far") if group in rejection}
    parts = rejection["kinds"] | groups
    rows = [
        [kind or "(no kind)", str(p["n"]), _percent(p["share"]), _interval(p["share_ci95"]), _percent(p["auroc"])]
        for kind, p in parts.items()
    ]
    headers = ["kind", "photos", "named, %", "95% interval", "AUROC, %"]
    if all("as_taught" in part for part in parts.values()):
        headers.append("as a taught one, photos")
        rows = [[*row, str(part["as_taught"])] for row, part in zip(rows, parts.values(), strict=True)]
    rule = f"{score_words(rejection['score'])} of at least {rejection['threshold']:.3f}"
    return Table(f"Photos of anything else, by a {rule}", headers, rows)


def title_of(metrics: dict[str, Any]) -> str:
    """What was measured, in words."""
    addons = "".join(f" with {addon['name']}" for addon in metrics.get("with", []))
    return f'{metrics["model"]}{addons} on "{metrics["data"]}", {metrics["split"]} split'


def print_tables(metrics: dict[str, Any]) -> None:
    """Print the tables on the terminal, below a line that says what was measured."""
    excluded = f" ({metrics['excluded']} excluded)" if metrics["excluded"] else ""
    views = {"flip": ", mirror image too", "crops": ", ten crops"}.get(metrics["tta"] or "", "")
    print_all(f"{title_of(metrics)}, {metrics['n']} photos{excluded}{views}", metrics_tables(metrics))


def print_all(heading: str, tables: Iterable[Table]) -> None:
    """Print a line and tables below it on the terminal."""
    from rich import table as rich
    from rich.console import Console
    from rich.markup import escape

    console = Console()
    console.print(heading, markup=False)
    for table in tables:
        headers = (rich.Column(header, overflow="fold") for header in table.headers)  # names aren't cut off
        printed = rich.Table(*headers, title=table.title)
        for row in table.rows:
            printed.add_row(*(escape(str(cell)) for cell in row))
        console.print(printed)


def write_predictions(file: Path, photos: Photos, logits: Tensor) -> None:
    """Write a CSV row for each photo: its path, its label, the label it was given, and the confidence in that."""
    confidences, predicted = logits.softmax(1).max(1)
    rows = (
        [*map(for_spreadsheet, (path, photos.labels[target], photos.labels[index])), f"{confidence:.4f}"]
        for path, target, index, confidence in zip(
            photos.paths, photos.targets, predicted.tolist(), confidences.tolist(), strict=True
        )
    )
    write_csv(file, ["path", "label", "named", "confidence"], rows)


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"


def _interval(bounds: Sequence[float]) -> str:
    return f"{_percent(bounds[0])} to {_percent(bounds[1])}"
