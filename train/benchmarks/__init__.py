"""Benchmarks: what `python -m train.bench` measures, each against the obvious alternative in the same run."""

import statistics
from collections.abc import Mapping, Sequence

__all__ = ["print_rates", "quantiles"]


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
