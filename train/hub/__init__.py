"""Publishing: cards, uploads, Spaces, datasets; and models for other runtimes: single files, ONNX, a page for browsers.

The formats of single files are named here.
"""

from enum import StrEnum

__all__ = ["SUFFIXES", "Format"]


class Format(StrEnum):
    """What `train.export` writes, by the name that the command takes."""

    torchscript = "torchscript"
    onnx = "onnx"
    pt2 = "pt2"

    @property
    def suffix(self) -> str:
        return {"torchscript": ".pt", "onnx": ".onnx", "pt2": ".pt2"}[self]


SUFFIXES = tuple(kind.suffix for kind in Format)
