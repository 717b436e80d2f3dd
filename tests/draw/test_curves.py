import pytest
from helpers.runs import tiny
from matplotlib.figure import Figure

from train.draw.curves import draw_curves, draw_penalties
from train.engine.training import fit


@pytest.fixture
def drawn(monkeypatch) -> list[Figure]:
    """The figures that are saved."""
    figures: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *arguments, **options: figures.append(self))
    return figures


def lines(count: int) -> list[dict]:
    each = {"train_loss": 1.0, "val_loss": 0.9, "learning_rate": 0.1, "converged": True}
    return [{**each, "epoch": n, "penalty": 10.0**-n, "val_top1": 1 - 0.5 / n} for n in range(1, count + 1)]


@pytest.mark.parametrize("epochs", [1, 2, 30])
def test_curves_have_titled_axes_and_show_even_a_single_epoch(epochs, drawn, tmp_path):
    draw_curves(lines(epochs), tmp_path / "curves.png")
    for axes in drawn[0].axes:
        assert axes.get_xlabel() == "epoch"
        assert axes.get_ylabel()
        assert (axes.lines[0].get_marker() == "o") == (epochs < 10)
        assert all(tick == round(tick) for tick in axes.get_xticks())


def test_the_search_for_a_penalty_is_no_course_of_epochs(drawn, tmp_path):
    draw_penalties(lines(5), tmp_path / "curves.png")
    words = " ".join([*(axes.get_xlabel() for axes in drawn[0].axes), drawn[0].axes[1].get_title()])
    assert "strength of regularisation" in words
    assert "Chosen: 0.1" in words
    assert "epoch" not in words


@pytest.mark.parametrize(
    ("knobs", "training", "validation"),
    [
        ({}, "training\n(augmented, smoothed labels)", "validation photos"),
        ({"mixup": 0.2, "label_smoothing": 0.0}, "training\n(augmented, mixed)", "validation photos"),
        ({"augment": "none", "label_smoothing": 0.0}, "training", "validation photos"),
        ({"overfit_batches": 1, "label_smoothing": 0.0}, "training", "training photos themselves"),
    ],
)
def test_curves_say_what_was_trained_and_validated_on(knobs, training, validation, drawn, shared_data, tmp_path):
    fit(tiny(epochs=1, warmup_epochs=0, **knobs), shared_data, tmp_path / "run")
    assert [text.get_text() for text in drawn[0].axes[0].get_legend().get_texts()] == [training, validation]
    assert validation in drawn[0].axes[1].get_ylabel()
