import shutil
import subprocess
import zlib

import numpy as np
import pytest
from helpers.icc import PROPHOTO, profile
from helpers.images import encoded, landscape, png_chunk
from helpers.programs import absent
from PIL import Image

from landmark_models import PhotoError, open_photo, photo_position
from landmark_models.photo import photo_size

PICTURE = landscape((160, 120))
PNG = encoded(PICTURE, "PNG")
HEADER = 8 + 25  # the signature and IHDR


def with_chunk(kind: bytes, content: bytes, checksum: int | None = None, at_the_end: bool = False) -> bytes:
    position = len(PNG) - 12 if at_the_end else HEADER
    return PNG[:position] + png_chunk(kind, content, checksum) + PNG[position:]


@pytest.mark.parametrize(
    "data",
    {
        "a wrong checksum of a text": with_chunk(b"tEXt", b"Comment\0holiday", 1),
        "a wrong checksum behind the pixels": with_chunk(b"tEXt", b"Comment\0holiday", 1, at_the_end=True),
        "a wrong checksum of the time": with_chunk(b"tIME", bytes(7), 2),
        "a wrong checksum of EXIF": with_chunk(b"eXIf", b"II*\0\x08\0\0\0\0\0", 3),
        "a compressed text of 3 MB": with_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(3_000_000))),
        "a text of 70 MB": with_chunk(b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(bytes(70_000_000))),
        "a profile that is no profile": with_chunk(b"iCCP", b"x\0\0not compressed"),
        "no end": PNG[:-12],
        "half an end": PNG[:-5],
        "too short a tEXt": with_chunk(b"tEXt", b""),
        "too short a gAMA": with_chunk(b"gAMA", b"\0"),
        "too short a cHRM": with_chunk(b"cHRM", b"\0\0"),
        "too short a pHYs": with_chunk(b"pHYs", b"\0"),
        "a broken animation": with_chunk(b"acTL", b"\0\0"),
    }.items(),
    ids=lambda item: item[0],
)
def test_a_png_is_read_whatever_is_wrong_beside_its_pixels(data):
    assert np.array_equal(np.asarray(open_photo(data[1])), np.asarray(PICTURE))
    assert photo_size(data[1]) == PICTURE.size
    assert photo_position(data[1]) is None


@pytest.mark.parametrize("padding", [0, 3_000_000])
def test_the_profile_of_a_png_counts_whatever_its_size(padding):
    wide = profile(PROPHOTO, 1.8, padding)
    small = open_photo(encoded(PICTURE, "PNG", icc_profile=profile(PROPHOTO, 1.8)))
    large = open_photo(with_chunk(b"iCCP", b"wide\0\0" + zlib.compress(wide)))
    assert np.array_equal(np.asarray(large), np.asarray(small))
    assert not np.array_equal(np.asarray(large), np.asarray(PICTURE))


def test_a_profile_that_would_fill_the_memory_is_not_unpacked():
    bomb = with_chunk(b"iCCP", b"bomb\0\0" + zlib.compress(bytes(60_000_000)))
    assert np.array_equal(np.asarray(open_photo(bomb)), np.asarray(PICTURE))


def test_a_wrong_checksum_of_the_header_is_refused():
    data = bytearray(PNG)
    data[HEADER - 1] ^= 1
    with pytest.raises(PhotoError):
        open_photo(bytes(data))


