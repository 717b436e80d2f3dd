"""The formats of a model in one file; cheap to import, so that commands can name them."""

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
