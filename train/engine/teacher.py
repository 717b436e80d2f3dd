"""The teacher of a distillation: a MODEL applied to the same augmented view as the student (Beyer et al. 2022)."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.transforms.v2 import functional

from landmark_models import models
from landmark_models.errors import LandmarkError
from train.engine.network import weights_digest
from train.recipe import Recipe

_SHOWN = 3  # labels that an error message names


class Teacher:
    """A trained network in evaluation mode, its outputs in the order of the student's labels.

    Photos without a label have the target `len(labels)`. The teacher must have all of the student's `labels`; its
    others are ignored.

    Raises:
        LandmarkError: the model lacks one of the labels, or can't take photos of that size.
    """

    def __init__(self, model: models.LoadedModel, recipe: Recipe, labels: Sequence[str]):
        if missing := [label for label in labels if label not in model.labels]:
            some = ", ".join(map(repr, missing[:_SHOWN]))
            more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
            raise LandmarkError(
                f"The teacher {model.source} doesn't have {some}{more} of the data's {len(labels)} labels; use a model "
                "that was trained on the same classes."
            )
        cfg = model.pretrained_cfg
        digest = weights_digest(model.network)[:12]
        self.name = f"{model.config['architecture']} ({Path(model.source).name}, sha256 {digest})"
        self.side = recipe.teacher_image_size or int(cfg["input_size"][-1])
        self.mean, self.std = torch.tensor(cfg["mean"]), torch.tensor(cfg["std"])
        self.columns = torch.tensor([model.labels.index(label) for label in labels])
        self.temperature, self.hard_label_weight = recipe.distill_temperature, recipe.hard_label_weight
        self.network = model.network.requires_grad_(False)
        try:
            with torch.inference_mode():
                self.network(torch.zeros(1, 3, self.side, self.side))
        except Exception as error:  # each architecture raises its own
            raise LandmarkError(f"The teacher {model.source} can't take photos of {self.side} px: {error}") from None

    def keep_labels(self, labels: Sequence[str], kept: Sequence[str]) -> None:
        """Answer for some of the student's labels alone, in the order of `kept`."""
        self.columns = self.columns[[labels.index(label) for label in kept]]

    def to(self, device: torch.device, layout: torch.memory_format) -> "Teacher":
        """Move it in place."""
        self.network = self.network.to(device).to(memory_format=layout)
        self.columns = self.columns.to(device)
        return self

    @torch.no_grad()
    def logits(self, images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
        """Logits, float32 `(B, C)`, of images `(B, 3, H, W)` normalised with the student's `mean` and `std`."""
        student_mean, student_std = torch.tensor(mean), torch.tensor(std)
        images = functional.resize(images, [self.side, self.side], antialias=True)
        if not (torch.equal(student_mean, self.mean) and torch.equal(student_std, self.std)):
            factor, offset = student_std / self.std, (student_mean - self.mean) / self.std
            images = images * factor.to(images).view(3, 1, 1) + offset.to(images).view(3, 1, 1)
        return self.network(images)[:, self.columns].float()

    def loss(self, logits: Tensor, taught: Tensor, targets: Tensor) -> Tensor:
        """The distillation loss, plus `hard_label_weight` times the cross entropy with the photos' own labels.

        The former is the Kullback-Leibler divergence of the outputs softened by the temperature T, times T^2 to keep
        the scale of the gradients (Hinton et al. 2015). Both are means over the batch.

        `logits` are the student's and `taught` the teacher's, float32 `(B, C)`; `targets` class indices `(B,)`, or for
        mixed photos distributions `(B, C + 1)`, whose last class is "no label".
        """
        student, teacher = (
            nn.functional.log_softmax(outputs / self.temperature, dim=1) for outputs in (logits, taught)
        )
        loss = nn.functional.kl_div(student, teacher, reduction="batchmean", log_target=True) * self.temperature**2
        if self.hard_label_weight:
            if targets.ndim == 1:
                targets = nn.functional.one_hot(targets, logits.shape[1] + 1)
            own = -(targets[:, :-1] * nn.functional.log_softmax(logits, dim=1)).sum(1).mean()
            loss = loss + self.hard_label_weight * own
        return loss
