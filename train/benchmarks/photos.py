"""A photo to measure with where there is none at hand."""

import io

import numpy as np
from PIL import Image

_DECAY = 0.75  # of the noise's amplitude from each octave to the next finer one
_QUALITY = 90


def large_photo(width: int = 4032, height: int = 3024) -> bytes:
    """A JPEG of noise at all scales, as photos have it, always the same; with 12 megapixels, it has 1.9 MB."""
    generator = np.random.default_rng(0)
    photo = np.full((height, width, 3), 128, np.float32)
    for octave in range(1, 11):
        noise = generator.normal(0, 60 * _DECAY**octave, (3 * 2**octave // 2, 2 * 2**octave, 3)).astype(np.float32)
        for channel in range(3):
            layer = Image.fromarray(noise[:, :, channel]).resize((width, height), Image.Resampling.BILINEAR)
            photo[:, :, channel] += np.asarray(layer)
    content = io.BytesIO()
    Image.fromarray(photo.clip(0, 255).astype(np.uint8)).save(content, "JPEG", quality=_QUALITY)
    return content.getvalue()
