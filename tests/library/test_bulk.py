import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zlib
from collections import Counter
from pathlib import Path
from struct import pack

import pytest
from accelerate import PartialState
from helpers.photos import noisy_photo, with_gps
from typer.testing import CliRunner

from landmark_models import LandmarkClassifier
from landmark_models.__main__ import app
from landmark_models.errors import LandmarkError
from landmark_models.library.bulk import tag_library
from landmark_models.library.sidecars import Sidecars

RED, GREEN = (200, 40, 40), (40, 200, 40)


@pytest.fixture
def library(tmp_path) -> Path:
    """A small library with all that goes wrong in one; four photos are good, one of them contradicts itself."""
    folder = tmp_path / "photos"
    (folder / "deep" / "er").mkdir(parents=True)
    noisy_photo(RED, 1).save(folder / "a.jpg")
    noisy_photo(GREEN, 2).save(folder / "deep" / "b.png")
    with_gps(folder / "deep" / "er" / "agra.jpg", image=noisy_photo(RED, 3))
    noisy_photo(RED, 4).save(folder / "new\nline.jpg")
    (folder / "deep" / "loop").symlink_to(folder)
    (folder / "empty.jpg").touch()
    (folder / "broken.jpg").write_bytes((folder / "a.jpg").read_bytes()[:-500])
    (folder / "gone.jpg").symlink_to(folder / "nowhere.jpg")
    (folder / "flaw.png").write_bytes(flawed((folder / "deep" / "b.png").read_bytes()))
    os.mkfifo(folder / "pipe.jpg")
    (folder / "huge.png").write_bytes(png_of(30_000, 30_000))
    with open(os.fsencode(folder) + b"/caf\xe9.jpg", "wb") as file:
        file.write(b"no photo")
    (folder / "notes.txt").write_text("not a photo")
    return folder


def png_of(width: int, height: int) -> bytes:
    """A PNG file that says it has so many pixels."""
    header = b"IHDR" + pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = pack(">I", 13) + header + pack(">I", zlib.crc32(header))
    data = b"IDAT" + zlib.compress(b"\0" * 100)
    chunks += pack(">I", len(data) - 4) + data + pack(">I", zlib.crc32(data))
    return b"\x89PNG\r\n\x1a\n" + chunks


def flawed(png: bytes) -> bytes:
    """The file with zeros amid its pixels."""
    middle = len(png) // 2
    return png[:middle] + bytes(500) + png[middle + 500 :]


def lines(out: Path) -> list[dict]:
    return [json.loads(line) for line in out.read_text().splitlines()]


def invoke(*arguments):
    return CliRunner().invoke(app, ["tag", *map(str, arguments)])


def test_each_photo_has_a_line_and_each_failure_a_reason(library, famous_model, tmp_path):
    before = {file: file.read_bytes() for file in library.rglob("*") if file.is_file()}
    out = tmp_path / "tags.jsonl"
    result = invoke(library, "--out", out, "--model", famous_model)
    assert result.exit_code == 1
    found = {line["path"].removeprefix(f"{library}/"): line for line in lines(out)}
    uri = library.as_uri()
    good = {"a.jpg", "deep/b.png", "deep/er/agra.jpg", f"{uri}/new%0Aline.jpg"}
    reasons = {
        "empty.jpg": "is empty",
        "broken.jpg": "is damaged and can't be decoded; send another copy",
        "gone.jpg": "leads nowhere",
        "huge.png": "million",
        "flaw.png": "damaged",
        "pipe.jpg": "is a pipe",
        f"{uri}/caf%E9.jpg": "not an image",
    }
    assert found.keys() == good | reasons.keys()
    assert len(lines(out)) == len(found)
    for name, reason in reasons.items():
        assert reason in found[name]["error"]
        assert found[name]["path"] in found[name]["error"] or "link" in reason or "leads" in reason
    tower = found["a.jpg"]
    assert tower["error"] is None
    assert (tower["name"], tower["known"], tower["gps"], tower["agrees"]) == ("Eiffel Tower", True, None, None)
    assert tower["landmarkAnnotations"][0]["description"] == "Eiffel Tower"
    assert "#EiffelTower" in tower["hashtags"]
    assert tower["size"] == {"bytes": (library / "a.jpg").stat().st_size, "width": 64, "height": 48}
    assert tower["model"] == str(famous_model)
    assert tower["revision"].startswith("sha256:")
    elsewhere = found["deep/er/agra.jpg"]
    assert elsewhere["agrees"] is False
    assert elsewhere["gps"]["latitude"] == pytest.approx(27.175)
    assert elsewhere["name"] is None
    assert "11 photos; 3 with a landmark, 1 without a known one, 7 failed" in result.stdout
    assert "Eiffel Tower" in result.stdout
    assert {file: file.read_bytes() for file in library.rglob("*") if file.is_file()} == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["photos", "tags.jsonl"]


