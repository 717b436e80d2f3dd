"""Tell which landmark is in a photo. `LandmarkClassifier.from_pretrained().predict("photo.jpg")`.

Importing the package is cheap. A public name brings its module, and with it PyTorch, when it is first used; our
architectures are registered with timm as soon as both packages are imported, in whichever order.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec

    from landmark_models.answer import Answer, Prediction
    from landmark_models.classifier import LandmarkClassifier
    from landmark_models.errors import LandmarkError, ModelError, PhotoError
    from landmark_models.locations import predict_landmarks, suggest_locations
    from landmark_models.photo import open_photo, photo_position

__version__ = "0.1.0"

# A module imports only from its own room and from those before it in this list.
IMPORT_ORDER = (
    "errors", "text", "intervals", "atomic", "files", "devices", "imaging", "photo", "preprocess", "rejection",
    "networks", "models", "teaching", "answer", "classifier", "explain", "tagging", "teach", "locations", "library",
    "page", "commands", "__main__",
)  # fmt: skip

__all__ = [
    "Answer", "LandmarkClassifier", "LandmarkError", "ModelError", "PhotoError", "Prediction", "open_photo",
    "photo_position", "predict_landmarks", "suggest_locations",
]  # fmt: skip

_MODULES = {
    "answer": ("Answer", "Prediction"),
    "classifier": ("LandmarkClassifier",),
    "errors": ("LandmarkError", "ModelError", "PhotoError"),
    "locations": ("predict_landmarks", "suggest_locations"),
    "photo": ("open_photo", "photo_position"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:  # PEP 562
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _RegisterWithTimm:
    """An import hook that registers our architectures right after timm's own import, however late that comes."""

    def find_spec(
        self, name: str, path: "Sequence[str] | None", target: ModuleType | None = None
    ) -> "ModuleSpec | None":
        if name != "timm":
            return None
        finders = (finder for finder in sys.meta_path if finder is not self)
        spec = next(filter(None, (finder.find_spec(name, path, target) for finder in finders)), None)
        if spec and spec.loader:
            execute = spec.loader.exec_module

            def execute_and_register(module: ModuleType) -> None:
                execute(module)
                import_module("landmark_models.networks")

            spec.loader.exec_module = execute_and_register  # type: ignore[method-assign]
        return spec


if "timm" in sys.modules:
    import_module("landmark_models.networks")
else:
    sys.meta_path.insert(0, _RegisterWithTimm())
