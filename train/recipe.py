"""One dataclass: every knob of a training run, its default, its meaning, its limits.

recipe = Recipe.read("train/recipes/default.yaml", epochs="3")
"""

import inspect
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, TypeGuard, Union, get_args, get_origin

import typer
import yaml

from landmark_models.errors import LandmarkError
from landmark_models.files import write_text

__all__ = ["Recipe", "RecipeError", "with_knobs"]


_SIDE_STEP = 8  # px, by which crops grow


class RecipeError(LandmarkError):
    """A recipe that can't be trained as it stands: an unknown knob, a value of the wrong type or out of range."""


def knob(default: Any, help: str, *, low: float | None = None, high: float | None = None) -> Any:
    """A field of the recipe: its default, what it means, and its closed range where it has one."""
    metadata = {"help": help, "low": low, "high": high}
    if isinstance(default, dict | list):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a training run does, except where the photos are and where the run goes."""

    model: str = knob("landmark_net", "any architecture of timm's registry, ours included")
    model_args: dict[str, Any] = knob({}, "further arguments of the architecture, e.g. '{channels: [32, 64]}'")
    drop_rate: float | None = knob(None, "dropout before the classifier; none: the network's own", low=0, high=0.95)
    drop_path_rate: float | None = knob(
        None, "stochastic depth at the last block; none: the network's own", low=0, high=0.95
    )

    pretrained: bool = knob(False, "start from pretrained weights: timm's from the Hub, or --pretrained-weights FILE")
    head: Literal["linear", "whitened_cosine"] = knob(
        "linear",
        "the classifier: trained, or fitted at the end in closed form on whitened features, which also rejects",
    )
    average_with_pretrained: float = knob(
        0.0, "share of the pretrained weights in an average with the trained ones, at the end", low=0, high=0.95
    )
    head_hidden: list[int] = knob([], "widths of fully connected layers before the classifier, e.g. '[512]'")
    freeze: Literal["none", "backbone"] | int = knob(
        "none", "what stays as it is: none, the backbone (all but the head), or so many of the first stages", low=0
    )
    head_epochs: int = knob(0, "epochs in which the head alone is trained, before all that freeze leaves", low=0)
    layer_decay: float | None = knob(
        None, "factor of the learning rate from each layer to the one below; none: one rate for all", low=0.01, high=1
    )

    image_size: int = knob(128, "side of the training crops, px", low=8)
    start_image_size: int | None = knob(
        None, "side of the first epoch's crops, growing to image_size over three quarters of the epochs", low=8
    )
    eval_image_size: int | None = knob(None, "side of the serving crop, px; none: image_size", low=8)
    crop_pct: float | None = knob(
        None, "serving: the crop's part of the resized photo; none: the model's own", low=0.1, high=1
    )
    crop_mode: Literal["center", "squash", "border"] | None = knob(
        None, "serving: how the photo is made square; none: the model's own"
    )
    interpolation: Literal["bilinear", "bicubic"] | None = knob(
        None, "how photos are resized, in training and serving; none: the model's own"
    )
    normalization: Literal["model", "train"] | dict[str, Any] = knob(
        "model", "mean and sd of the input: the model's own, the train split's, or '{mean: [...], std: [...]}'"
    )
    val_fraction: float = knob(0.1, "part of train drawn for validation, where there is no val folder", low=0, high=0.9)
    balanced_sampling: bool = knob(False, "draw every class equally often")

    augment: Literal["none", "classic", "randaugment", "trivialaugment"] = knob(
        "classic", "what happens to a training photo; all but none have a random crop and a flip"
    )
    crop_scale: float = knob(0.35, "smallest part of the photo's area in a random resized crop", low=0.01, high=1)
    crop_ratio: float = knob(
        4 / 3,
        "largest ratio of a random resized crop's sides, either way; crops are stretched to squares",
        low=1,
        high=4,
    )
    crop_padding: float = knob(
        0.0,
        "random crops of the middle square, padded by this part of its side (reflected); 0: random resized crops",
        low=0,
        high=0.5,
    )
    flip: float = knob(0.5, "probability of a left-right flip", low=0, high=1)
    rotation: float = knob(0.0, "classic: largest rotation, degrees", low=0, high=180)
    shear: float = knob(0.0, "classic: largest shear, degrees", low=0, high=60)
    color_jitter: float = knob(0.3, "classic: largest change of brightness, contrast, saturation", low=0, high=1)
    blur: float = knob(0.0, "classic: probability of a Gaussian blur", low=0, high=1)
    randaugment_magnitude: int = knob(9, "randaugment: strength", low=0, high=30)
    random_erasing: float = knob(0.0, "probability of erasing a rectangle", low=0, high=1)
    mixup: float = knob(0.0, "mixup's alpha; 0: no mixup", low=0)
    cutmix: float = knob(0.0, "cutmix's alpha; 0: no cutmix", low=0)
    mix_probability: float = knob(1.0, "part of the batches that are mixed, where mixup or cutmix is on", low=0, high=1)
    label_smoothing: float = knob(0.1, "label smoothing; distill: none", low=0, high=0.9)

    distill_temperature: float = knob(1.0, "distill: how much the outputs are softened", low=0.1, high=100)
    hard_label_weight: float = knob(0.0, "distill: weight of the photos' own labels beside the teacher's", low=0)
    teacher_image_size: int | None = knob(None, "distill: side at which the teacher looks, px; none: its own", low=8)
    feature_views: int = knob(
        1,
        "frozen backbone: views of a photo to fit a linear head on: as served, then augmented",
        low=1,
        high=64,
    )

    epochs: int = knob(30, "passes over the train split", low=1)
    batch_size: int = knob(64, "photos per update, over all processes and accumulation steps together", low=1)
    gradient_accumulation_steps: int = knob(1, "parts that a batch is computed in, to save memory", low=1)
    optimizer: str = knob("sgd", "any optimizer that timm knows")
    optimizer_args: dict[str, Any] = knob({}, "further arguments of the optimizer, e.g. '{fused: true}'")
    learning_rate: float = knob(0.1, "largest learning rate", low=0)
    weight_decay: float = knob(5e-4, "weight decay, for all but biases and normalisation", low=0)
    momentum: float = knob(0.9, "momentum, for optimizers that have one", low=0, high=1)
    schedule: Literal["cosine", "onecycle", "plateau", "step"] = knob("onecycle", "how the learning rate goes")
    warmup_epochs: float = knob(2.0, "epochs of rising learning rate, at most half of all", low=0)
    decay_epochs: int = knob(10, "step: epochs between decays; plateau: epochs without improvement", low=1)
    decay_rate: float = knob(0.1, "step and plateau: factor of a decay", low=0, high=1)
    clip_grad: float | None = knob(None, "largest norm of the gradient; none: no limit", low=0)
    ema_decay: float | None = knob(None, "decay of the moving average of weights; none: no average", low=0, high=1)
    patience: int | None = knob(None, "stop after this many epochs without improvement; none: never", low=1)

    overfit_batches: int | None = knob(
        None, "train and validate on this many batches alone, without augmentation: can the network learn?", low=1
    )

    mixed_precision: Literal["no", "bf16", "fp16"] = knob("no", "precision of the forward pass")
    channels_last: bool = knob(True, "memory layout of convolutions, faster on CPU and GPU")
    compile: bool = knob(False, "torch.compile")
    workers: int | None = knob(
        None, "processes that prepare photos; none: one less than there are cores, at most 8", low=0
    )
    threads: int | None = knob(None, "CPU threads of a process; none: the cores, shared out among the processes", low=1)
    half_weights: bool = knob(False, "save the weights as float16: half the size, accuracy as measured from the file")
    seed: int = knob(0, "of the split, the initial weights, the order and the augmentation", low=0, high=2**32 - 1)

    def __post_init__(self) -> None:
        if isinstance(self.normalization, dict):
            mean, std = (self.normalization.get(key) for key in ("mean", "std"))
            if set(self.normalization) != {"mean", "std"} or not _is_triple(mean) or not _is_triple(std):
                raise RecipeError("normalization needs three numbers each: {mean: [r, g, b], std: [r, g, b]}.")
            if min(std) <= 0:
                raise RecipeError(f"normalization has std={std}; each must be above 0.")
        if not all(isinstance(width, int) and width > 0 for width in self.head_hidden):
            raise RecipeError(f"head_hidden={self.head_hidden} must be a list of widths, e.g. [512].")
        if self.head != "linear" and self.head_hidden:
            raise RecipeError(f"head={self.head} is one linear layer: leave out head_hidden={self.head_hidden}.")
        if self.head != "linear" and self.feature_views > 1:
            raise RecipeError(f"head={self.head} is fitted to photos as they are served: leave out feature_views.")
        if self.average_with_pretrained and not (self.pretrained and self.head == "whitened_cosine"):
            raise RecipeError(
                "average_with_pretrained needs pretrained=true, and head=whitened_cosine, which is fitted afterwards."
            )
        if self.start_image_size and self.start_image_size > self.image_size:
            raise RecipeError(f"start_image_size={self.start_image_size} must be at most image_size={self.image_size}.")

    @classmethod
    def from_values(cls, values: Mapping[str, Any], source: str = "the recipe") -> "Recipe":
        """Build a recipe from names and values, each checked (text is read as YAML would).

        Raises:
            RecipeError: an unknown name (the nearest is named), or a value of the wrong type or out of range.
        """
        known = {item.name: item for item in fields(cls)}
        checked = {}
        for name, value in values.items():
            if name not in known:
                near = get_close_matches(str(name), known, n=1)
                hint = f"did you mean {near[0]}?" if near else "`python -m train.fit --help` lists the knobs."
                raise RecipeError(f"{source} has an unknown knob {name!r}; {hint}")
            annotation, limits = known[name].type, known[name].metadata
            try:
                result = _coerce(value, annotation)
            except ValueError:
                raise RecipeError(f"{name}={value!r} in {source} is not {_describe(annotation)}.") from None
            low, high = limits["low"], limits["high"]
            inside = not isinstance(result, int | float) or (
                (low is None or result >= low) and (high is None or result <= high)
            )
            if not inside:
                span = f"at least {low:g}" if high is None else f"from {low:g} to {high:g}"
                raise RecipeError(f"{name}={value!r} in {source} is out of range: it must be {span}.")
            checked[name] = result
        return cls(**checked)

    @classmethod
    def read(cls, path: str | Path, **overrides: Any) -> "Recipe":
        """Read a YAML recipe; `overrides` win over what the file says.

        Raises:
            RecipeError: the file can't be read, is no mapping of knobs, or has a knob that `from_values` refuses.
        """
        path = Path(path)
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            near = sorted(Path(__file__).with_name("recipes").rglob("*.yaml"))
            names = ", ".join(file.stem for file in near)
            raise RecipeError(f"There is no recipe {path}; recipes that come with this project: {names}.") from None
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise RecipeError(f"The recipe {path} can't be read as YAML: {error}") from None
        if not isinstance(values, dict):
            raise RecipeError(f"The recipe {path} must be a list of `knob: value` lines.")
        cls.from_values(values, str(path))  # a mistake is reported with the place where it stands
        return cls.from_values({**values, **overrides}, "the command line" if overrides else str(path))

    def write(self, path: Path) -> None:
        """Write every knob as YAML."""
        write_text(path, yaml.safe_dump(asdict(self), sort_keys=False))

    @property
    def serving_size(self) -> int:
        """Side of the crop that validation, test and serving use, px."""
        return self.eval_image_size or self.image_size

    @property
    def keeps_last_epoch(self) -> bool:
        """Whether the last epoch's model is kept, not the best by validation accuracy.

        It is where the head is fitted afterwards: the accuracy of the head that goes says little of the features, and
        the best of many epochs on few photos is an early one by chance.
        """
        return self.head != "linear"

    def crop_side(self, epoch: int) -> int:
        """Side of the training crops in this epoch, counted from 1, px.

        Small pictures first are cheap to learn from (progressive learning, Tan and Le 2021).
        """
        if not self.start_image_size:
            return self.image_size
        share = min((epoch - 1) / (0.75 * self.epochs), 1.0)
        steps = round(share * (self.image_size - self.start_image_size) / _SIDE_STEP)
        return self.image_size if share == 1.0 else self.start_image_size + steps * _SIDE_STEP


def _is_triple(value: Any) -> TypeGuard[list[float]]:
    return isinstance(value, list) and len(value) == 3 and all(isinstance(item, int | float) for item in value)


def _coerce(value: Any, annotation: Any) -> Any:
    """The value as the annotation wants it; raises ValueError where it can't be."""
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        for option in get_args(annotation):
            try:
                return _coerce(value, option)
            except ValueError:
                continue
        raise ValueError
    if origin is Literal:
        value = {True: "yes", False: "no"}.get(value, value) if isinstance(value, bool) else value  # YAML's `no`
        if value in get_args(annotation):
            return value
        raise ValueError
    if isinstance(value, str) and annotation is not str:
        try:
            value = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ValueError from None
        if value == "none":
            value = None
    if annotation is float and not isinstance(value, bool):
        if isinstance(value, int | float | str):  # YAML 1.1 reads 1e-3 as text
            return float(value)
        raise ValueError
    wanted = origin or annotation
    if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
        raise ValueError
    return value


