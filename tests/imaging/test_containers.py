import io
import subprocess
import sys
import warnings

import numpy as np
import pytest
from helpers.images import encoded, landscape, tiff
from helpers.photos import RED_HEIC
from PIL import Image

from landmark_models import PhotoError, open_photo
from landmark_models.photo import photo_size, read_photo

RED = (200, 40, 40)


def jpeg_frame(data: bytes, marker: int | None = None, bits: int | None = None) -> bytes:
    """A JPEG whose start-of-frame segment claims something else."""
    changed = bytearray(data)
    position = data.index(b"\xff\xc0\x00\x11")
    if marker:
        changed[position + 1] = marker
    if bits:
        changed[position + 4] = bits
    return bytes(changed)


JPEG = encoded(Image.new("RGB", (32, 32), RED), "JPEG")
FLOATS = np.zeros((16, 16, 3), np.float32)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (jpeg_frame(JPEG, marker=0xC3), "JPEG without loss, which isn't supported"),
        (jpeg_frame(JPEG, marker=0xC5), "JPEG in several frames, which isn't supported"),
        (jpeg_frame(JPEG, bits=12), "JPEG of 12 bits, which isn't supported"),
        (tiff(FLOATS), "kind of TIFF that isn't supported: 3 samples a pixel, floating-point numbers of 32 bits"),
        (tiff(FLOATS[..., 0].astype(np.float16)), "TIFF that isn't supported: 1 samples? a pixel, floating.* 16 bits"),
        (tiff(FLOATS[..., 0].astype(np.float64)), "TIFF that isn't supported: 1 samples? a pixel, floating.* 64 bits"),
        (tiff(np.zeros((8, 8, 3), np.uint8), compression=34712), "kind of TIFF .* compression method 34712"),
        (tiff(np.zeros((8, 8, 3), np.uint8), compression=50001), "TIFF that isn't supported: .* compression webp"),
        (tiff(np.zeros((8, 8, 3), np.uint8), compression=999), "TIFF that isn't supported: .* compression method 999"),
        (b"MM\0+\0\x08\0\0" + bytes(60), "kind of TIFF that isn't supported: its header can't be read"),
        (b"\xff\x0a" + bytes(40), "JPEG XL image, which isn't supported"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(40), "JPEG XL image, which isn't supported"),
        (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(40), "JPEG 2000 image, which isn't supported"),
        (b"8BPS\0\x01" + bytes(40), "Photoshop document, which isn't supported"),
        (b"\0\0\0\x18ftypcrx " + bytes(40), "raw image, which isn't supported"),
        (b"\0\0\0\x18ftypisom" + bytes(40), "video, which isn't supported"),
        (b"%PDF-1.7" + bytes(40), "PDF document, which isn't supported"),
    ],
)  # fmt: skip
def test_what_is_not_supported_is_named(data, words, tmp_path):
    path = tmp_path / "holiday.jpg"
    path.write_bytes(data)
    with pytest.raises(PhotoError, match=words) as caught:
        open_photo(path)
    assert "holiday.jpg" in str(caught.value)
    assert "JPEG." in str(caught.value)


def test_a_reduced_first_page_of_a_tiff_is_skipped():
    small, large = Image.new("RGB", (16, 12), "black"), landscape((160, 120))
    pages = io.BytesIO()
    small.save(pages, "TIFF", tiffinfo={254: 1}, save_all=True, append_images=[large])
    first = pages.getvalue()
    assert Image.open(io.BytesIO(first)).tag_v2.get(254) == 1
    with Image.open(io.BytesIO(first)) as image:
        image.seek(1)
        reduced = image.tag_v2.get(254, 0) & 1
    if reduced:  # Pillow has written the tag into every page
        position = first.rindex(b"\xfe\x00\x04\x00\x01\x00\x00\x00\x01\x00\x00\x00")
        first = first[: position + 8] + bytes(4) + first[position + 12 :]
    assert np.array_equal(np.asarray(open_photo(first)), np.asarray(large))
    assert open_photo(encoded(small, "TIFF", tiffinfo={254: 1})).size == (16, 12)  # there is no other


def test_a_photo_of_200_megapixels_is_read_at_a_reduced_scale():
    data = encoded(Image.new("L", (16320, 12240), 90), "JPEG")
    assert open_photo(data, 224).size == (2040, 1530)
    with pytest.raises(PhotoError, match="128 million"):
        open_photo(data)
    progressive = encoded(Image.new("L", (16320, 12240), 90), "JPEG", progressive=True)
    with pytest.raises(PhotoError, match="128 million"):  # its coefficients alone would take 400 MB a channel
        open_photo(progressive, 224)


def test_a_jpeg_of_countless_scans_is_refused():
    for size, scans in ((64, 300), (8000, 50)):
        data = encoded(Image.new("L", (size, size), 90), "JPEG", progressive=True)
        start = data.rindex(b"\xff\xda")
        with pytest.raises(PhotoError, match="scans"):
            open_photo(data[:start] + data[start:-2] * scans + b"\xff\xd9")


def test_an_image_without_pixels_is_refused():
    for size in ((0, 0), (0, 5), (5, 0)):
        with pytest.raises(PhotoError, match="nothing to see"):
            open_photo(Image.new("RGB", size))


def test_nothing_of_the_process_is_changed(tmp_path):
    import base64

    before = list(warnings.filters)
    formats = dict(Image.OPEN)
    open_photo(base64.b64decode(RED_HEIC))
    assert "HEIF" not in set(Image.OPEN) - set(formats)
    assert not [entry for entry in warnings.filters if entry not in before]
    assert Image.MAX_IMAGE_PIXELS == 89_478_485
    assert "pi_heif" in sys.modules


def test_a_photo_is_read_once_with_its_facts(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "a.jpg"
    landscape((400, 300)).save(path, exif=exif)
    for photo in (path, str(path), path.read_bytes(), io.BytesIO(path.read_bytes())):
        read = read_photo(photo, 50)
        assert read.image.size == (75, 100)
        assert read.bytes == path.stat().st_size
        assert read.size == (400, 300)
    assert read_photo(Image.open(path)).image.size == (300, 400)
    assert read_photo(Image.open(path)).bytes is None


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_the_size_is_that_of_the_upright_photo(format, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.new("RGB", (40, 20)), format, exif=exif)
    assert photo_size(data) == open_photo(data).size


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "I;16"])
def test_a_png_of_100_megapixels_needs_less_than_a_gigabyte(mode, tmp_path):
    color = {"RGB": (200, 40, 40), "RGBA": (200, 40, 40, 128), "LA": (90, 200)}.get(mode, 90)
    path = tmp_path / "a.png"
    Image.new(mode, (10_000, 10_000), color).save(path)
    script = r"""
import re, sys
from landmark_models.photo import read_photo
read_photo(sys.argv[1], 224)
print(re.search(r"VmHWM:\s*(\d+)", open("/proc/self/status").read())[1])
"""
    run = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True)
    assert int(run.stdout) < 600_000  # kB, of which 400,000 are pixels of four bytes
