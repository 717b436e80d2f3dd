"""Images as files: a landscape of smooth colours, and PNG files written chunk by chunk."""

import io
import struct
import zlib

import numpy as np
from PIL import Image


def encoded(image: Image.Image, format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def landscape(size: tuple[int, int] = (64, 48)) -> Image.Image:
    """Smooth colours that use the whole range, so that a wrong scale or profile shows."""
    x, y = np.meshgrid(np.linspace(0, 1, size[0]), np.linspace(0, 1, size[1]))
    return Image.fromarray((np.stack([x, y, 1 - x * y], axis=-1) * 255).round().astype(np.uint8))


def shades(size: tuple[int, int] = (64, 48)) -> np.ndarray:
    """Grey shades from 0 to 1, float64 `(height, width)`, whose mean is 0.56: 144 of 255."""
    x, y = np.meshgrid(np.linspace(0, 1, size[0]), np.linspace(0, 1, size[1]))
    return (0.66 * x + 0.34 * y) ** 0.8


def png_chunk(kind: bytes, content: bytes, checksum: int | None = None) -> bytes:
    checksum = zlib.crc32(kind + content) if checksum is None else checksum
    return struct.pack(">I4s", len(content), kind) + content + struct.pack(">I", checksum)


def png(values: np.ndarray, bits: int, color: int, *extras: bytes) -> bytes:
    """A PNG of `(height, width)` or `(height, width, channels)` values, with extra chunks before its pixels."""
    height, width = values.shape[:2]
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0))
    rows = values.reshape(height, -1)
    packed = rows.astype(">u2").view(np.uint8) if bits == 16 else rows.astype(np.uint8)
    if bits < 8:
        unpacked = np.unpackbits(packed[..., None], axis=2)[..., 8 - bits :].reshape(height, -1)
        packed = np.packbits(unpacked, axis=1)
    content = b"".join(b"\0" + row.tobytes() for row in packed)
    pixels = png_chunk(b"IDAT", zlib.compress(content))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extras) + pixels + png_chunk(b"IEND", b"")


def tiff(
    values: np.ndarray,
    tags: dict[int, tuple[int, float] | None] | None = None,
    compression: int = 1,
    order: str = "<",
    planes: bool = False,
) -> bytes:
    """A TIFF of `(height, width)` or `(height, width, channels)` values of any dtype, in one strip or one a plane.

    `tags` are further ones: a type (3 for SHORT, 11 for FLOAT) and a value; None leaves one out. Zero is black unless
    they say otherwise. `order` is "<" for little-endian and ">" for big-endian.
    """
    height, width = values.shape[:2]
    channels = values.shape[2] if values.ndim == 3 else 1
    kind = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    stored = np.moveaxis(values.reshape(height, width, channels), 2, 0) if planes else values
    content = stored.astype(values.dtype.newbyteorder(order)).tobytes()
    strips = channels if planes else 1
    fields: dict[int, tuple[int, list[float]]] = {
        256: (4, [width]), 257: (4, [height]), 258: (3, [values.dtype.itemsize * 8] * channels),
        259: (3, [compression]), 262: (3, [2 if channels > 2 else 1]), 273: (4, [0] * strips), 277: (3, [channels]),
        278: (4, [height]), 279: (4, [len(content) // strips] * strips), 284: (3, [1 + planes]),
        339: (3, [kind] * channels),
    }  # fmt: skip
    if channels == 4:
        fields[338] = (3, [2])  # the fourth is an alpha channel that colours aren't multiplied by
    for tag, field in (tags or {}).items():
        if field is None:
            del fields[tag]
        else:
            fields[tag] = (field[0], [field[1]])

    def written(start: int) -> bytes:
        directory, behind = struct.pack(order + "H", len(fields)), b""
        for tag, (type_, numbers) in sorted(fields.items()):
            packed = b"".join(struct.pack(order + {3: "H", 4: "I", 11: "f"}[type_], number) for number in numbers)
            directory += struct.pack(order + "HHI", tag, type_, len(numbers))
            if len(packed) > 4:
                directory += struct.pack(order + "I", start + 2 + 12 * len(fields) + 4 + len(behind))
                behind += packed
            else:
                directory += packed.ljust(4, b"\0")
        return directory + bytes(4) + behind

    pixels = 8 + len(written(8))
    fields[273] = (4, [pixels + index * (len(content) // strips) for index in range(strips)])
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return mark + struct.pack(order + "I", 8) + written(8) + content
