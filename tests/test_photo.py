import base64
import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
from helpers.photos import RED_HEIC, noisy_photo
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from landmark_models import PhotoError, open_photo, photo

RED = (200, 40, 40)


def encoded(image: Image.Image, format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def mean_color(image: Image.Image) -> np.ndarray:
    return np.asarray(image).reshape(-1, 3).mean(0)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "AVIF", "GIF", "MPO"])
def test_every_format_is_opened_as_upright_rgb(format):
    options = {"save_all": True, "append_images": [noisy_photo((0, 0, 0), 1)]} if format in ("GIF", "MPO") else {}
    image = open_photo(encoded(noisy_photo(RED, 0), format, **options))
    assert image.mode == "RGB"
    assert image.size == (64, 48)
    assert mean_color(image) == pytest.approx(RED, abs=12)  # the first of several pictures


def test_heic_is_read():
    image = open_photo(base64.b64decode(RED_HEIC))
    assert image.size == (64, 48)
    assert mean_color(image) == pytest.approx(RED, abs=12)


@pytest.mark.parametrize("kind", ["path", "text", "bytes", "file", "image"])
def test_a_photo_may_be_given_as_a(kind, tmp_path):
    path = tmp_path / "a.png"
    noisy_photo(RED, 0).save(path)
    forms = {
        "path": path,
        "text": str(path),
        "bytes": path.read_bytes(),
        "file": io.BytesIO(path.read_bytes()),
        "image": noisy_photo(RED, 0),
    }
    assert np.array_equal(np.asarray(open_photo(forms[kind])), np.asarray(noisy_photo(RED, 0)))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation):
    corners = Image.new("RGB", (16, 8), "black")
    corners.paste("red", (0, 0, 8, 4))  # red at the top left once upright
    stored = {
        1: corners,
        2: corners.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: corners.transpose(Image.Transpose.ROTATE_180),
        4: corners.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: corners.transpose(Image.Transpose.TRANSPOSE),
        6: corners.transpose(Image.Transpose.ROTATE_90),
        7: corners.transpose(Image.Transpose.TRANSVERSE),
        8: corners.transpose(Image.Transpose.ROTATE_270),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = open_photo(encoded(stored, "PNG", exif=exif))
    assert image.size == (16, 8)
    assert image.getpixel((1, 1)) == (255, 0, 0)
    assert image.getpixel((14, 6)) == (0, 0, 0)


def test_a_photo_with_damaged_exif_is_still_opened():
    data = encoded(noisy_photo(RED, 0), "JPEG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff")
    assert open_photo(data).size == (64, 48)


def test_transparency_is_shown_over_white():
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    assert open_photo(encoded(clear, "PNG")).getpixel((0, 0)) == (255, 255, 255)
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([255, 0, 0] * 256)
    assert open_photo(encoded(palette, "PNG", transparency=0)).getpixel((0, 0)) == (255, 255, 255)
    assert open_photo(encoded(palette, "PNG")).getpixel((0, 0)) == (255, 0, 0)
    assert open_photo(encoded(Image.new("LA", (8, 8), (90, 255)), "PNG")).getpixel((0, 0)) == (90, 90, 90)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.full((8, 8), 32896, np.uint16), 128),
        (np.full((8, 8), 65535, np.uint16), 255),
        (np.full((8, 8), 0.5, np.float32), 127),
        (np.full((8, 8), 200, np.int32), 200),
    ],
)
def test_sixteen_bit_greys_are_scaled_to_eight_bits(values, expected):
    image = open_photo(encoded(Image.fromarray(values), "TIFF"))
    assert image.getpixel((0, 0)) == pytest.approx((expected,) * 3, abs=1)


def test_cmyk_becomes_rgb_with_and_without_a_profile():
    cmyk = noisy_photo(RED, 0).convert("CMYK")
    assert mean_color(open_photo(encoded(cmyk, "JPEG"))) == pytest.approx(RED, abs=15)
    broken = encoded(cmyk, "JPEG", icc_profile=b"no profile")
    assert mean_color(open_photo(broken)) == pytest.approx(RED, abs=15)
    wrong = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()  # a profile of another colour space
    assert mean_color(open_photo(encoded(cmyk, "JPEG", icc_profile=wrong))) == pytest.approx(RED, abs=15)


