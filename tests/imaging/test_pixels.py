import numpy as np
import pytest
from helpers.icc import ADOBE_RGB, DISPLAY_P3, PROPHOTO, SRGB, profile
from helpers.images import encoded, landscape, png, png_chunk
from PIL import Image, ImageCms

from landmark_models import open_photo
from landmark_models.imaging.pixels import _is_nearly_srgb

WHITE = (255, 255, 255)


def in_srgb(color: tuple[int, int, int], primaries, gamma: float) -> list[float]:
    """A colour of another space as sRGB has it, 0 to 255; what sRGB doesn't have is cut off."""
    xyz = np.array(primaries).T @ (np.array(color) / 255) ** gamma
    linear = np.clip(np.linalg.inv(np.array(SRGB).T) @ xyz, 0, 1)
    return list(np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055) * 255)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF"])
@pytest.mark.parametrize(("primaries", "gamma"), [(PROPHOTO, 1.8), (ADOBE_RGB, 2.2), (DISPLAY_P3, 2.2)])
def test_an_embedded_profile_is_applied(format, primaries, gamma):
    color = (190, 110, 70)
    image = Image.new("RGB", (32, 32), color)
    data = encoded(image, format, icc_profile=profile(primaries, gamma), quality=95)
    opened = open_photo(data)
    assert opened.getpixel((16, 16)) == pytest.approx(in_srgb(color, primaries, gamma), abs=5)
    assert max(abs(np.subtract(opened.getpixel((16, 16)), color))) > 8


def test_a_profile_is_applied_to_every_mode_that_has_its_colours():
    wide, dark = profile(PROPHOTO, 1.8), profile(None, 1.0)
    color = (190, 110, 70)
    expected = pytest.approx(in_srgb(color, PROPHOTO, 1.8), abs=3)
    clear = Image.new("RGBA", (16, 16), (*color, 255))
    clear.paste((0, 0, 0, 0), (0, 0, 4, 4))
    opened = open_photo(encoded(clear, "PNG", icc_profile=wide))
    assert opened.getpixel((8, 8)) == expected
    assert opened.getpixel((1, 1)) == WHITE
    palette = Image.new("P", (16, 16), 1)
    palette.putpalette([0, 0, 0, *color])
    assert open_photo(encoded(palette, "PNG", icc_profile=wide)).getpixel((8, 8)) == expected
    grey = open_photo(encoded(Image.new("L", (16, 16), 55), "PNG", icc_profile=dark)).getpixel((8, 8))
    assert grey == pytest.approx((128, 128, 128), abs=3)  # 0.216 of the light


def test_a_pillow_image_with_a_profile_is_converted_and_left_as_it_was():
    image = Image.new("RGB", (16, 16), (190, 110, 70))
    image.info["icc_profile"] = profile(PROPHOTO, 1.8)
    assert open_photo(image).getpixel((8, 8)) == pytest.approx(in_srgb((190, 110, 70), PROPHOTO, 1.8), abs=3)
    assert image.getpixel((8, 8)) == (190, 110, 70)
    assert image.info["icc_profile"]


def test_a_profile_that_can_not_be_used_changes_nothing():
    color = (190, 110, 70)
    for content in (b"no profile", profile(None), profile(PROPHOTO)[:200], profile(PROPHOTO)[:128] + bytes(400)):
        assert (
            open_photo(encoded(Image.new("RGB", (16, 16), color), "PNG", icc_profile=content)).getpixel((8, 8)) == color
        )


def test_nothing_is_computed_for_what_is_nearly_srgb():
    assert _is_nearly_srgb(profile(SRGB, 2.2), "RGB") is False  # its shadows differ
    image = Image.new("RGB", (16, 16), (7, 9, 200))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert _is_nearly_srgb(srgb, "RGB")
    assert open_photo(encoded(image, "PNG", icc_profile=srgb)).getpixel((8, 8)) == (7, 9, 200)


