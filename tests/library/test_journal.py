import csv
import errno
import json
import os

import pytest

from landmark_models.errors import LandmarkError
from landmark_models.library.journal import DiskSet, Journal

JOB = {"model": "default", "revision": "1"}
COLUMNS = ("path", "name", "model", "revision", "error")


def row(path, error=""):
    return {"path": path, "name": "" if error else "Tower", **JOB, "error": error}


def start(out, **options) -> Journal:
    journal = Journal(out, COLUMNS, **options)
    if journal.process == 0:
        journal.begin(JOB)
    journal.resume(JOB)
    return journal


def finish(journal):
    journal.close()
    summary = journal.finish()
    journal.release()
    return summary


@pytest.fixture(params=["tags.jsonl", "tags.csv"])
def out(tmp_path, request):
    return tmp_path / request.param


def written(out):
    journal = Journal(out, COLUMNS)
    return [(row["path"], row["error"] or "") for row in journal._finished()]


def test_rows_become_a_file_at_the_end_and_nothing_else_remains(out):
    journal = start(out)
    assert journal.is_mine("a,b.jpg")
    assert not journal.is_mine("a,b.jpg")
    journal.append([row("a,b.jpg")])
    assert not out.exists()
    assert finish(journal).recognised == 1
    assert written(out) == [("a,b.jpg", "")]
    assert [file.name for file in out.parent.iterdir()] == [out.name]


def test_after_a_kill_the_job_resumes_and_a_broken_line_is_redone(out):
    killed = start(out)
    killed.append([row("a.jpg"), row("b.jpg")])
    killed.release()
    (part,) = killed.parts.glob("*.jsonl")
    with part.open("ab") as file:  # as a kill, a power cut, a full disk leave it
        file.write(b'\0\0\0\n{"path": "zero"}\n' + json.dumps(row("c.jpg")).encode()[:20])
    journal = start(out)
    assert [journal.is_mine(path) for path in ("a.jpg", "b.jpg", "c.jpg", "d.jpg")] == [False, False, True, True]
    journal.append([row("c.jpg"), row("d.jpg")])
    summary = finish(journal)
    assert sorted(path for path, _ in written(out)) == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    assert (summary.total, summary.new) == (4, 2)


def test_a_kill_between_the_rename_and_the_end_duplicates_nothing(out, monkeypatch):
    journal = start(out)
    journal.append([row("a.jpg")])
    journal.close()
    monkeypatch.setattr(journal, "_remove", lambda: None)
    journal.finish()
    journal.release()
    again = start(out)
    assert not again.is_mine("a.jpg")
    summary = finish(again)
    assert (summary.total, summary.new) == (1, 0)
    assert written(out) == [("a.jpg", "")]


def test_a_second_run_adds_new_photos_and_retries_failed_ones(out):
    journal = start(out)
    journal.append([row("a.jpg"), row("b.jpg", "b.jpg is empty (0 bytes).")])
    summary = finish(journal)
    assert summary.reasons == {"the photo is empty (0 bytes).": 1}
    assert summary.failed == 1
    again = start(out)
    assert [again.is_mine(path) for path in ("a.jpg", "b.jpg", "c.jpg")] == [False, True, True]
    again.append([row("b.jpg"), row("c.jpg")])
    assert finish(again).failed == 0
    assert sorted(written(out)) == [("a.jpg", ""), ("b.jpg", ""), ("c.jpg", "")]


def test_a_failed_row_stays_until_its_photo_is_done_again(out):
    journal = start(out)
    journal.append([row("a.jpg"), row("b.jpg", "b.jpg is empty (0 bytes).")])
    finish(journal)
    elsewhere = start(out)  # another folder, into the same output
    elsewhere.append([row("c.jpg")])
    summary = finish(elsewhere)
    assert (summary.total, summary.new, summary.failed) == (3, 1, 1)
    assert [path for path, error in written(out) if error] == ["b.jpg"]
    assert len(written(out)) == 3


