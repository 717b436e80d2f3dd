"""Benchmarks: what `python -m train.bench` measures, each against the obvious alternative in the same run."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence


def in_turns(
    calls: Mapping[str, Callable[[], object]], rounds: int, warm: int, pause: float = 0
) -> dict[str, list[float]]:
    """Seconds of each call in each round, after `warm` rounds that don't count, with a pause (s) before each call."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(warm + rounds):
        for name, call in calls.items():
            time.sleep(pause)
            started = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - started)
    return {name: values[warm:] for name, values in times.items()}


def quantiles(times: Sequence[float]) -> tuple[float, float]:
    """The median and the 95th percentile."""
    return statistics.median(times), statistics.quantiles(times, n=20, method="inclusive")[-1]


def print_rates(rates: Mapping[str, Sequence[float]]) -> None:
    """Print a table of photos per second, one value a round."""
    from rich.console import Console
    from rich.table import Table

    table = Table("photos/s", "median", "lowest", "highest")
    for name, values in rates.items():
        table.add_row(name, *(f"{f(values):.1f}" for f in (statistics.median, min, max)))
    Console().print(table)