def test_a_csv_file_has_the_same_and_succeeds_once_all_photos_are_repaired(library, famous_model, tmp_path):
    out = tmp_path / "tags.csv"
    assert invoke(library, "--out", out, "--model", famous_model).exit_code == 1
    for name in ("empty.jpg", "broken.jpg", "gone.jpg", "huge.png", "flaw.png", "pipe.jpg"):
        (library / name).unlink()
        noisy_photo(GREEN, 9).save(library / name)
    shutil.copy(library / "a.jpg", os.fsencode(library) + b"/caf\xe9.jpg")
    again = invoke(library, "--out", out, "--model", famous_model)
    assert again.exit_code == 0, again.output
    assert "This run: 7 in" in again.stdout
    with out.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len({row["path"] for row in rows}) == len(out.read_text().splitlines()) - 1 == 11
    assert Counter(row["name"] for row in rows) == {"Forth Bridge": 7, "Eiffel Tower": 3, "": 1}
    assert {row["error"] for row in rows} == {""}
    assert next(row["photo_latitude"] for row in rows if "agra" in row["path"]).startswith("27.17")
    assert next(row["width"] for row in rows) == "64"


def test_answers_are_those_of_predict(shared_data, sure, tmp_path):
    tag_library([str(shared_data)], tmp_path / "tags.jsonl", str(sure))
    classifier = LandmarkClassifier.load(sure)
    for line in lines(tmp_path / "tags.jsonl"):
        answer = classifier.predict(line["path"])
        assert line["landmarkAnnotations"][0]["description"] == answer[0].label
        assert line["landmarkAnnotations"][0]["score"] == pytest.approx(answer[0].score, abs=0.03)  # bfloat16 here
        assert line["known"] == answer.known


def test_recognised_photos_get_sidecars_which_are_merged_on_request(library, famous_model, tmp_path):
    own = library / "a.jpg.xmp"
    own.write_text('<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="mine"/>')
    before = own.read_text()
    tag_library([str(library)], tmp_path / "1.jsonl", str(famous_model), sidecars=Sidecars())
    said = {Path(line["path"]).name: line["sidecar"] for line in lines(tmp_path / "1.jsonl")}
    assert said == {
        "a.jpg": "kept", "b.png": "written", "new%0Aline.jpg": "written", "agra.jpg": None, "empty.jpg": None,
        "broken.jpg": None, "gone.jpg": None, "huge.png": None, "caf%E9.jpg": None, "flaw.png": None, "pipe.jpg": None,
    }  # fmt: skip
    assert own.read_text() == before
    assert (library / "new\nline.jpg.xmp").is_file()
    result = invoke(library, "--out", tmp_path / "2.jsonl", "--model", famous_model, "--xmp", "--merge")
    assert "EiffelTower" in own.read_text()
    assert 'xmptk="mine"' in own.read_text()
    assert result.exit_code == 1
    invoke(library, "--out", tmp_path / "3.jsonl", "--model", famous_model, "--xmp-dir", tmp_path / "xmp")
    assert len(list((tmp_path / "xmp").rglob("*.xmp"))) == 3
    assert "--xmp" in str(
        invoke(library, "--out", tmp_path / "4.jsonl", "--overwrite").exception
    )  # the old name of --merge


