import json
import shutil
import subprocess

import pytest
from helpers.exif import ASCII, BYTE, DOUBLE, LONG, RATIONAL, SHORT, SIGNED_RATIONAL, UNDEFINED, gps_exif
from helpers.programs import absent
from PIL import Image

from landmark_models import photo_position

N, S, E, W = (ASCII, "N"), (ASCII, "S"), (ASCII, "E"), (ASCII, "W")
AGRA = ((RATIONAL, [(27, 1), (10, 1), (3000, 100)]), (RATIONAL, [(78, 1), (2, 1), (3156, 100)]))

# latitude, its reference, longitude, its reference
READ_BY_EXIFTOOL = {
    "usual": (AGRA[0], N, AGRA[1], E),
    "signed, and their references": (
        (SIGNED_RATIONAL, [(-33, 1), (51, 1), (0, 1)]), S, (SIGNED_RATIONAL, [(-70, 1), (-40, 1), (-12, 1)]), W,
    ),
    "signed, all parts": ((SIGNED_RATIONAL, [(-33, 1), (-51, 1), (-30, 1)]), S, AGRA[1], E),
    "words": (AGRA[0], (ASCII, "South"), AGRA[1], (ASCII, "West")),
    "lower case": (AGRA[0], (ASCII, "s"), AGRA[1], (ASCII, "w")),
    "capitals": (AGRA[0], (ASCII, "SOUTH"), AGRA[1], (ASCII, "EAST")),
    "two rationals": ((RATIONAL, [(27, 1), (105, 10)]), N, (RATIONAL, [(78, 1), (2526, 1000)]), E),
    "one rational": ((RATIONAL, (27175, 1000)), S, (RATIONAL, (78042, 1000)), W),
    "references of bytes": (AGRA[0], (BYTE, [ord("N"), 0]), AGRA[1], (UNDEFINED, "E")),
    "undefined references": (AGRA[0], (UNDEFINED, b"S\0"), AGRA[1], (UNDEFINED, b"W\0")),
    "text": ((ASCII, "27, 5, 24"), N, (ASCII, "77 40 12.5"), E),
    "one number as text": ((ASCII, "27.09"), S, (ASCII, "77.67"), W),
    "text with signs of degrees": ((ASCII, "27 deg 5' 24.00\""), N, (ASCII, "77 deg 40' 12.00\""), E),
    "undefined text": ((UNDEFINED, "27,5,24"), N, (UNDEFINED, "77,40,12"), E),
    "doubles": ((DOUBLE, [27.0, 5.0, 24.0]), N, (DOUBLE, 77.67), W),
    "short and long": ((SHORT, [27, 5, 24]), S, (LONG, [77, 40, 12]), E),
    "numbers as bytes": ((BYTE, [48, 51, 30]), N, (BYTE, [2, 17, 40]), E),
    "seconds above 60": ((RATIONAL, [(27, 1), (0, 1), (610, 1)]), N, AGRA[1], E),
    "no seconds": ((RATIONAL, [(0, 1), (0, 1), (324, 1)]), S, AGRA[1], W),
}  # fmt: skip
NO_POSITION = {
    "seconds 0/0": ((RATIONAL, [(27, 1), (5, 1), (0, 0)]), N, AGRA[1], E),
    "seconds 1/0": ((RATIONAL, [(27, 1), (5, 1), (1, 0)]), N, AGRA[1], E),
    "no hemisphere": (AGRA[0], None, AGRA[1], E),
    "an empty hemisphere": (AGRA[0], (ASCII, ""), AGRA[1], E),
    "a hemisphere of the other axis": (AGRA[0], E, AGRA[1], N),
    "a sign instead of a hemisphere": ((SIGNED_RATIONAL, [(-33, 1), (51, 1), (0, 1)]), (ASCII, "-"), AGRA[1], E),
    "beyond the pole": ((RATIONAL, [(91, 1), (0, 1), (0, 1)]), N, AGRA[1], E),
    "beyond the date line": (AGRA[0], N, (RATIONAL, [(181, 1), (0, 1), (0, 1)]), E),
    "zeros": ((RATIONAL, [(0, 1)] * 3), N, (RATIONAL, [(0, 1)] * 3), E),
    "text without a number": ((ASCII, "unknown"), N, AGRA[1], E),
    "not a number": ((DOUBLE, float("nan")), N, AGRA[1], E),
}


def with_exif(path, exif):
    Image.new("RGB", (16, 16)).save(path, exif=exif)
    return path


def test_positions_are_those_that_exiftool_reads(tmp_path):
    if shutil.which("exiftool") is None:
        absent("exiftool (libimage-exiftool-perl)")
    for index, fields in enumerate(READ_BY_EXIFTOOL.values()):
        with_exif(tmp_path / f"{index:02d}.jpg", gps_exif(*fields))
    command = ["exiftool", "-j", "-n", "-Composite:GPSLatitude", "-Composite:GPSLongitude", str(tmp_path)]
    read = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    expected = {record["SourceFile"]: (record.get("GPSLatitude"), record.get("GPSLongitude")) for record in read}
    for index, name in enumerate(READ_BY_EXIFTOOL):
        file = str(tmp_path / f"{index:02d}.jpg")
        assert photo_position(file) == pytest.approx(expected[file], abs=1e-6), name


def test_a_hemisphere_in_bytes_counts_although_exiftool_takes_it_for_north(tmp_path):
    exif = gps_exif(AGRA[0], (BYTE, [ord("S"), 0]), AGRA[1], (UNDEFINED, "W"))
    assert photo_position(with_exif(tmp_path / "a.jpg", exif)) == pytest.approx((-27.175, -78.0421), abs=1e-4)


@pytest.mark.parametrize("fields", NO_POSITION.values(), ids=NO_POSITION)
def test_no_position_is_made_of(fields, tmp_path):
    assert photo_position(with_exif(tmp_path / "a.jpg", gps_exif(*fields))) is None


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_the_position_is_read_in_every_format(format, tmp_path):
    exif = Image.Exif()
    exif.load(gps_exif(AGRA[0], S, AGRA[1], W))
    path = tmp_path / "a"
    Image.new("RGB", (16, 16)).save(path, format, exif=exif)
    assert photo_position(path) == pytest.approx((-27.175, -78.0421), abs=1e-4)
