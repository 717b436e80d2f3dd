import math
from itertools import pairwise

import pytest
import torch

from train.engine.schedule import Schedule
from train.recipe import Recipe

UPDATES = 10  # per epoch


def rates(accuracies=(), **knobs) -> list[float]:
    """The learning rate of every update of a run."""
    recipe = Recipe.from_values({"epochs": 10, "learning_rate": 1.0, "warmup_epochs": 2, **knobs})
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = Schedule(optimizer, recipe, UPDATES)
    seen = []
    for epoch in range(recipe.epochs):
        for _ in range(UPDATES):
            seen.append(schedule.learning_rate)
            optimizer.step()
            schedule.after_update()
        schedule.after_epoch(accuracies[epoch] if accuracies else epoch)
    return seen


@pytest.mark.parametrize("schedule", ["cosine", "onecycle", "step", "plateau"])
def test_the_rate_rises_for_the_warm_up_and_then_never_again(schedule):
    seen = rates(schedule=schedule)
    assert seen[0] < 0.1
    assert all(a < b for a, b in pairwise(seen[:20]))
    assert max(seen) == pytest.approx(1, abs=0.11)
    assert all(a >= b - 1e-9 for a, b in pairwise(seen[21:]))


@pytest.mark.parametrize("schedule", ["cosine", "step", "plateau"])
def test_a_linear_warm_up_multiplies_the_decay(schedule):
    cosine = [(1 + math.cos(math.pi * update / 100)) / 2 for update in range(100)]
    step = [0.5 ** (update // 30) for update in range(100)]
    decay = {"cosine": cosine, "step": step, "plateau": [1.0] * 100}[schedule]
    expected = [min((update + 1) / 21, 1) * factor for update, factor in enumerate(decay)]
    assert rates(schedule=schedule, decay_epochs=3, decay_rate=0.5) == pytest.approx(expected, rel=1e-9)


def test_cosine_and_onecycle_end_near_zero():
    assert rates(schedule="cosine")[-1] < 0.01
    assert rates(schedule="onecycle")[-1] < 0.01
    assert rates(schedule="cosine", warmup_epochs=0)[0] == 1


def test_the_warm_up_takes_at_most_half_of_a_short_run():
    seen = rates(epochs=2, warmup_epochs=6, schedule="cosine")
    assert max(seen) > 0.4
    assert seen.index(max(seen)) < 15


def test_step_decays_when_it_says():
    seen = rates(schedule="step", warmup_epochs=0, decay_epochs=3, decay_rate=0.1)
    assert [seen[i * UPDATES] for i in (0, 2, 3, 6, 9)] == pytest.approx([1, 1, 0.1, 0.01, 0.001])


def test_plateau_decays_only_when_accuracy_stalls():
    assert rates(range(10), schedule="plateau", warmup_epochs=0, decay_epochs=2)[-1] == 1
    stalled = rates([0.5] * 10, schedule="plateau", warmup_epochs=0, decay_epochs=2, decay_rate=0.1)
    assert stalled[3 * UPDATES] == 1
    assert stalled[4 * UPDATES] == pytest.approx(0.1)


@pytest.mark.parametrize("name", ["cosine", "onecycle", "step", "plateau"])
def test_a_restored_schedule_continues_where_it_was(name):
    recipe = Recipe.from_values({"epochs": 10, "schedule": name})

    def fresh():
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        return optimizer, Schedule(optimizer, recipe, UPDATES)

    (first_optimizer, first), (second_optimizer, second) = fresh(), fresh()
    for _ in range(25):
        first_optimizer.step()
        first.after_update()
    second_optimizer.load_state_dict(first_optimizer.state_dict())
    second.load_state_dict(first.state_dict())
    for _ in range(25):
        for optimizer, schedule in ((first_optimizer, first), (second_optimizer, second)):
            optimizer.step()
            schedule.after_update()
        assert first.learning_rate == second.learning_rate
