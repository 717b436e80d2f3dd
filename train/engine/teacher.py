"""What a student learns from: a MODEL that looks at the same augmented view (Beyer et al. 2022)."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.transforms.v2 import functional

from landmark_models import models
from landmark_models.errors import LandmarkError
from train.engine.network import weights_digest
from train.recipe import Recipe

__all__ = ["Teacher"]

_SHOWN = 3  # labels that an error names


class Teacher:
    """A trained network in evaluation mode, its outputs in the order of the student's labels.

    Photos that have no label carry the target `len(labels)`.

    Args:
        model: the MODEL that teaches.
        recipe: its temperature, the size it looks at, and the weight of the photos' own labels.
        labels: the student's, each of which the teacher must know; what else it knows is left out.

    Raises:
        LandmarkError: the model does not know one of the labels, or can't take photos of that size.
    """

    def __init__(self, model: models.LoadedModel, recipe: Recipe, labels: Sequence[str]):
        if missing := [label for label in labels if label not in model.labels]:
            some = ", ".join(map(repr, missing[:_SHOWN]))
            more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
            raise LandmarkError(
                f"The teacher {model.source} does not know {some}{more} of the data's {len(labels)} labels; teach with "
                "a model that was trained on the same classes."
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
        except Exception as error:  # each architecture has its own
            raise LandmarkError(f"The teacher {model.source} can't take photos of {self.side} px: {error}") from None

    def to(self, device: torch.device, layout: torch.memory_format) -> "Teacher":
        """Move it, in place."""
        self.network = self.network.to(device).to(memory_format=layout)
        self.columns = self.columns.to(device)
        return self

    @torch.no_grad()
    def logits(self, images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
        """What it says, `(B, C)` float32, of images `(B, 3, H, W)` normalised by the student's mean and sd."""
        student_mean, student_std = torch.tensor(mean), torch.tensor(std)
        images = functional.resize(images, [self.side, self.side], antialias=True)
        if not (torch.equal(student_mean, self.mean) and torch.equal(student_std, self.std)):
            factor, offset = student_std / self.std, (student_mean - self.mean) / self.std
            images = images * factor.to(images).view(3, 1, 1) + offset.to(images).view(3, 1, 1)
        return self.network(images)[:, self.columns].float()

    def loss(self, logits: Tensor, taught: Tensor, targets: Tensor) -> Tensor:
        """How far the student is from the teacher, and, by `hard_label_weight`, from the photos' own labels.

        Kullback-Leibler divergence of the outputs softened by the temperature T, times T^2, so that gradients keep
        their scale (Hinton et al. 2015), and cross entropy.

        Args:
            logits: the student's, `(B, C)` float32.
            taught: the teacher's, likewise.
            targets: class indices `(B,)`, or where photos are mixed distributions `(B, C + 1)`, the last for no label.

        Returns:
            The mean over the batch.
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
