"""The obvious app: gradio decodes the photo, timm prepares it, PyTorch runs the network of a MODEL."""

import sys
from typing import Any

import gradio as gr
import timm.data
import torch
from PIL import Image

from landmark_models import models

TOP_K = 5


def build(source: str) -> gr.Interface:
    """The app, with the network and labels of a MODEL, as `landmark_models.models.load` takes it."""
    model = models.load(source)
    network = model.network.eval()
    config = timm.data.resolve_data_config({}, pretrained_cfg=model.pretrained_cfg)
    transform: Any = timm.data.create_transform(**config)

    @torch.inference_mode()
    def predict(photo: Image.Image) -> dict[str, float]:
        scores, indices = network(transform(photo).unsqueeze(0)).softmax(1)[0].topk(min(TOP_K, len(model.labels)))
        return {model.labels[index]: score for index, score in zip(indices.tolist(), scores.tolist(), strict=True)}

    return gr.Interface(predict, gr.Image(type="pil"), gr.Label(), api_name="predict")


if __name__ == "__main__":
    build(sys.argv[1]).launch()
