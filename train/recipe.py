"""What a training run can be told: every knob with its default, its limits and its meaning.

recipe = Recipe.read("train/recipes/default.yaml", epochs="3")
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic.dataclasses import dataclass

from landmark_models.errors import LandmarkError
from landmark_models.files import write_text

__all__ = ["Recipe", "RecipeError", "allowed_values", "knob_schemas"]

_SIDE_STEP = 8  # px, by which crops grow

Side = Annotated[int, Field(ge=8)]  # px
Share = Annotated[float, Field(ge=0, le=1)]
Part = Annotated[float, Field(ge=0, le=0.95)]  # a share that leaves something
Channels = Annotated[list[float], Field(min_length=3, max_length=3)]  # red, green, blue
Normalization = Annotated[dict[Literal["mean", "std"], Channels], Field(min_length=2)]


class RecipeError(LandmarkError):
    """A recipe that can't be trained: an unknown knob, a value that isn't allowed, or values that don't go together."""


@dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid", allow_inf_nan=False))
class Recipe:
    """Everything that decides how a model is trained, except where its photos are and where the run is written.

    Raises:
        pydantic.ValidationError: a value isn't allowed; `from_values` and `read` say so in sentences instead.
    """

    model: str = Field("landmark_net", description="Any architecture that timm knows, ours included")
    model_args: dict[str, Any] = Field({}, description="Arguments for the architecture, e.g. '{global_pool: max}'")
    drop_rate: Part | None = Field(None, description="Dropout before the classifier; none: the model's own")
    drop_path_rate: Part | None = Field(None, description="Stochastic depth of the last block; none: the model's own")

    pretrained: bool = Field(False, description="Start from timm's weights on the Hub, or from --pretrained-weights")
    head: Literal["linear", "whitened_cosine"] = Field(
        "linear", description="Classifier; whitened_cosine is fitted at the end, in closed form, and can reject photos"
    )
    average_with_pretrained: Part = Field(0.0, description="Share of the pretrained weights, averaged in at the end")
    head_hidden: list[Annotated[int, Field(ge=1)]] = Field([], description="Layers before the classifier, as '[512]'")
    freeze: Literal["none", "backbone"] | Annotated[int, Field(ge=0)] = Field(
        "none", description="What isn't trained: nothing, all but the head, or this many of the first stages"
    )
    head_epochs: int = Field(0, ge=0, description="Epochs at the start that train only the head")
    layer_decay: float | None = Field(
        None, ge=0.01, le=1, description="Learning rate of each layer relative to the next one up; none: all the same"
    )

    image_size: Side = Field(128, description="Side of the training crops, px")
    start_image_size: Side | None = Field(
        None, description="Crop side in the first epoch, px, growing to image_size over 3/4 of the epochs"
    )
    eval_image_size: Side | None = Field(None, description="Side of the crop when serving, px; none: image_size")
    crop_pct: float | None = Field(
        None, ge=0.1, le=1, description="Serving: share of the resized photo that is kept; none: the model's own"
    )
    crop_mode: Literal["center", "squash", "border"] | None = Field(
        None, description="Serving: how photos are made square; none: the model's own"
    )
    interpolation: Literal["bilinear", "bicubic"] | None = Field(
        None, description="How photos are resized, in training and serving; none: the model's own"
    )
    normalization: Literal["model", "train"] | Normalization = Field(
        "model", description="Mean and standard deviation of the input: the model's own, the train split's, or yours"
    )
    val_fraction: float = Field(0.1, ge=0, le=0.9, description="Share of train to validate on if there is no val/")
    balanced_sampling: bool = Field(False, description="Draw every class equally often")

    augment: Literal["none", "classic", "randaugment", "trivialaugment"] = Field(
        "classic", description="How training photos are varied; all but none crop and flip at random"
    )
    crop_scale: float = Field(0.35, ge=0.01, le=1, description="Random resized crops: smallest share of the area")
    crop_ratio: float = Field(4 / 3, ge=1, le=4, description="Random resized crops: largest aspect ratio, either way")
    crop_padding: float = Field(
        0.0,
        ge=0,
        le=0.5,
        description="Pad the middle square by this share of its side, and crop; 0: random resized crops",
    )
    flip: Share = Field(0.5, description="Probability of a left-right flip")
    rotation: float = Field(0.0, ge=0, le=180, description="classic: largest rotation, degrees")
    shear: float = Field(0.0, ge=0, le=60, description="classic: largest shear, degrees")
    color_jitter: Share = Field(0.3, description="classic: largest change of brightness, contrast and saturation")
    blur: Share = Field(0.0, description="classic: probability of a Gaussian blur")
    randaugment_magnitude: int = Field(9, ge=0, le=30, description="randaugment: strength")
    random_erasing: Share = Field(0.0, description="Probability of erasing a rectangle")
    mixup: float = Field(0.0, ge=0, description="Mixup's alpha; 0: no mixup")
    cutmix: float = Field(0.0, ge=0, description="CutMix's alpha; 0: no CutMix")
    mix_probability: Share = Field(1.0, description="Share of the batches that are mixed, where mixup or cutmix is on")
    label_smoothing: float = Field(0.1, ge=0, le=0.9, description="Label smoothing; distill uses none")

    distill_temperature: float = Field(1.0, ge=0.1, le=100, description="distill: temperature that softens the outputs")
    hard_label_weight: float = Field(0.0, ge=0, description="distill: weight of the true labels beside the teacher's")
    teacher_image_size: Side | None = Field(None, description="distill: side of the teacher's input, px; none: its own")
    feature_views: int = Field(
        1, ge=1, le=64, description="Frozen backbone: views of each photo to fit the head to, as served, then augmented"
    )

    epochs: int = Field(30, ge=1, description="Passes over the train split")
    batch_size: int = Field(64, ge=1, description="Photos per update, over all processes and accumulation steps")
    gradient_accumulation_steps: int = Field(1, ge=1, description="Parts to compute a batch in, to save memory")
    optimizer: str = Field("sgd", description="Any optimizer that timm knows")
    optimizer_args: dict[str, Any] = Field({}, description="Arguments for the optimizer, e.g. '{fused: true}'")
    learning_rate: float = Field(0.1, ge=0, description="Peak learning rate")
    weight_decay: float = Field(5e-4, ge=0, description="Weight decay, except for biases and normalization")
    momentum: Share = Field(0.9, description="Momentum, for optimizers that have one")
    schedule: Literal["cosine", "onecycle", "plateau", "step"] = Field("onecycle", description="Learning rate schedule")
    warmup_epochs: float = Field(2.0, ge=0, description="Epochs of rising learning rate, at most half of them all")
    decay_epochs: int = Field(10, ge=1, description="step: epochs between decays; plateau: epochs without improvement")
    decay_rate: Share = Field(0.1, description="step and plateau: factor of each decay")
    clip_grad: float | None = Field(None, ge=0, description="Largest norm of the gradient; none: no limit")
    ema_decay: Share | None = Field(None, description="Decay of the weights' moving average; none: no average")
    patience: int | None = Field(None, ge=1, description="Stop after so many epochs without improvement; none: never")
    overfit_batches: int | None = Field(
        None,
        ge=1,
        description="Can the network learn? Train and validate on so many batches, neither augmented nor averaged",
    )

    mixed_precision: Literal["no", "bf16", "fp16"] = Field("no", description="Precision of the forward pass")
    channels_last: bool = Field(True, description="Channels-last memory layout, faster on CPU and GPU; not used on MPS")
    compile: bool = Field(False, description="Use torch.compile")
    workers: int | None = Field(None, ge=0, description="Processes that prepare photos; none: cores - 1, at most 8")
    threads: int | None = Field(None, ge=1, description="CPU threads of each process; none: its share of the cores")
    half_weights: bool = Field(False, description="Save weights as float16: half the size; they are measured so")
    seed: int = Field(0, ge=0, le=2**32 - 1, description="Seed of the split, initial weights, order and augmentation")

    @field_validator("*", mode="before")
    @classmethod
    def _read_text(cls, value: Any, info: ValidationInfo) -> Any:
        """Text as YAML reads it, so that a knob means the same on the command line and in a file."""
        wanted = cls.__dataclass_fields__[info.field_name or ""].type
        if wanted is str:
            return value
        if isinstance(value, str):
            with suppress(yaml.YAMLError, ValueError):
                value = yaml.safe_load(value)
        if isinstance(value, bool) and wanted is not bool:
            value = "yes" if value else "no"  # words that YAML 1.1 reads as true and false
        if isinstance(value, str):
            with suppress(ValueError):
                value = float(value)  # YAML 1.1 reads 1e-3 as text
        return None if value == "none" and NoneType in get_args(wanted) else value

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> "Recipe":
        if isinstance(self.normalization, dict) and min(self.normalization["std"]) <= 0:
            raise ValueError(f"normalization has std={self.normalization['std']}; each must be above 0.")
        if self.head != "linear" and self.head_hidden:
            raise ValueError(f"head={self.head} is a single linear layer: leave out head_hidden={self.head_hidden}.")
        if self.head != "linear" and self.feature_views > 1:
            raise ValueError(f"head={self.head} is fitted to photos as they are served: leave out feature_views.")
        if self.average_with_pretrained and not (self.pretrained and self.head == "whitened_cosine"):
            raise ValueError("average_with_pretrained needs pretrained=true and head=whitened_cosine.")
        if self.start_image_size and self.start_image_size > self.image_size:
            raise ValueError(f"start_image_size={self.start_image_size} must be at most image_size={self.image_size}.")
        return self

    @classmethod
    def from_values(cls, values: Mapping[str, Any], source: str = "the recipe") -> "Recipe":
        """Check names and values, and build a recipe from them. Text is read as YAML would read it.

        Error messages say that the values come from `source`.

        Raises:
            RecipeError: unknown names (the nearest one is suggested), values that aren't allowed, or a contradiction.
        """
        values = {str(name): value for name, value in values.items()}
        try:
            return cls(**values)
        except ValidationError as error:
            raise RecipeError(_describe_mistakes(error, values, source)) from None

    @classmethod
    def read(cls, path: str | Path, **overrides: Any) -> "Recipe":
        """Read a YAML recipe; `overrides` take precedence over the file.

        Raises:
            RecipeError: the file can't be read, isn't a mapping of knobs, or has a knob that `from_values` refuses.
        """
        path = Path(path)
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            ours = ", ".join(sorted(file.stem for file in Path(__file__).with_name("recipes").rglob("*.yaml")))
            raise RecipeError(f"There is no recipe {path}; this project comes with {ours}.") from None
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise RecipeError(f"The recipe {path} can't be read as YAML: {error}") from None
        if not isinstance(values, dict):
            raise RecipeError(f"The recipe {path} must be a list of `knob: value` lines.")
        recipe = cls.from_values(values, str(path))  # before the overrides, so that a mistake is reported where it is
        return cls.from_values({**values, **overrides}, "the command line") if overrides else recipe

    def write(self, path: Path) -> None:
        """Write every knob as YAML."""
        write_text(path, yaml.safe_dump(asdict(self), sort_keys=False))

    @property
    def serving_size(self) -> int:
        """Side of the crop that validation, test and serving use, px."""
        return self.eval_image_size or self.image_size

    @property
    def keeps_last_epoch(self) -> bool:
        """Whether the last epoch's model is kept instead of the best by validation accuracy.

        It is where the head is fitted afterwards: the accuracy of the head thrown away says little about the features,
        and the best of many epochs on few photos is an early one by chance.
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


@cache
def knob_schemas() -> dict[str, dict[str, Any]]:
    """The JSON schema of every knob: its default, description, type and limits."""
    return TypeAdapter(Recipe).json_schema()["properties"]


def allowed_values(knob: str) -> str:
    """What a knob may be, in words, e.g. "a number from 0 to 0.95 or none"."""
    kinds = {"integer": "a whole number", "number": "a number", "boolean": "true or false", "string": "text"}
    kinds |= {"array": "a list of whole numbers above 0", "object": "a mapping {name: value}", "null": "none"}
    words: list[str] = []
    for option in knob_schemas()[knob].get("anyOf", [knob_schemas()[knob]]):
        low, high = option.get("minimum"), option.get("maximum")
        limits = "" if low is None else f" of at least {low}" if high is None else f" from {low} to {high}"
        words += option.get("enum") or [kinds[option["type"]] + limits]
    if knob == "normalization":
        words[-1] = "three numbers each, {mean: [0, 0, 0], std: [1, 1, 1]}"
    return ", ".join(words[:-1]) + (" or " if words[1:] else "") + words[-1]


def _describe_mistakes(error: ValidationError, values: Mapping[str, Any], source: str) -> str:
    """One sentence for each knob that is wrong."""
    sentences: dict[str, str] = {}
    for mistake in error.errors():
        knob = str(mistake["loc"][0]) if mistake["loc"] else ""
        if not knob:
            sentences[knob] = str(mistake["ctx"]["error"])
        elif knob in knob_schemas():
            sentences[knob] = f"{knob}={values[knob]!r} (from {source}) must be {allowed_values(knob)}."
        else:
            near = get_close_matches(knob, knob_schemas(), n=1)
            hint = f"did you mean {near[0]}?" if near else "`python -m train.fit --help` lists the knobs."
            sentences[knob] = f"There is no knob {knob!r} (from {source}); {hint}"
    return " ".join(sentences.values())
