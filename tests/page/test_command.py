"""The command `python app.py`."""

import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from helpers.programs import free_port


def test_on_zero_gpu_what_computes_is_wrapped(tmp_path):
    (tmp_path / "spaces.py").write_text("lent = []\nGPU = lambda call, duration: lent.append(call.__name__) or call\n")
    script = "import app, gradio, spaces; gradio.Blocks.launch = lambda *_, **options: print(*spaces.lent); app.main()"
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{Path.cwd()}", "SPACES_ZERO_GPU": "true"}
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr
    start, lent = result.stdout.splitlines()
    assert start == "Serving the embedded model."
    assert lent == "predict tag explain teach answer look answer_many learn"


@pytest.mark.slow
def test_a_mistyped_model_ends_the_start_with_a_sentence(tmp_path):
    command = [sys.executable, "app.py", "--model", tmp_path / "nothing"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: There is no model folder")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("option", ["--with", "--teach"])
def test_a_file_that_is_no_add_on_ends_the_start_with_a_sentence(tmp_path, option):
    file = tmp_path / "mine.landmarks.safetensors"
    file.write_text("no add-on")
    done = subprocess.run([sys.executable, "app.py", option, file], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"Error: {file} can't be read")
    assert len(done.stderr.splitlines()) == 1


def test_a_file_to_teach_that_cannot_be_written_ends_the_start_with_a_sentence(tmp_path):
    file = tmp_path / "nothing" / "mine.landmarks.safetensors"
    done = subprocess.run([sys.executable, "app.py", "--teach", file], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"Error: {file} can't be written: {file.parent} isn't a folder. Make it, or choose another.\n"
    )


def test_without_a_folder_for_uploads_the_start_ends_with_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    environment = {**os.environ, "GRADIO_TEMP_DIR": f"{tmp_path}/file", "TMPDIR": f"{tmp_path}/file"}
    script = f"import tempfile; tempfile.tempdir = {str(tmp_path / 'file')!r}; import app"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: There is no folder that uploads could be written to")


@pytest.mark.slow
def test_the_command_opens_the_page_while_the_hub_is_down(hub_server):
    hub_server.down()
    port, environment = free_port(), {"LANDMARK_NAMESPACE": "alice", "HF_HUB_OFFLINE": "0"}
    server = subprocess.Popen(
        [sys.executable, "app.py", "--port", str(port)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment},
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline:
            try:
                page = urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).read().decode()
                break
            except OSError:
                time.sleep(0.2)
        assert "Which landmark is this?" in page
        assert "The embedded model" in page
        assert "fonts.googleapis.com/css" not in page
    finally:
        server.terminate()
        output, complaints = server.communicate()
    assert output.startswith("Serving the embedded model. ")
    assert "So the embedded model serves." in output
    assert "Traceback" not in complaints
    assert "Retrying" not in complaints