def test_a_large_jpeg_is_decoded_at_the_smallest_scale_that_leaves_a_halving():
    data = encoded(noisy_photo(RED, 0, size=(1600, 1200)), "JPEG")
    assert open_photo(data).size == (1600, 1200)
    assert open_photo(data, min_side=200).size == (400, 300)
    assert open_photo(data, min_side=201).size == (800, 600)
    assert open_photo(data, min_side=5000).size == (1600, 1200)


def test_a_pillow_image_is_reduced_in_a_copy():
    image = noisy_photo(RED, 0, (1600, 1200))
    assert open_photo(image, min_side=200).size == (400, 300)
    assert open_photo(image, min_side=801).size == open_photo(image).size == image.size == (1600, 1200)


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"this is a letter", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
        (b"\xff\xd8\xff\xe0" + b"\0" * 64, "not an image"),
        (encoded(noisy_photo(RED, 0), "JPEG")[:-300], "damaged"),
        (encoded(noisy_photo(RED, 0), "PNG")[:-300], "damaged"),
        (png_header(30_000, 30_000), "pixels"),
        (png_header(12_000, 12_000), "pixels"),
        (png_header(1, 20_000), "as long as wide"),
        (png_header(100_000_000, 1), "as long as wide"),
    ],
)
def test_anything_but_a_photo_is_refused_with_a_sentence(content, words, tmp_path):
    path = tmp_path / "holiday.jpg"
    path.write_bytes(content)
    with pytest.raises(PhotoError, match=words) as caught:
        open_photo(path)
    assert "holiday.jpg" in str(caught.value)
    assert str(caught.value).endswith((".", "AVIF)."))


def test_a_missing_file_a_folder_and_a_huge_file_are_refused(tmp_path, monkeypatch):
    with pytest.raises(PhotoError, match="The path of the photo is empty"):
        open_photo("")
    with pytest.raises(PhotoError, match="does not exist"):
        open_photo(tmp_path / "nowhere.jpg")
    with pytest.raises(PhotoError, match="folder"):
        open_photo(tmp_path)
    with pytest.raises(PhotoError, match="can't be read"):
        open_photo("a\0b.jpg")
    monkeypatch.setattr(photo, "MAX_BYTES", 1 << 20)
    with pytest.raises(PhotoError, match="larger than 1 MiB"):
        open_photo(bytes((1 << 20) + 1))


DAMAGE = {"position": st.integers(0, 2000), "value": st.integers(0, 255), "cut": st.integers(0, 2000)}


def open_damaged(data: bytes, position: int, value: int, cut: int) -> None:
    """Open a photo with one byte changed and its end cut off: it is read, or refused with a PhotoError."""
    damaged = bytearray(data)
    damaged[position % len(data)] = value
    with contextlib.suppress(PhotoError):
        assert open_photo(bytes(damaged[: max(len(data) - cut, 0)])).mode == "RGB"


@settings(max_examples=150)
@given(**DAMAGE)
def test_a_damaged_file_gives_a_photo_or_a_photo_error(position, value, cut):
    open_damaged(encoded(noisy_photo(RED, 0), "JPEG"), position, value, cut)


@pytest.mark.nightly
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "AVIF", "GIF", "HEIC"])
def test_damaged_files_of_every_format_give_a_photo_or_a_photo_error(format):
    whole = base64.b64decode(RED_HEIC) if format == "HEIC" else encoded(noisy_photo(RED, 0, (24, 16)), format)

    @settings(max_examples=5000)
    @given(**DAMAGE)
    def fuzz(position, value, cut):
        open_damaged(whole, position, value, cut % 50)

    fuzz()


def test_a_thumbnail_is_small_and_holds_no_metadata(tmp_path):
    exif = Image.Exif()
    exif[0x010F] = "the camera"
    Image.new("RGB", (4000, 3000)).save(tmp_path / "a.jpg", exif=exif, comment=b"secret")
    with Image.open(io.BytesIO(photo.thumbnail(tmp_path / "a.jpg"))) as image:
        assert image.size == (96, 72)
        assert not image.getexif()
        assert "comment" not in image.info
