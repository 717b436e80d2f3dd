"""What `few_shot` measured, as tables for a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from train.draw.output import Table

_LANDMARKS = {  # by the path of a figure
    "taught.top1": "taught: top-1",
    "taught.named_rightly": "taught: named rightly",
    "before.top1": "known: top-1 before",
    "known.top1": "known: top-1 after",
    "known.change": "known: change, in points",
    "before.named_rightly": "known: named rightly before",
    "known.named_rightly": "known: named rightly after",
}
_OTHERS = {
    f"{group}.{path}": f"{group}: {words}"
    for group in ("near", "far")
    for path, words in {"before.named": "named before", "named": "named after", "as_taught": "as a taught one"}.items()
}


def few_shot_heading(metrics: Mapping[str, Any]) -> str:
    """What was measured, in words."""
    draws, unknown = len({line["draw"] for line in metrics["draws"]}), len(metrics["unknown"])
    which = f"all {unknown}" if metrics["taught"] == unknown else f"{metrics['taught']} of {unknown}"
    times = f"{draws} draw{'s' * (draws != 1)}"
    taught = f'is taught {which} others of "{metrics["data"]}" ({times})'
    return f"{metrics['model']}, which knows {metrics['known']} landmarks, {taught}"


def few_shot_tables(metrics: Mapping[str, Any]) -> list[Table]:
    """The tables of all draws together, then those of each draw and of each taught landmark."""
    tables = [
        _summary_table(metrics, name, title, words)
        for name, title, words in (
            ("test", f'Test photos of "{metrics["data"]}"', _LANDMARKS),
            ("elsewhere", f'Photos from "{metrics["elsewhere"]}"', _LANDMARKS),
            ("others", f'Photos of other things from "{metrics["negatives"]}", named', _OTHERS),
        )
        if name in metrics["draws"][0]
    ]
    return [*tables, _draws_table(metrics["draws"]), _classes_table(metrics["draws"])]


def _summary_table(metrics: Mapping[str, Any], name: str, title: str, words: Mapping[str, str]) -> Table:
    """The mean and the range over the draws, and the number of photos in a draw."""
    summary = metrics["summary"]
    rows = []
    for path, figure in words.items():
        if any(f"{name}.{path}" in part for part in summary.values()):
            group = path.partition(".")[0]
            counts = sorted({line[name][group]["n"] for line in metrics["draws"] if group in line[name]})
            ranges = (_range(part[f"{name}.{path}"]) if f"{name}.{path}" in part else "" for part in summary.values())
            rows.append([figure, " to ".join(map(str, dict.fromkeys((counts[0], counts[-1])))), *ranges])
    return Table(f"{title}, %: mean and range over the draws", ["", "n", *map(_photos, summary)], rows)


def _draws_table(lines: Sequence[Mapping[str, Any]]) -> Table:
    """What each draw gave; of photos of other things, how many more are named, and which taught landmark is nearest."""
    rows = []
    for line in sorted(lines, key=lambda line: line["photos"]):
        test, others = line["test"], line.get("others", {"nearest": {}})
        taught = [_percent(test["taught"][key]) if "taught" in test else "" for key in ("top1", "named_rightly")]
        parts = (test.get("known"), others.get("near"), others.get("far"))
        changes = [f"{100 * part['change']:+.2f}" if part else "" for part in parts]
        nearest = next((f"{label}: {count}" for label, count in others["nearest"].items()), "")
        rows.append([line["photos"], line["draw"], *taught, *changes, nearest])
    headers = ["from", "draw", "taught: top-1", "named rightly", "known", "near", "far", "nearest to other things"]
    return Table("Draws: %, and changes in points", headers, rows)


def _classes_table(lines: Sequence[Mapping[str, Any]]) -> Table:
    """The top-1 accuracy on each taught landmark in all draws that have it, hardest first."""
    shots = list(dict.fromkeys(line["photos"] for line in lines))
    counts: dict[str, dict[int, list[int]]] = {}
    for line in lines:
        for label, (n, right) in line["test"]["per_class"].items():
            total = counts.setdefault(label, {count: [0, 0] for count in shots})[line["photos"]]
            total[0] += n
            total[1] += right
    measured = {label: list(total.values()) for label, total in counts.items() if total[shots[-1]][0]}
    shares = {label: [right / n for n, right in total] for label, total in measured.items()}
    ranked = sorted(shares.items(), key=lambda item: item[1][-1])
    rows = [[label, measured[label][-1][0], *map(_percent, share)] for label, share in ranked]
    return Table("Taught landmarks, top-1, %", ["", "answers", *map(_photos, shots)], rows)


def _range(figure: Mapping[str, float]) -> str:
    mean, low, high = (_percent(figure[key]) for key in ("mean", "low", "high"))
    return mean if low == high else f"{mean} ({low} to {high})"


def _photos(count: int | str) -> str:
    return f"{count} photo{'s' * (int(count) != 1)}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"
