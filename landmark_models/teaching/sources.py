"""Where add-ons come from: files, and repositories on the Hugging Face Hub."""

from pathlib import Path

from huggingface_hub import ModelInfo

from landmark_models.errors import ModelError
from landmark_models.models import PREFIX, on_hub
from landmark_models.models.folder import MAX_WEIGHTS_BYTES
from landmark_models.models.repository import download, not_cached, sizes_of
from landmark_models.teaching.addon import SUFFIX, AddOn
from landmark_models.teaching.facts import AddOnError
from landmark_models.text import listed

TAG = "landmark-addon"  # of the repositories on the Hub that hold one


def load_addon(source: str) -> AddOn:
    """The add-on that `--with` names: a file, or `hf-hub:owner/name[@revision]`.

    Raises:
        AddOnError: it isn't available, or isn't an add-on.
    """
    return AddOn.read(addon_file(source))


def addon_file(source: str) -> Path:
    """The file of an add-on; one on the Hub is downloaded, or if that can't be reached, it is the copy in the cache.

    Raises:
        AddOnError: it can't be downloaded, is too large, or the repository has none or several.
    """
    if not on_hub(source):
        return Path(source)
    source = PREFIX + source[len(PREFIX) :]
    try:
        folder, note = download(source, _choose)
        found = sorted(folder.glob(f"*{SUFFIX}"))
        if len(found) != 1:
            raise not_cached(source, note)
    except ModelError as error:
        raise AddOnError(str(error)) from None
    return found[0]


def _choose(info: ModelInfo) -> list[str]:
    """The one add-on of a repository; a ModelError if there isn't one, or if it is too large."""
    sizes = {name: size for name, size in sizes_of(info).items() if name.endswith(SUFFIX) and "/" not in name}
    if len(sizes) != 1:
        several = f"several files of taught landmarks, {listed(sorted(sizes), 3)}" if sizes else f"no file *{SUFFIX}"
        raise ModelError(f"{PREFIX}{info.id} has {several}; a repository of taught landmarks has one.")
    name, size = next(iter(sizes.items()))
    if size > MAX_WEIGHTS_BYTES:
        raise ModelError(f"The {listed([name])} of {PREFIX}{info.id} is larger than {MAX_WEIGHTS_BYTES / 1e6:.0f} MB.")
    return [name]
