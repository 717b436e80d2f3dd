import numpy as np
import pytest
from helpers.photos import noisy_photo

from train.measure.corruptions import CORRUPTIONS
from train.measure.evaluation import evaluate


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_each_corruption_gives_another_photo(name):
    photo = noisy_photo((200, 120, 40), 1, (61, 40))
    changed = CORRUPTIONS[name](photo)
    assert changed.mode == "RGB"
    assert changed.size == ((40, 61) if "90" in name else (61, 40))
    assert np.asarray(changed).tobytes() != np.asarray(photo).tobytes()
    assert np.asarray(CORRUPTIONS[name](photo)).tobytes() == np.asarray(changed).tobytes()  # the same each time


def test_accuracy_is_measured_under_each(sure, shared_data, tmp_path):
    metrics = evaluate(sure, shared_data, "test", tmp_path, robustness=True)
    assert set(metrics["robustness"]) == set(CORRUPTIONS)
    assert all(part["n"] == 9 for part in metrics["robustness"].values())
    assert metrics["robustness"]["turned by 90 degrees"]["top1"] == metrics["top1"]  # a photo of one colour
    assert metrics["robustness"]["dark"]["top1"] < metrics["top1"]
    page = (tmp_path / "report" / "index.html").read_text()
    assert all(name in page for name in CORRUPTIONS)