def _describe(annotation: Any) -> str:
    """A type as a person would say it."""
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text", types.NoneType: "none"}
    origin = get_origin(annotation)
    if origin is Literal:
        return "one of " + ", ".join(map(str, get_args(annotation)))
    if origin in (Union, types.UnionType):
        return " or ".join(_describe(option) for option in get_args(annotation))
    return names.get(annotation, "a mapping {name: value}")


def with_knobs(command: Callable[..., None]) -> Callable[..., None]:
    """Give a typer command one option for every knob; it receives those that were set as its argument `knobs`."""

    def wrapped(**arguments: Any) -> None:
        own = {name: arguments.pop(name) for name in own_parameters}
        command(**own, knobs={name: value for name, value in arguments.items() if value is not None})

    signature = inspect.signature(command)
    own_parameters = [name for name in signature.parameters if name != "knobs"]
    parameters = [signature.parameters[name] for name in own_parameters]
    for item in fields(Recipe):
        default = item.default_factory() if callable(item.default_factory) else item.default
        shown = "none" if default is None else str(default).lower() if isinstance(default, bool) else default
        option = typer.Option(
            "--" + item.name.replace("_", "-"),
            help=f"{item.metadata['help']} (default: {shown})",
            metavar=_metavar(item.type),
            rich_help_panel="Knobs of the recipe",
            show_default=False,
        )
        parameters.append(
            inspect.Parameter(
                item.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[str | None, option]
            )
        )
    wrapped.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    wrapped.__doc__ = command.__doc__
    wrapped.__name__ = command.__name__
    return wrapped


def _metavar(annotation: Any) -> str:
    options = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    words = []
    for option in options:
        if get_origin(option) is Literal:
            words += [str(value) for value in get_args(option)]
        elif option is not types.NoneType:
            words.append(getattr(typing.get_origin(option) or option, "__name__", str(option)))
    return "|".join(words)
