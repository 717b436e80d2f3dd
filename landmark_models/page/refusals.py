"""What the page and its API answer to a request that can't be met."""

import contextlib
import html
from collections.abc import Iterator

import gradio as gr

from landmark_models.errors import PhotoError
from landmark_models.explain import NoExplanationError
from landmark_models.teaching import AddOnError


class PageError(gr.Error):
    """A sentence that clients of the API get as it is."""

    def __init__(self, sentence: str):
        super().__init__(sentence, print_exception=False)


class ShownError(PageError):
    """A sentence that the page shows, which takes it for HTML; it may quote names that strangers chose."""

    def __init__(self, sentence: str):
        super().__init__(html.escape(sentence))


@contextlib.contextmanager
def refused_as(kind: type[PageError]) -> Iterator[None]:
    """Raise the reason why a photo or an add-on can't be used, or an answer can't be explained, as such an error."""
    try:
        yield
    except (PhotoError, AddOnError, NoExplanationError) as error:
        raise kind(str(error)) from None
