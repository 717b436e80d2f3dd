import numpy as np
import pytest
from helpers.images import png, png_chunk, shades, tiff
from PIL import Image

from landmark_models import open_photo

VALUES = shades()
EXPECTED = VALUES.mean() * 255


def mean(photo) -> float:
    return float(np.asarray(open_photo(photo)).mean())


def with_pixels(values: np.ndarray, *pixels: float) -> np.ndarray:
    changed = values.copy()
    changed.ravel()[: len(pixels)] = pixels
    return changed


FLOATS = VALUES.astype(np.float32)
HIGHLIGHTS = np.where(VALUES > 0.96, 4, VALUES).astype(np.float32)


@pytest.mark.parametrize(
    "values",
    {
        "0 to 1": FLOATS,
        "a little above 1": with_pixels(FLOATS, *[1.2] * 30),
        "highlights of 4": HIGHLIGHTS,
        "one infinite pixel": with_pixels(FLOATS, np.inf),
        "one pixel minus infinite": with_pixels(FLOATS, -np.inf),
        "not a number": with_pixels(FLOATS, np.nan, np.nan),
        "one pixel of 1e30": with_pixels(FLOATS, 1e30),
        "0 to 255": FLOATS * 255,
        "0 to 255 and one hot pixel": with_pixels(FLOATS * 255, 9000),
        "0 to 65535": FLOATS * 65535,
        "-1 to 1": FLOATS * 2 - 1,
        "0 to 0.001": FLOATS / 1000,
        "0 to 1e6": FLOATS * 1e6,
        "16 bits": (VALUES * 65535).astype(np.uint16),
        "14 bits in 16": (VALUES * 16383).astype(np.uint16),
        "12 bits in 16": (VALUES * 4095).astype(np.uint16),
        "12 bits in 16 and one hot pixel": with_pixels((VALUES * 4095).astype(np.uint16), 65535),
        "10 bits in 16": (VALUES * 1023).astype(np.uint16),
        "8 bits in 16": (VALUES * 255).astype(np.uint16),
        "8 bits in 32": (VALUES * 255).astype(np.int32),
        "16 bits in 32": (VALUES * 65535).astype(np.int32),
        "31 bits": (VALUES * (2**31 - 1)).astype(np.int32),
    }.items(),
    ids=lambda item: item[0],
)
@pytest.mark.parametrize("kind", ["file", "image"])
def test_grey_values_of_any_range_give_the_same_picture(values, kind):
    photo = Image.fromarray(values[1]) if kind == "image" else tiff(values[1])
    assert mean(photo) == pytest.approx(EXPECTED, abs=6)


def test_a_range_that_the_file_states_is_kept():
    dark = (VALUES * 1000).astype(np.uint16)
    stated = tiff(dark, {280: (3, 0), 281: (3, 4095)})
    assert mean(stated) == pytest.approx(EXPECTED * 1000 / 4095, abs=2)
    floats = tiff(FLOATS * 8, {340: (11, 0.0), 341: (11, 8.0)})
    assert mean(floats) == pytest.approx(EXPECTED, abs=2)
    wrong = tiff((VALUES * 4095).astype(np.uint16), {281: (3, 255)})  # contradicted by most pixels
    assert mean(wrong) == pytest.approx(EXPECTED, abs=2)


def test_unsigned_32_bits_do_not_wrap_around():
    values = (VALUES * (2**32 - 1)).astype(np.uint32)
    assert mean(tiff(values)) == pytest.approx(EXPECTED, abs=6)

    unstated = tiff(values, {339: None})  # the standard's default is unsigned
    assert mean(unstated) == pytest.approx(EXPECTED, abs=6)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    "values", [(VALUES * 255 - 128).astype(np.int8), (VALUES * 127).astype(np.int8), (VALUES * 32767).astype(np.int16)]
)
def test_signed_integers_have_their_own_range(values, order):
    assert mean(tiff(values, order=order)) == pytest.approx(EXPECTED, abs=6)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("planes", [False, True])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("white", [255, 4095, 65535])
def test_colours_of_any_depth_order_and_layout_are_the_same_picture(order, planes, channels, white):
    colors = np.stack([VALUES, VALUES**2, 1 - VALUES, np.ones_like(VALUES)], axis=2)[..., :channels]
    photo = tiff((colors * white).round().astype(np.uint8 if white == 255 else np.uint16), order=order, planes=planes)
    expected = (colors[..., :3] * 255).mean(axis=(0, 1))
    assert np.asarray(open_photo(photo)).mean(axis=(0, 1)) == pytest.approx(expected, abs=9)


def test_a_tiff_whose_zero_is_white_is_not_a_negative():
    values = ((1 - VALUES) * 65535).astype(np.uint16)
    assert mean(tiff(values, {262: (3, 0)})) == pytest.approx(EXPECTED, abs=2)


def test_dark_and_empty_images_stay_dark():
    assert mean(tiff(np.zeros((8, 8), np.float32))) == 0
    assert mean(tiff(np.full((8, 8), np.nan, np.float32))) == 0
    assert mean(png(VALUES * 1000, 16, 0)) == pytest.approx(EXPECTED * 1000 / 65535, abs=1)  # a PNG states its range


def test_sixteen_bit_colours_of_twelve_bits_are_seen():
    values = np.repeat((VALUES * 4095).astype("<u2")[..., None], 3, axis=2)
    assert mean(tiff(values)) == pytest.approx(EXPECTED, abs=12)


def test_grey_png_of_sixteen_bits_with_a_transparent_shade_is_no_white_page():
    values = (VALUES * 65535).astype(np.uint16)
    key = int(values[5, 5])
    photo = open_photo(png(values, 16, 0, png_chunk(b"tRNS", key.to_bytes(2, "big"))))
    assert np.asarray(photo).mean() == pytest.approx(EXPECTED, abs=2)
    assert photo.getpixel((5, 5)) == (255, 255, 255)
    assert photo.getpixel((20, 20))[0] == pytest.approx(VALUES[20, 20] * 255, abs=1)
