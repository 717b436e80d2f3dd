"""Text and JSON files, digests, and the recursive search for photos."""

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from landmark_models.atomic import PART, atomic_path
from landmark_models.errors import reason

__all__ = [
    "PART", "PHOTO_SUFFIXES", "Entry", "atomic_path", "find_photos_below", "is_photo_content", "is_photo_name",
    "is_system_folder", "left_out_line", "sha256", "why_left_out", "write_json", "write_text",
]  # fmt: skip

# The names under which the formats that `open_photo` reads are found.
PHOTO_SUFFIXES = frozenset(
    [
        ".jpg", ".jpeg", ".jpe", ".jfif", ".jfi", ".jif", ".pjpeg", ".pjpg", ".pjp", ".mpo", ".jps", ".png", ".apng",
        ".webp", ".gif", ".tif", ".tiff", ".btf", ".tf8", ".bmp", ".dib", ".heic", ".heics", ".heif", ".heifs", ".hif",
        ".avif", ".avifs",
    ]
)  # fmt: skip

_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"mif2", b"avif", b"avis")

# Folders in which a system keeps thumbnails, deleted files, snapshots or its own data, without regard to case. Hidden
# ones (.@__thumb, .Trash-1000, .thumbnails, .zfs, .AppleDouble, ...) are left out for their dot.
_SYSTEM_FOLDERS = frozenset(
    [
        # Synology DSM: https://kb.synology.com, "What is @eaDir", "Recycle Bin", "Snapshot Replication"
        "@eadir", "#recycle", "#snapshot", "@tmp", "@sharebin", "@sharesnap", "@quarantine", "@img_bkp_cache",
        # QNAP QTS: https://docs.qnap.com, "Network Recycle Bin", "Snapshots", "Multimedia"; Asustor ADM as well
        "@recycle", "@recently-snapshot", "@__thumb", "@transcode",
        # NetApp ONTAP over SMB: https://docs.netapp.com, "Snapshot directory access"
        "~snapshot",
        # Windows: https://learn.microsoft.com, "Recycle Bin", "Volume Shadow Copy Service"
        "$recycle.bin", "system volume information", "msocache",
        # macOS: zip archives of the Finder; AFP servers, https://netatalk.io ("vetoed files")
        "__macosx", "network trash folder", "temporary items", "thevolumesettingsfolder",
        # Nextcloud and ownCloud, in the data folder: https://docs.nextcloud.com, "Deleted files", "Versions"
        "files_trashbin", "files_versions",
        # iCloud and iOS exports
        "recently deleted",
    ]
)  # fmt: skip
_SYSTEM_FOLDER_PATTERN = re.compile(
    r"lost\+found|RECYCLER|RECYCLED|FOUND\.\d{3}"  # fsck of Linux (e2fsck(8)); Windows XP and its chkdsk
    r"|appdata_oc[0-9a-z]{10}"  # Nextcloud's previews
    r"|.*\.lrdata"  # Lightroom's previews
)
_APPLE_LIBRARIES = (".photoslibrary", ".photolibrary", ".aplibrary")
_APPLE_ORIGINALS = ("originals", "masters")  # all else in there is made from these
_SYSTEM_FILES = frozenset(  # what file managers leave in every folder: no photo, and not worth a word
    [
        ".ds_store",
        ".localized",
        "icon\r",
        "thumbs.db",
        "ehthumbs.db",
        "desktop.ini",
        ".directory",
        ".nomedia",
        ".picasa.ini",
    ]
)
_THUMBNAIL_NAMES = ("synofile_thumb", "synophoto_thumb")  # Synology's, where copies of @eaDir were unpacked


def sha256(file: Path) -> str:
    """The SHA-256 of a file's content, as 64 hexadecimal digits."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def write_text(file: Path, content: str) -> None:
    """Write a text file (UTF-8) as `atomic_path` does."""
    with atomic_path(file) as scratch:
        scratch.write_text(content, encoding="utf-8", errors="surrogateescape")  # file names may not be UTF-8


def write_json(file: Path, content: Any) -> None:
    """Write a JSON file as `atomic_path` does."""
    write_text(file, json.dumps(content, indent=1) + "\n")


class Entry(NamedTuple):
    """The path of a photo, as Python decodes file names; or of something that can't be listed, and why not."""

    path: str
    error: str = ""


def is_photo_name(name: str) -> bool:
    """Whether a file name ends like a photo's, isn't hidden, and isn't a NAS's name for a thumbnail."""
    return (
        os.path.splitext(name)[1].lower() in PHOTO_SUFFIXES
        and not name.startswith(".")
        and not name.lower().startswith(_THUMBNAIL_NAMES)
    )


def is_photo_content(start: bytes) -> bool:
    """Whether a file that begins with these bytes (32 suffice) is in a format that `open_photo` reads."""
    return (
        start.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF87a", b"GIF89a"))  # JPEG, PNG, GIF
        or start.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"))  # TIFF, BigTIFF
        or (start[:2], start[6:10]) == (b"BM", bytes(4))  # BMP
        or (start[:4], start[8:12]) == (b"RIFF", b"WEBP")
        or (start[4:8] == b"ftyp" and start[8:12] in _HEIF_BRANDS)
    )