def test_a_sidecar_that_cannot_be_written_is_no_failure_of_its_photo(tmp_path, famous_model):
    noisy_photo(RED, 1).save(tmp_path / "a.jpg")
    (tmp_path / "a.jpg.xmp").mkdir()
    out = tmp_path / "tags.jsonl"

    def tagged():
        result = invoke(tmp_path / "a.jpg", "--out", out, "--model", famous_model, "--xmp", "--merge")
        (line,) = lines(out)
        assert (line["name"], line["error"]) == ("Eiffel Tower", None)
        assert "1 with a landmark, 0 without a known one, 0 failed" in result.stdout
        assert result.exit_code == (1 if line["sidecar"] == "failed" else 0)
        assert ("Sidecars: 1 failed." in result.stdout) == (line["sidecar"] == "failed")
        return line["sidecar"], line["sidecarError"]

    assert tagged() == ("failed", "It can't be written: what is in its place isn't a file.")
    (tmp_path / "a.jpg.xmp").rmdir()
    (tmp_path / "a.jpg.xmp").write_bytes(b"<a>" * 5000 + b"</a>" * 5000)  # deeper than Python can follow
    assert tagged()[0] == "failed"
    (tmp_path / "a.jpg.xmp").write_text('<x:xmpmeta xmlns:x="adobe:ns:meta/"/>')
    (tmp_path / "a.jpg.xmp").chmod(0o444)
    assert tagged() == ("failed", "It can't be written: it is read-only.")
    (tmp_path / "a.jpg.xmp").unlink()
    assert tagged() == ("written", None)


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_sidecars_of_earlier_answers_are_written_without_answering_again(library, famous_model, tmp_path, suffix):
    out = tmp_path / f"tags{suffix}"
    for name in ("empty.jpg", "broken.jpg", "gone.jpg", "huge.png", "flaw.png", "pipe.jpg"):
        (library / name).unlink()
    Path(os.fsdecode(os.fsencode(library) + b"/caf\xe9.jpg")).unlink()
    invoke(library, "--out", out, "--model", famous_model)
    before = out.read_text()
    for photo in ("a.jpg", "deep/b.png"):  # would be answered otherwise
        noisy_photo((40, 40, 200), 1).save(library / photo)
    result = invoke(library, "--out", out, "--model", famous_model, "--xmp")
    assert result.exit_code == 0, result.output
    assert "This run: 0 in" in result.stdout
    assert "Sidecars: 3 written." in result.stdout
    texts = {file.name: file.read_text() for file in library.rglob("*.xmp")}
    assert texts.keys() == {"a.jpg.xmp", "b.png.xmp", "new\nline.jpg.xmp"}
    assert "<rdf:li>EiffelTower</rdf:li>" in texts["a.jpg.xmp"]
    after = out.read_text()
    assert len(after.splitlines()) == len(before.splitlines())
    assert invoke(library, "--out", out, "--model", famous_model, "--xmp").exit_code == 0
    assert sorted(out.read_text().splitlines()) == sorted(after.splitlines())
    (library / "a.jpg.xmp").unlink()
    assert "This run: 0 in" in invoke(library, "--out", out, "--model", famous_model, "--xmp").stdout
    assert (library / "a.jpg.xmp").is_file()
    elsewhere = tmp_path / "xmp"
    invoke(library, "--out", out, "--model", famous_model, "--xmp-dir", elsewhere)
    assert len(list(elsewhere.rglob("*.xmp"))) == 3


