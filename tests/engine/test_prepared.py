import pytest
from accelerate import Accelerator
from accelerate.state import PartialState
from helpers.runs import tiny

from train.data import find_photos
from train.engine.prepared import TrainingPhotos, worker_count


@pytest.mark.parametrize(("cores", "processes", "workers"), [(32, 1, 8), (32, 8, 3), (4, 1, 3), (2, 4, 1)])
def test_workers_are_shared_out_among_the_processes_of_this_machine(cores, processes, workers, monkeypatch):
    monkeypatch.setattr("landmark_models.devices.available_cores", lambda: cores)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    assert worker_count(tiny(workers=None)) == workers
    assert worker_count(tiny(workers=5)) == 5


@pytest.mark.parametrize(("process", "local_process"), [(0, 0), (2, 0), (3, 1)])
def test_the_first_process_of_each_machine_decodes_and_the_others_wait_for_it(
    process, local_process, data, tmp_path, monkeypatch
):
    """Two machines of two processes each, every one with its own cache."""
    monkeypatch.setenv("LANDMARK_CACHE", str(tmp_path / "cache"))
    accelerator = Accelerator(cpu=True)
    caches = []
    monkeypatch.setattr(PartialState, "wait_for_everyone", lambda _: caches.append(len(list(tmp_path.glob("cache/*")))))
    for name, value in {"num_processes": 4, "process_index": process, "local_process_index": local_process}.items():
        monkeypatch.setitem(PartialState._shared_state, name, value)
    photos = find_photos(data, "train")
    sizes = dict.fromkeys(photos.paths, 0)
    TrainingPhotos(photos, photos, {}, sizes).decoded(32, False, accelerator)
    assert caches == [0 if local_process else 1]