def is_system_folder(name: str, parent: str = "") -> bool:
    """Whether a folder of this name, in a folder named `parent`, holds a system's thumbnails or trash, not photos."""
    if parent.lower().endswith(_APPLE_LIBRARIES):
        return name.lower() not in _APPLE_ORIGINALS
    return name.lower() in _SYSTEM_FOLDERS or _SYSTEM_FOLDER_PATTERN.fullmatch(name) is not None


def why_left_out(name: str, parent: str = "", folder: bool = False) -> str | None:
    """Why a search leaves out a file or a folder, as a phrase that follows a number; None if it doesn't.

    It is empty for what file managers leave in every folder, which isn't worth counting.

    >>> why_left_out("@eaDir", folder=True)
    'system folder @eaDir'
    """
    if folder:
        return "hidden folder" if name.startswith(".") else _system_folder(name, parent)
    if is_photo_name(name):
        return None
    if name.lower() in _SYSTEM_FILES:
        return ""
    suffix = os.path.splitext(name)[1].lower()
    if suffix in PHOTO_SUFFIXES:
        return "hidden photo" if name.startswith(".") else "thumbnail of a NAS"
    return f"{suffix} file" if re.fullmatch(r"\.[a-z0-9]{1,5}", suffix) else "other file"


def left_out_line(left_out: Counter[str], most: int = 8) -> str:
    """A sentence on what searches have left out, by `why_left_out`; empty if it is nothing.

    >>> left_out_line(Counter({"system folder @eaDir": 3, ".mp4 file": 12}))
    'Left out: 12 x .mp4 file, 3 x system folder @eaDir.'
    """
    kinds = [f"{count:,} x {why}" for why, count in left_out.most_common(most)]
    if len(left_out) > most:
        kinds.append(f"and {sum(left_out.values()) - sum(count for _, count in left_out.most_common(most)):,} more")
    return f"Left out: {', '.join(kinds)}." if kinds else ""


def _system_folder(name: str, parent: str) -> str | None:
    if not is_system_folder(name, parent):
        return None
    return f"system folder {parent}/..." if parent.lower().endswith(_APPLE_LIBRARIES) else f"system folder {name}"


def find_photos_below(
    folder: str | os.PathLike[str],
    walked: set[tuple[int, int]] | None = None,
    left_out: Counter[str] | None = None,
) -> Iterator[Entry]:
    """The photos in a folder and all folders below it, by suffix, as they are found.

    Hidden files and folders and `is_system_folder`s are left out.

    Links are followed, but no folder is listed twice, whichever way leads to it: folders are listed where they are, and
    a link is followed only if it leads outside everything walked so far. Paths begin with `folder` as it is given.
    Folders that can't be read and links to nowhere become entries with an `error`.

    Args:
        folder: where to begin. It is listed whatever its own name is.
        walked: the roots of earlier walks, device and inode; this walk leaves out what those list, and adds its own.
        left_out: counts what is left out, by `why_left_out`.
    """
    walked = set() if walked is None else walked
    left_out = Counter() if left_out is None else left_out
    root = os.fspath(folder)
    if _is_below(os.path.realpath(root), walked):
        return
    if identity := _identity(root):
        walked.add(identity)
    links: list[str] = []
    failures: list[OSError] = []
    for parent, folders, names in os.walk(root, onerror=failures.append):
        where = os.path.basename(os.path.normpath(parent))
        folders[:] = [name for name in folders if not _counted(why_left_out(name, where, folder=True), left_out)]
        links += filter(os.path.islink, (os.path.join(parent, name) for name in folders))
        folders[:] = [name for name in folders if _identity(os.path.join(parent, name)) not in walked]
        for name in names:
            path = os.path.join(parent, name)
            if _counted(why_left_out(name, where), left_out):
                continue
            if not os.path.islink(path):
                yield Entry(path)
            elif entry := _linked_photo(path, walked):
                yield entry
    for link in links:
        yield from find_photos_below(link, walked, left_out)
    for error in failures:
        yield Entry(str(error.filename), f"The folder can't be listed: {reason(error)}.")


def _counted(why: str | None, left_out: Counter[str]) -> bool:
    if why:
        left_out[why] += 1
    return why is not None


def _linked_photo(link: str, walked: set[tuple[int, int]]) -> Entry | None:
    """The photo that a link leads to; None where it is listed in its own place."""
    try:
        target = os.path.realpath(link, strict=True)
    except OSError as error:
        return Entry(link, f"The link leads nowhere: {reason(error)}.")
    return None if is_photo_name(os.path.basename(target)) and _is_below(target, walked) else Entry(link)


def _is_below(path: str, walked: set[tuple[int, int]]) -> bool:
    """Whether a walk reaches a real path: it starts at or above it, with no folder in between that it leaves out."""
    for folder in [Path(path), *Path(path).parents]:
        if _identity(str(folder)) in walked:
            return True
        if why_left_out(folder.name, folder.parent.name, folder=True):
            return False
    return False


def _identity(path: str) -> tuple[int, int] | None:
    """Device and inode; None where the path doesn't exist or may not be read."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