def test_undo_takes_the_tags_out_and_leaves_the_rest(library, famous_model, tmp_path):
    mine = '<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="mine"></x:xmpmeta>'
    (library / "a.jpg.xmp").write_text(mine)
    (library / "deep" / "b.xmp").write_text(mine)
    names = sorted(library.iterdir())
    result = invoke(library, "--out", tmp_path / "tags.jsonl", "--model", famous_model, "--xmp", "--merge")
    assert "1 written, 2 merged into existing ones." in result.stdout
    assert "1 of them are named PHOTO.xmp, as Lightroom does" in result.stdout
    assert not (library / "deep" / "b.png.xmp").exists()
    assert "Forth" in (library / "deep" / "b.xmp").read_text()
    result = invoke(library, "--undo")
    assert result.exit_code == 0, result.output
    assert "3 sidecars had tags of this command; 1 held nothing else and are deleted, 2 keep the rest." in result.stdout
    assert sorted(library.iterdir()) == names
    assert (library / "a.jpg.xmp").read_text() == (library / "deep" / "b.xmp").read_text() == mine
    assert "0 sidecars had tags" in invoke(library, "--undo").stdout
    invoke(library, "--out", tmp_path / "tags.jsonl", "--model", famous_model, "--xmp-dir", tmp_path / "xmp")
    assert "3 held nothing else" in invoke(library, "--undo", "--xmp-dir", tmp_path / "xmp").stdout
    assert not list((tmp_path / "xmp").rglob("*.xmp"))
    invoke(library / "a.jpg", "--out", tmp_path / "2.jsonl", "--model", famous_model, "--xmp", "--merge")
    (library / "a.jpg.xmp").chmod(0o444)
    result = invoke(library, "--undo")
    assert result.exit_code == 1
    assert f"The sidecar of {library / 'a.jpg'} stays as it is: it is read-only." in result.stdout
    assert "--undo goes with" in str(invoke(library, "--undo", "--out", "x.jsonl").exception)
    assert "Name the file to write" in str(invoke(library).exception)


def test_every_row_has_the_same_keys(library, famous_model, tmp_path):
    for name, options in (("1.jsonl", []), ("2.jsonl", ["--xmp"])):
        invoke(library, "--out", tmp_path / name, "--model", famous_model, *options)
    rows = lines(tmp_path / "1.jsonl") + lines(tmp_path / "2.jsonl")
    assert len({tuple(row) for row in rows}) == 1
    failed = next(row for row in rows if row["error"])
    assert [failed[key] for key in ("known", "reason", "hashtags", "landmarkAnnotations")] == [None, None, [], []]
    contradicted = next(row for row in rows if "agra" in row["path"])
    assert (contradicted["known"], contradicted["reason"], contradicted["label"]) == (False, "position", "Eiffel Tower")


def test_a_command_that_could_not_begin_stops_no_mended_one(library, famous_model, tmp_path):
    out = tmp_path / "tags.jsonl"
    (tmp_path / "utf16.txt").write_bytes("a.jpg\n".encode("utf-16"))
    assert invoke(tmp_path / "utf16.txt", "--out", out, "--model", famous_model).exit_code == 1
    assert invoke(library / "a.jpg", "--out", out, "--model", tmp_path / "none").exit_code == 1
    assert not out.with_name("tags.jsonl.parts").exists()
    options = ["--model", famous_model, "--xmp", "--min-confidence", 0.1]
    assert invoke(library / "a.jpg", "--out", out, *options).exit_code == 0
    assert invoke(library / "deep" / "er", "--out", out, *options).exit_code == 0


def test_what_a_search_leaves_out_is_said(library, famous_model, tmp_path):
    (library / "@eaDir").mkdir()
    noisy_photo(RED, 9).save(library / "@eaDir" / "a.jpg")
    noisy_photo(RED, 9).save(tmp_path / "photo without suffix", "JPEG")
    sources = [library / "deep" / "er", library / "a.jpg", tmp_path / "photo without suffix"]
    result = invoke(*sources, "--out", tmp_path / "1.jsonl", "--model", famous_model)
    assert result.exit_code == 0, result.output
    assert "3 photos; 2 with a landmark" in result.stdout
    assert "Left out" not in result.stdout
    result = invoke(library, "--out", tmp_path / "2.jsonl", "--model", famous_model)
    assert "Left out: 1 x system folder @eaDir, 1 x .txt file." in result.stdout
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.cr2").touch()
    with pytest.raises(LandmarkError, match=r"no photo in .*raw. Left out: 1 x .cr2 file."):
        tag_library([str(tmp_path / "raw")], tmp_path / "3.jsonl", str(famous_model))


