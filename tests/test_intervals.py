import pytest
from scipy.stats import binomtest

from landmark_models.intervals import wilson


@pytest.mark.parametrize(("count", "n"), [(0, 9), (9, 9), (8, 140), (755, 759)])
def test_the_interval_is_the_one_of_evaluate(count, n):
    assert wilson(count, n) == pytest.approx(binomtest(count, n).proportion_ci(method="wilson"))
