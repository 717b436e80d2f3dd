import signal
import subprocess
import sys
from pathlib import Path

import pytest

from train.data import PhotoCache, find_photos
from train.data.location import data_folder
from train.data.scratch import remove_abandoned, scratch_folder

KEEP_ONE = """
import sys, time
from pathlib import Path
from train.data.scratch import remove_abandoned, scratch_folder
from train.data.location import data_folder
with scratch_folder(Path(sys.argv[1]), ".making-") as folder:
    (folder / "half").write_text("of it")
    print(folder, flush=True)
    time.sleep(600)
"""


def test_the_folder_of_a_killed_process_goes_and_that_of_a_living_one_stays(tmp_path):
    command = [sys.executable, "-c", KEEP_ONE, tmp_path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        other = Path(process.stdout.readline().strip())
        remove_abandoned(tmp_path, ".making-")
        assert (other / "half").is_file()
        process.send_signal(signal.SIGKILL)
    assert (other / "half").is_file()
    remove_abandoned(tmp_path, ".making-")
    assert list(tmp_path.iterdir()) == []


def test_what_is_renamed_stays_and_what_fails_goes(tmp_path):
    with scratch_folder(tmp_path, ".making-") as folder:
        (folder / "all").touch()
        folder.rename(tmp_path / "complete")
    with pytest.raises(KeyboardInterrupt), scratch_folder(tmp_path, ".making-"):
        raise KeyboardInterrupt
    assert [entry.name for entry in tmp_path.iterdir()] == ["complete"]


def test_what_a_kill_has_left_of_a_cache_goes_at_the_next_start(data, tmp_path):
    files = find_photos(data, "train").files()
    for _ in ("made", "found"):
        left = tmp_path / "cache" / ".making-of-old"
        left.mkdir(parents=True)
        (left / "pixels.bin").write_bytes(b"\0" * 1000)
        PhotoCache.open(files, 24, tmp_path / "cache", progress=False)
        assert len(list((tmp_path / "cache").iterdir())) == 1


def test_what_a_kill_has_left_of_a_download_goes_at_the_next_start(tmp_path, monkeypatch):
    monkeypatch.setenv("LANDMARK_CACHE", str(tmp_path))
    (tmp_path / "torch" / ".fetching-of-old" / "download").mkdir(parents=True)
    (tmp_path / "torch" / "mnist").mkdir()
    assert data_folder("torch/mnist") == tmp_path / "torch" / "mnist"
    assert [entry.name for entry in (tmp_path / "torch").iterdir()] == ["mnist"]
