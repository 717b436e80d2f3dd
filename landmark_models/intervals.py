"""How sure a share is that was observed on a few photos."""

from math import sqrt

_Z = 1.959964  # of the normal distribution's central 95%


def wilson(count: int, n: int) -> tuple[float, float]:
    """The 95% interval of a share of which `count` of `n` were observed, from 0 to 1; n >= 1 (Wilson 1927)."""
    share, z2 = count / n, _Z**2
    middle, half = share + z2 / (2 * n), _Z * sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return max(0.0, (middle - half) / (1 + z2 / n)), min(1.0, (middle + half) / (1 + z2 / n))