def test_processes_share_the_photos_and_their_number_may_change(out):
    paths = [f"{index}.jpg" for index in range(100)]
    journals = [start(out, process=process, processes=3) for process in range(3)]
    shares = [[path for path in paths if journal.is_mine(path)] for journal in journals]
    assert sorted(path for share in shares for path in share) == sorted(paths)
    assert min(map(len, shares)) > 10
    for journal, share in zip(journals, shares, strict=True):
        journal.append(map(row, share[:10]))  # then all are killed
        journal.release()
    again = [start(out, process=process, processes=2) for process in range(2)]
    for journal in again:
        journal.append(row(path) for path in paths if journal.is_mine(path))
    again[1].close()
    assert finish(again[0]).total == 100
    assert sorted(path for path, _ in written(out)) == sorted(paths)


def test_a_different_job_and_a_second_command_at_once_are_refused(out):
    journal = start(out)
    with pytest.raises(LandmarkError, match="Another command is writing"):
        start(out)
    journal.append([row("a.jpg")])
    journal.release()
    with pytest.raises(LandmarkError, match="was begun with model 'default', now 'other'"):
        Journal(out, COLUMNS).begin({**JOB, "model": "other"})
    finish(start(out))
    other = Journal(out, COLUMNS)
    with pytest.raises(LandmarkError, match="was begun with revision '1', now '2'"):
        other.begin({**JOB, "revision": "2"})
    assert not other.parts.exists()
    assert written(out) == [("a.jpg", "")]


def test_other_peoples_files_are_left_alone(out):
    out.write_text("my diary\n")
    journal = Journal(out, COLUMNS)
    if out.suffix == ".csv":
        with pytest.raises(LandmarkError, match="has other columns"):
            journal.begin(JOB)
    else:
        with pytest.raises(LandmarkError, match="was not written by this command"):
            journal.begin(JOB)
    assert out.read_text() == "my diary\n"
    assert not journal.parts.exists()
    out.unlink()
    journal.parts.mkdir()
    (journal.parts / "diary.txt").touch()
    with pytest.raises(LandmarkError, match="holds something else"):
        journal.begin(JOB)
    assert (journal.parts / "diary.txt").exists()
    with pytest.raises(LandmarkError, match=r"ends in .jsonl or .csv"):
        Journal(out.with_suffix(".txt"), COLUMNS)


def test_a_full_disk_is_reported_in_a_sentence_and_finished_work_is_kept(out, monkeypatch):
    journal = start(out)
    journal.append([row("a.jpg")])
    journal.close()

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(LandmarkError, match=r"No space left on device.*run the same command again to resume"):
            journal.finish()
    journal.release()
    assert not out.exists()
    assert finish(start(out)).total == 1


def test_a_csv_file_that_was_changed_is_refused_before_any_work(tmp_path):
    out = tmp_path / "tags.csv"
    journal = start(out)
    journal.append([row("a.jpg"), row("b.jpg")])
    finish(journal)
    out.write_text(out.read_text() + "c.jpg,Tower,default,1,,one more\n")
    with pytest.raises(LandmarkError, match=r"tags.csv was changed: line 4"):
        start(out)


def test_a_job_file_emptied_by_a_power_cut_is_rewritten(out):
    journal = start(out)
    journal.append([row("a.jpg")])
    journal.release()
    (journal.parts / "job.json").write_text("")
    assert finish(start(out)).total == 1


@pytest.mark.parametrize("lost", ["", None, "[]", '{"model": "other"'])
def test_two_models_do_not_mix_where_the_job_file_is_lost(out, lost):
    journal = start(out)
    journal.append([row("a.jpg")])
    journal.release()
    (journal.parts / "job.json").unlink()
    if lost is not None:
        (journal.parts / "job.json").write_text(lost)
    with pytest.raises(LandmarkError, match="was begun with model 'default', now 'other'"):
        Journal(out, COLUMNS).begin({**JOB, "model": "other"})
    assert finish(start(out)).total == 1


def test_a_job_of_an_earlier_version_that_noted_more_goes_on(out):
    journal = start(out)
    journal.append([row("a.jpg")])
    journal.release()
    (journal.parts / "job.json").write_text(json.dumps({**JOB, "sidecars": "beside the photos"}))
    assert finish(start(out)).total == 1