def test_an_answer_below_the_minimum_does_not_count_as_recognised(library, famous_model, tmp_path):
    photo = str(library / "a.jpg")
    tag_library([photo], tmp_path / "low.jsonl", str(famous_model), min_confidence=0.1)
    tag_library([photo], tmp_path / "high.jsonl", str(famous_model), min_confidence=1.0)
    (low,), (high,) = lines(tmp_path / "low.jsonl"), lines(tmp_path / "high.jsonl")
    assert low["known"]
    assert (high["known"], high["name"], high["hashtags"], high["reason"]) == (False, None, [], "confidence")


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_answers_judged_by_two_minima_do_not_mix(library, famous_model, tmp_path, suffix):
    photo, out = str(library / "a.jpg"), tmp_path / f"tags{suffix}"
    for first, second in ((0.1, 1.0), (1.0, 0.1)):
        tag_library([photo], out, str(famous_model), min_confidence=first)
        tag_library([photo], out, str(famous_model), min_confidence=first)
        with pytest.raises(LandmarkError, match="were made with another minimum than"):
            tag_library([photo], out, str(famous_model), min_confidence=second)
        out.unlink()


def test_mistakes_are_sentences_and_leave_nothing(tmp_path, run):
    (tmp_path / "photos").mkdir()
    for sources, out, match in (
        (["nowhere"], "t.jsonl", "nowhere doesn't exist"),
        ([str(tmp_path / "photos")], "t.jsonl", "There is no photo in"),
        ([str(tmp_path / "photos")], "t.txt", r"ends in .jsonl or .csv"),
    ):
        with pytest.raises(LandmarkError, match=match):
            tag_library(sources, tmp_path / out, str(run.path))
    assert [file.name for file in tmp_path.iterdir()] == ["photos"]


def many(folder: Path, count: int) -> None:
    folder.mkdir()
    noisy_photo(RED, 1, (1600, 1200)).save(folder / "0.jpg", quality=95)
    for index in range(1, count):
        (folder / f"{index}.jpg").hardlink_to(folder / "0.jpg")


def started(out: Path, shards: int) -> list[Path]:
    """The parts of a job, once each has some whole lines."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        parts = [part for part in out.with_name(f"{out.name}.parts").glob("*.jsonl") if part.stat().st_size]
        if len(parts) >= shards:
            return parts
        time.sleep(0.02)
    raise AssertionError("it never began")


def processes_of(marker: str) -> list[int]:
    """The processes with this among their arguments."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if marker.encode() in (folder / "cmdline").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")
def test_after_kills_and_restarts_each_photo_has_one_row(tmp_path, run):
    many(tmp_path / "photos", 400)
    out = tmp_path / "tags.jsonl"
    arguments = ["landmark_models", "tag", str(tmp_path / "photos"), "--out", str(out), "--model", str(run.path)]
    process = subprocess.Popen([sys.executable, "-m", *arguments], stderr=subprocess.DEVNULL)
    (part,) = started(out, 1)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = part.read_text().count("\n")
    assert 0 < done < 400
    assert not out.exists()
    deadline = time.monotonic() + 20
    while processes_of(str(out)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not processes_of(str(out))  # those that decoded have gone, too

    several = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "-m"]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true"}
    launcher = subprocess.Popen([*several, *arguments], stderr=subprocess.DEVNULL, env=environment)
    parts = [each for each in started(out, 3) if each != part]
    assert len(parts) == 2
    workers = [pid for pid in processes_of(str(out)) if pid != launcher.pid]
    os.kill(max(workers), signal.SIGKILL)  # one of them, or one that decodes for it
    launcher.wait()

    result = subprocess.run([*several, *arguments], capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr
    assert "400 photos" in result.stdout
    paths = [line["path"] for line in lines(out)]
    assert sorted(paths) == sorted(str(file) for file in (tmp_path / "photos").iterdir())
    assert sorted(file.name for file in tmp_path.iterdir()) == ["photos", "tags.jsonl"]


def test_several_processes_cannot_share_a_stream(tmp_path, run, monkeypatch):
    PartialState()
    monkeypatch.setitem(PartialState._shared_state, "num_processes", 2)
    with pytest.raises(LandmarkError, match="write the list to a file"):
        tag_library(["-"], tmp_path / "t.jsonl", str(run.path))