def djpeg(data: bytes) -> np.ndarray:
    if shutil.which("djpeg") is None:
        absent("djpeg (libjpeg-turbo-progs)")
    run = subprocess.run(["djpeg", "-ppm"], input=data, capture_output=True, check=False)
    header, _, pixels = run.stdout.partition(b"255\n")
    width, height = map(int, header.split()[1:3])
    values = np.frombuffer(pixels, np.uint8).reshape(height, width, -1)
    return values.repeat(3 // values.shape[2], axis=2)


def noisy(size=(160, 120)) -> Image.Image:
    noise = np.random.default_rng(0).normal(0, 12, (size[1], size[0], 3))
    return Image.fromarray((np.asarray(landscape(size)) + noise).clip(0, 255).astype(np.uint8))


JPEGS = {
    "baseline": {},
    "progressive": {"progressive": True},
    "grey": {"grey": True},
    "4:4:4": {"subsampling": 0},
    "restarts": {"restart_marker_rows": 1},
}


def jpeg(kind: str, **more) -> bytes:
    options = {**JPEGS[kind], **more}
    image = noisy().convert("L") if options.pop("grey", False) else noisy()
    return encoded(image, "JPEG", quality=85, **options)


@pytest.mark.parametrize("cut", [1, 2, 3, 10])
@pytest.mark.parametrize("kind", JPEGS)
def test_a_jpeg_without_its_end_has_the_pixels_that_djpeg_gives(kind, cut):
    data = jpeg(kind)[:-cut]
    opened = np.asarray(open_photo(data))
    assert np.array_equal(opened, djpeg(data))


@pytest.mark.parametrize("share", [0.3, 0.6, 0.8])
@pytest.mark.parametrize("kind", JPEGS)
def test_a_jpeg_that_lacks_more_than_a_few_rows_is_refused(kind, share):
    data = jpeg(kind)
    with pytest.raises(PhotoError, match="damaged"):
        open_photo(data[: int(len(data) * share)])


def test_a_jpeg_without_its_end_is_read_at_a_reduced_scale_and_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(noisy((1600, 1200)), "JPEG", exif=exif)
    assert np.array_equal(np.asarray(open_photo(data[:-2], 100)), np.asarray(open_photo(data, 100)))
    assert open_photo(data[:-2], 100).size == (150, 200)


@pytest.mark.parametrize("kind", [b"\xff\xe2", b"\xff\xed", b"\xff\xfe", b"\xff\xe1"])
def test_a_jpeg_is_read_whatever_is_wrong_with_its_metadata(kind):
    whole = jpeg("baseline")
    content = {b"\xff\xe2": b"MPF\0II*\0\xff\xff\xff\x7f", b"\xff\xed": b"Photoshop 3.0\x008BIM\x04\x04"}.get(
        kind, b"Exif\0\0II*\0\xff\xff\xff\xff"
    )
    damaged = whole[:2] + kind + (len(content) + 2).to_bytes(2, "big") + content + whole[2:]
    assert np.array_equal(np.asarray(open_photo(damaged)), np.asarray(open_photo(whole)))


@pytest.mark.parametrize("segment", [b"\xff\xee\0\x07Adobe", b"\xff\xe0\0\x07JFIF\0", b"\xff\xe0\0\x09JFIF\0\1\1"])
def test_a_jpeg_is_read_although_a_segment_is_too_short(segment):
    whole = jpeg("baseline")
    length = 2 + int.from_bytes(whole[4:6], "big")
    for damaged in (whole[:2] + segment + whole[2:], whole[:2] + segment + whole[2 + length :]):
        assert np.array_equal(np.asarray(open_photo(damaged)), np.asarray(open_photo(whole)))


@pytest.mark.parametrize("junk", [b"\n", b"\r\n\r\n", b"\xef\xbb\xbf", b"\0" * 16, b"  \t"])
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"])
def test_blanks_before_a_photo_do_not_count(format, junk):
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(PICTURE, format, exif=exif) if format not in ("GIF", "BMP") else encoded(PICTURE, format)
    assert np.array_equal(np.asarray(open_photo(junk + data)), np.asarray(open_photo(data)))
    assert photo_size(junk + data) == photo_size(data)


def webp_chunks(data: bytes) -> list[bytes]:
    chunks, position = [], 12
    while position < len(data):
        length = int.from_bytes(data[position + 4 : position + 8], "little")
        chunks.append(data[position : position + 8 + length + length % 2])
        position += len(chunks[-1])
    return chunks


@pytest.mark.parametrize("clear", [False, True])
@pytest.mark.parametrize("lossless", [False, True])
def test_a_webp_is_read_whatever_is_wrong_beside_its_pixels(clear, lossless):
    picture = PICTURE.convert("RGBA") if clear else PICTURE
    if clear:
        picture.putalpha(128)
    exif = Image.Exif()
    exif[0x010E] = "a description that is long enough to be cut"
    data = encoded(picture, "WEBP", lossless=lossless, exif=exif, icc_profile=profile(PROPHOTO, 1.8))
    expected = np.asarray(open_photo(data))
    header, *chunks = webp_chunks(data)
    assert header[:4] == b"VP8X"
    for damaged in (
        data[:-5],  # in the middle of the EXIF
        data[:4] + (len(data) + 5000).to_bytes(4, "little") + data[8:],
        data[:4] + (len(data) - 40).to_bytes(4, "little") + data[8:],
        data[:12] + header + b"".join(chunks) + b"EXIF\xff\xff\xff\x7f",
        data[:12] + header + b"".join(chunk for chunk in chunks if chunk[:4] != b"EXIF") + b"EX",
    ):
        assert np.array_equal(np.asarray(open_photo(damaged)), expected)
    pixels = sum(len(chunk) for chunk in chunks if chunk[:4] != b"EXIF")
    with pytest.raises(PhotoError):
        open_photo(data[: 12 + len(header) + pixels // 2])


@pytest.mark.parametrize("format", ["BMP", "TIFF"])
def test_rows_that_lack_a_few_bytes_are_read_as_far_as_they_go(format):
    data = encoded(PICTURE, format)
    for cut in (1, 10):
        opened = np.asarray(open_photo(data[:-cut]))
        assert (opened != np.asarray(PICTURE)).any(axis=(1, 2)).sum() <= 1
    with pytest.raises(PhotoError, match="damaged"):
        open_photo(data[: len(data) // 2])


@pytest.mark.parametrize("options", [[], ["-progressive"], ["-restart", "1"]])
def test_a_jpeg_with_arithmetic_coding_is_read(options):
    if shutil.which("jpegtran") is None:
        absent("djpeg (libjpeg-turbo-progs)")
    noise = np.random.default_rng(0).integers(0, 255, (480, 640, 3), dtype=np.uint8)  # more than one block of a file
    common = encoded(Image.fromarray(noise), "JPEG")
    run = subprocess.run(["jpegtran", "-arithmetic", *options], input=common, capture_output=True, check=True)
    assert np.array_equal(np.asarray(open_photo(run.stdout)), np.asarray(open_photo(common)))