def test_a_job_without_a_row_was_not_begun(out):
    journal = start(out)
    journal.release()
    assert not journal.parts.exists()
    killed = start(out)
    killed.close()
    killed.lock.release()  # as a kill does
    other = Journal(out, COLUMNS)
    other.begin({**JOB, "model": "other"})
    other.release()
    assert not other.parts.exists()


def test_a_row_that_is_due_is_given_once_and_the_next_one_takes_its_place(out):
    journal = start(out)
    journal.append([row("a.jpg"), row("b.jpg"), row("c.jpg", "c.jpg is empty (0 bytes).")])
    finish(journal)
    again = Journal(out, COLUMNS)
    again.begin(JOB)
    again.resume(JOB, lambda old: old["path"] != "b.jpg")
    assert [again.take_due(path) is not None for path in ("a.jpg", "a.jpg", "b.jpg", "c.jpg")] == [
        True,
        False,
        False,
        False,
    ]
    assert [again.is_mine(path) for path in ("a.jpg", "b.jpg", "c.jpg")] == [False, False, True]
    again.append([row("a.jpg") | {"name": "Bridge"}, row("c.jpg")])
    again.release()  # interrupted
    last = start(out)
    assert [last.is_mine(path) for path in ("a.jpg", "b.jpg", "c.jpg")] == [False] * 3
    summary = finish(last)
    assert summary.landmarks == {"Bridge": 1, "Tower": 2}
    assert (summary.total, summary.failed) == (3, 0)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_csv_file_that_a_spreadsheet_has_saved_goes_on_as_it_is(tmp_path, delimiter, mark):
    out = tmp_path / "tags.csv"
    journal = start(out)
    journal.append([row("a,b;c.jpg")])
    finish(journal)
    with out.open(newline="") as file:
        rows = list(csv.reader(file))
    with out.open("w", newline="", encoding="utf-8") as file:
        file.write(mark)
        saved = [rows[0], rows[1][:-1], [""] * len(COLUMNS), []]  # Excel drops empty cells at the end
        csv.writer(file, delimiter=delimiter).writerows(saved)
    again = start(out)
    assert not again.is_mine("a,b;c.jpg")
    again.append([row("d.jpg")])
    assert finish(again).total == 2
    text = out.read_text(encoding="utf-8")
    assert text.startswith(f"{mark}path{delimiter}name")
    assert sorted(path for path, _ in written(out)) == ["a,b;c.jpg", "d.jpg"]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\n\n"])
@pytest.mark.parametrize("end", [b"", b"\n", b"\n\n \n"])
def test_json_lines_that_an_editor_has_saved_go_on(tmp_path, mark, line_end, end):
    out = tmp_path / "tags.jsonl"
    journal = start(out)
    journal.append([row("a.jpg"), row("b.jpg")])
    finish(journal)
    out.write_bytes(mark + line_end.join(out.read_bytes().splitlines()) + end)
    again = start(out)
    assert not again.is_mine("a.jpg")
    assert not again.is_mine("b.jpg")
    assert finish(again).total == 2
    assert out.read_bytes().count(b"\n") == 2


def test_json_lines_with_a_broken_row_are_refused_before_any_work(tmp_path):
    out = tmp_path / "tags.jsonl"
    journal = start(out)
    journal.append([row("a.jpg"), row("b.jpg")])
    finish(journal)
    out.write_bytes(out.read_bytes() + b'{"path": "c.jpg"')
    with pytest.raises(LandmarkError, match=r"tags.jsonl was not written by this command, or was changed: line 3"):
        start(out)


def test_an_output_may_have_as_long_a_name_as_the_file_system_allows(tmp_path):
    for suffix in (".csv", ".jsonl"):
        out = tmp_path / ("写" * 80 + suffix)
        journal = start(out)
        journal.append([row("a.jpg")])
        assert finish(journal).total == 1
        assert written(out) == [("a.jpg", "")]


def test_the_set_on_disk_is_exact():
    seen = DiskSet()
    assert [seen.add(text) for text in ("a", "b", "a", "\udce9", "\udce9")] == [True, True, False, True, False]
    assert seen.add("c", "value")
    assert [seen.pop(text) for text in ("c", "c", "a")] == ["value", None, None]
    assert seen.add("c")
    seen.close()