def test_lab_is_read():
    red = Image.new("RGB", (16, 16), (200, 40, 40))
    lab = ImageCms.profileToProfile(
        red, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert open_photo(encoded(lab, "TIFF")).getpixel((8, 8)) == pytest.approx((200, 40, 40), abs=4)


@pytest.mark.parametrize(
    ("bits", "value", "expected"),
    [(1, 1, 255), (2, 2, 170), (4, 9, 153), (8, 200, 200)],
)
def test_the_transparent_shade_of_a_grey_png_of_any_depth_is_white(bits, value, expected):
    values = np.zeros((8, 8), np.uint8)
    values[:, 4:] = value
    opened = open_photo(png(values, bits, 0))
    assert opened.getpixel((6, 2)) == (expected,) * 3
    key = png_chunk(b"tRNS", b"\0\0")  # black is transparent
    assert open_photo(png(values, bits, 0, key)).getpixel((1, 1)) == WHITE
    assert open_photo(png(values, bits, 0, key)).getpixel((6, 2)) == (expected,) * 3
    key = png_chunk(b"tRNS", bytes([0, value]))
    assert open_photo(png(values, bits, 0, key)).getpixel((6, 2)) == WHITE
    assert open_photo(png(values, bits, 0, key)).getpixel((1, 1)) == (0, 0, 0)


def test_the_transparent_colour_of_a_png():
    values = np.zeros((8, 8, 3), np.uint16)
    values[:, 4:] = (10, 200, 30)
    key = png_chunk(b"tRNS", bytes([0, 10, 0, 200, 0, 30]))
    assert open_photo(png(values, 8, 2, key)).getpixel((6, 2)) == WHITE


def test_the_transparent_colour_of_a_png_of_sixteen_bits_is_only_that_one():
    values = np.zeros((8, 8, 3), np.uint16)
    values[:, 4:] = (0x0A01, 0xC801, 0x1E01)
    values[4:, 4:] = (0x0A01, 0xC801, 0x1E02)
    data = png(values, 16, 2, png_chunk(b"tRNS", bytes([0x0A, 1, 0xC8, 1, 0x1E, 1])))
    opened = open_photo(data)
    assert [opened.getpixel(point) for point in ((1, 1), (6, 1), (6, 6))] == [(0, 0, 0), WHITE, (0x0A, 0xC8, 0x1E)]
    assert open_photo(data, 2).getpixel((3, 0)) == WHITE
    assert open_photo(data[:-12]).getpixel((6, 1)) == WHITE  # without its end


def test_a_bitmap_with_an_unused_alpha_channel_is_no_white_page():
    unused = encoded(Image.new("RGBA", (8, 8), (200, 40, 40, 0)), "BMP")
    assert open_photo(unused).getpixel((4, 4)) == (200, 40, 40)
    half = Image.new("RGBA", (8, 8), (200, 40, 40, 0))
    half.putpixel((0, 0), (200, 40, 40, 255))
    assert open_photo(encoded(half, "PNG")).getpixel((4, 4)) == WHITE


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "LAB", "I", "F", "I;16"])
def test_every_mode_of_a_pillow_image_is_taken(mode):
    image = Image.new(mode, (8, 6)) if mode == "I;16" else Image.new("L", (8, 6), 90)
    if mode == "LAB":
        image = Image.new(mode, (8, 6))
    elif mode != "I;16":
        image = image.convert("RGB").convert(mode) if mode in ("HSV", "YCbCr", "CMYK", "P") else image.convert(mode)
    assert open_photo(image).mode == "RGB"
    assert open_photo(image).size == (8, 6)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "I;16"])
@pytest.mark.parametrize("size", [(400, 300), (397, 301)])
def test_a_large_photo_is_reduced_to_the_means_of_its_pixels(mode, size):
    picture = landscape(size)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)
    else:
        image = picture.convert(mode)
    data = encoded(image, "PNG")
    whole, small = open_photo(data), open_photo(data, 40)
    assert small.size == tuple(-(-side // 5) for side in size)  # 300 px are five times as many as 1.5 times 40
    expected = np.asarray(whole.reduce(5), dtype=float)
    assert np.abs(np.asarray(small, dtype=float) - expected).max() <= 2


def test_a_transparent_photo_is_reduced_without_a_dark_rim():
    image = Image.new("RGBA", (400, 400), (0, 0, 0, 0))
    image.paste((250, 240, 230, 255), (0, 0, 202, 400))
    edge = np.asarray(open_photo(encoded(image, "PNG"), 40))
    assert edge.min() >= 228
