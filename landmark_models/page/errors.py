"""Errors that a person at the page, or a client of its API, reads as one sentence."""

import contextlib
import html
from collections.abc import Iterator

import gradio as gr

from landmark_models.errors import PhotoError
from landmark_models.explain import NoExplanationError

__all__ = ["PageError", "photo_errors_shown"]


class PageError(gr.Error):
    """A sentence that the page shows and the API returns; it may quote names that strangers chose."""

    def __init__(self, sentence: str):
        super().__init__(html.escape(sentence), print_exception=False)


@contextlib.contextmanager
def photo_errors_shown() -> Iterator[None]:
    """Show the reason why a photo can't be used, or an answer can't be explained."""
    try:
        yield
    except (PhotoError, NoExplanationError) as error:
        raise PageError(str(error)) from None
