import errno
import os
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from landmark_models.atomic import atomic_path
from landmark_models.files import write_json, write_text

# Read for the group, and for user 1234, as `setfacl -m u:1234:r` leaves it in a file of mode 0640.
ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHi", kind, mode, user)
    for kind, mode, user in ((1, 6, -1), (2, 4, 1234), (4, 4, -1), (0x10, 4, -1), (0x20, 0, -1))
)


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


@pytest.mark.parametrize("name", ["a" * 251 + ".xmp", "写" * 83 + ".jpg", "x." + "y" * 250, "tags.jsonl"])
def test_a_name_as_long_as_the_file_system_allows_can_be_written(tmp_path, name):
    for content in ("first", "second"):
        write_text(tmp_path / name, content)
        assert (tmp_path / name).read_text() == content
    assert names(tmp_path) == [name]


def test_a_failed_write_leaves_what_there_was(tmp_path):
    file = tmp_path / "a.txt"

    def fail() -> None:
        with atomic_path(file) as scratch:
            scratch.write_text("half of")
            raise ZeroDivisionError

    for exists in (False, True):
        with pytest.raises(ZeroDivisionError):
            fail()
        assert names(tmp_path) == (["a.txt"] if exists else [])
        write_text(file, "whole")
    assert file.read_text() == "whole"


def test_two_that_write_one_file_do_not_meet(tmp_path):
    file = tmp_path / "a.txt"
    with atomic_path(file) as first:
        first.write_text("first, ")
        with atomic_path(file) as second:
            second.write_text("second")
        with atomic_path(file) as third:
            third.write_text("third")
        with first.open("a") as scratch:
            scratch.write("to its end")
    assert file.read_text() == "first, to its end"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.skipif(sys.platform == "win32", reason="an abandoned scratch file can't be told from one in use")
def test_what_a_kill_leaves_is_used_up_by_the_next_write(tmp_path):
    killed = (
        "import os, sys, signal\nfrom pathlib import Path\nfrom landmark_models.atomic import atomic_path\n"
        "with atomic_path(Path(sys.argv[1])) as scratch:\n"
        "    scratch.write_text('long ' * 1000)\n    os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", killed, str(tmp_path / "a.txt")], cwd=Path(__file__).parents[1])
    assert len(names(tmp_path)) == 1
    write_text(tmp_path / "a.txt", "short")
    assert names(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "short"


def test_a_link_or_a_folder_with_the_scratchs_name_is_left_alone(tmp_path):
    with atomic_path(tmp_path / "a.txt") as scratch:
        first = scratch
    (tmp_path / "a.txt").unlink()
    first.symlink_to(tmp_path / "diary.txt")
    first.with_name(first.name.replace("-0", "-1")).mkdir()
    write_text(tmp_path / "a.txt", "new")
    assert not (tmp_path / "diary.txt").exists()
    assert len(names(tmp_path)) == 3


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX")
def test_a_file_that_is_replaced_keeps_mode_owner_and_attributes(tmp_path, monkeypatch):
    file = tmp_path / "a.txt"
    file.write_text("old")
    file.chmod(0o640)
    os.utime(file, (0, 0))
    owner = (1234, 5678) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    os.chown(file, *owner)
    attributes = {}
    for name, value in (("user.note", b"mine"), ("system.posix_acl_access", ACL)):
        with suppress(OSError, AttributeError):  # not on every file system, not on every system
            os.setxattr(file, name, value)
            attributes[name] = value

    def check(content: str) -> None:
        status = file.stat()
        assert file.read_text() == content
        assert (status.st_mode & 0o777, (status.st_uid, status.st_gid)) == (0o640, owner)
        assert status.st_mtime > 0
        assert {name: os.getxattr(file, name) for name in attributes} == attributes

    write_json(file, "new")
    check('"new"\n')
    if os.geteuid() == 0:

        def refuse(*_):  # as for somebody who is not root
            raise PermissionError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(os, "chown", refuse)
        write_text(file, "in place")
        check("in place")
    assert names(tmp_path) == ["a.txt"]


def test_a_read_only_file_stays(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("old")
    file.chmod(0o444)
    with pytest.raises(PermissionError, match="read-only"):
        write_text(file, "new")
    assert file.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]
