"""Photos that tests make: noise of one colour, folders of them, one with GPS, one in HEIC."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

COLORS = {"00.Red_Tower": (200, 40, 40), "01.Green_Bridge": (40, 200, 40), "02.Blue_Lake": (40, 40, 200)}
MORE_COLORS = {"03.Yellow_Gate": (200, 200, 40), "04.White_Dome": (230, 230, 230)}


def noisy_photo(color: tuple[int, int, int], seed: int, size: tuple[int, int] = (64, 48)) -> Image.Image:
    """A photo of one colour with noise, so that a network can learn it and no two are the same."""
    noise = np.random.default_rng(seed).normal(0, 30, (size[1], size[0], 3))
    return Image.fromarray(np.clip(noise + np.array(color), 0, 255).astype(np.uint8))


def write_data(root: Path, train: int = 8, test: int = 3, colors: Mapping[str, tuple[int, int, int]] = COLORS) -> Path:
    """A data folder of three classes, or those given, with `train` and `test` photos each."""
    for split, count in (("train", train), ("test", test)):
        for position, (name, color) in enumerate(colors.items()):
            folder = root / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                seed = 1000 * position + index + (500 if split == "test" else 0)
                noisy_photo(color, seed).save(folder / f"{index:03d}.jpg", quality=92)
    return root


RED_HEIC = (
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAX1tZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAA"
    "ACJpbG9jAAAAAERAAAEAAQAAAAABoQABAAAAAAAAABoAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAAAA5waXRt"
    "AAAAAAABAAAA/WlwcnAAAADdaXBjbwAAAHZodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMA"
    "AAMAHroCQGEAAQAqQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbq5Ka5uAhoMCAAAAMDIAAAAwAhYgABAAZEAcFzwIkAAAATY29scm5j"
    "bHgAAQANAAaAAAAAFGlzcGUAAAAAAAAAQAAAAEAAAAAoY2xhcAAAAEAAAAABAAAAMAAAAAEAAAAAAAAAAv////AAAAACAAAAEHBp"
    "eGkAAAAAAwgICAAAABhpcG1hAAAAAAAAAAEAAQWBAgMFhAAAACJtZGF0AAAAFigBr1jm9Oq//+J8//o2kh8eQnkanfA="
)


def with_gps(path, latitude=((27, 10, 30.0), "N"), longitude=((78, 2, 31.56), "E"), image=None):
    exif = Image.Exif()
    gps = exif.get_ifd(ExifTags.IFD.GPSInfo)
    gps[ExifTags.GPS.GPSLatitude], gps[ExifTags.GPS.GPSLatitudeRef] = latitude
    gps[ExifTags.GPS.GPSLongitude], gps[ExifTags.GPS.GPSLongitudeRef] = longitude
    (image or Image.new("RGB", (64, 48))).save(path, exif=exif)
    return path
