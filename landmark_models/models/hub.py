"""Load a model: an embedded one, a folder, a run, or a repository on the Hugging Face Hub.

model = load("hf-hub:owner/name@main")
"""

import os
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, ModelInfo, hf_hub_download
from torch import nn

from landmark_models.errors import ModelError
from landmark_models.models.config import CONFIG_FILE, MAX_CONFIG_BYTES, read_config
from landmark_models.models.failures import in_background, with_retries
from landmark_models.models.folder import MAX_WEIGHTS_BYTES, WEIGHTS_FILE, build, read_statistics
from landmark_models.models.repository import PREFIX, TIMEOUT, download, not_cached, on_hub, repo_id, sizes_of
from landmark_models.networks.statistics import MAX_STATISTICS_BYTES, STATISTICS_FILE, FeatureStatistics

# The models that come with the package, by name.
EMBEDDED = {name: Path(__file__).parents[1] / name for name in ("default", "compact")}

_MAX_EXAMPLES = 6
_MAX_EXAMPLE_BYTES = 2**20


@dataclass(frozen=True)
class LoadedModel:
    """A network in evaluation mode (float32), and what its config says about it.

    `source` is the MODEL as it was requested, `weights` the file its weights were read from, `statistics` those of its
    features, if it has any. For a model from the Hub, `revision` is the commit it was loaded from, and `note` says why
    it is the local cache's copy if the Hub couldn't be reached.
    """

    network: nn.Module
    config: dict[str, Any]
    source: str
    weights: Path
    revision: str | None = None
    note: str = ""
    statistics: FeatureStatistics | None = None

    @property
    def labels(self) -> list[str]:
        return list(self.config["label_names"])

    @property
    def pretrained_cfg(self) -> dict[str, Any]:
        return dict(self.config["pretrained_cfg"])

    @property
    def landmark(self) -> dict[str, Any]:
        """Our block of the config: temperature, test figures, recipe. Other people's models may have none."""
        return dict(self.config["landmark"])


def load(model: str | os.PathLike[str] = "default", *, cached_only: bool = False) -> LoadedModel:
    """Load a MODEL: `default`, `compact`, a model folder, a run folder (its `model/`), `hf-hub:owner/name[@revision]`.

    A revision is a branch, a tag, or a commit, which may be shortened. Only `config.json` and safetensors files are
    ever read; nothing is executed or unpickled. If the Hub can't be reached, if the cache can't be written, or with
    `cached_only`, the copy of that revision that was loaded last is used.

    Raises:
        ModelError: it does not exist, can't be downloaded, exceeds a limit, or its files don't fit together.
    """
    source = os.fspath(model)
    if on_hub(source):
        source = PREFIX + source[len(PREFIX) :]
        folder, note = download(source, model_files, cached_only=cached_only)
        if not ((folder / CONFIG_FILE).is_file() and (folder / WEIGHTS_FILE).is_file()):
            raise not_cached(source, note)
        revision: str | None = folder.name
    else:
        folder, note, revision = EMBEDDED.get(source, Path(source)), "", None
        if not (folder / CONFIG_FILE).is_file() and (folder / "model" / CONFIG_FILE).is_file():
            folder = folder / "model"
        if not folder.is_dir():
            raise ModelError(
                f"There is no model folder {source}; name a model or run folder, hf-hub:owner/name, default or compact."
            )
        for name in (CONFIG_FILE, WEIGHTS_FILE):
            if not (folder / name).is_file():
                raise ModelError(f"{folder} has no {name}, so it isn't a model folder.")
    config = read_config(folder / CONFIG_FILE, source)
    weights = folder / WEIGHTS_FILE
    network = build(config, weights, source)
    statistics = read_statistics(config, network, folder / STATISTICS_FILE, source)
    return LoadedModel(network, config, source, weights, revision, note, statistics)


def with_revision(model: str | os.PathLike[str], revision: str | None = None) -> str:
    """The MODEL that Python code means, which may write `owner/name` for one on the Hub, and its revision apart.

    Raises:
        ModelError: there is a revision, but the model isn't on the Hub or has one already.
    """
    source = os.fspath(model)
    is_name = isinstance(model, str) and re.fullmatch(r"\w[\w.-]*/[\w.-]+(@.+)?", source)
    if is_name and not Path(source).exists():
        source = f"{PREFIX}{source}"
    if not revision:
        return source
    if not on_hub(source) or "@" in source:
        why = "it has one already" if on_hub(source) else "it isn't on the Hub"
        raise ModelError(f"{source} can't be loaded at the revision {revision}: {why}.")
    return f"{source}@{revision}"


def model_files(info: ModelInfo) -> list[str]:
    """The files to load from a repository, the config last; a ModelError if one is missing or too large."""
    sizes = sizes_of(info)
    limits = {CONFIG_FILE: MAX_CONFIG_BYTES, WEIGHTS_FILE: MAX_WEIGHTS_BYTES, STATISTICS_FILE: MAX_STATISTICS_BYTES}
    for name, limit in limits.items():
        if name not in sizes and name != STATISTICS_FILE:
            raise ModelError(f"{PREFIX}{info.id} has no {name}, so it isn't a model that can be loaded safely.")
        if sizes.get(name, 0) > limit:
            raise ModelError(f"The {name} of {PREFIX}{info.id} is larger than {limit / 1e6:.0f} MB.")
    return [name for name in reversed(limits) if name in sizes]


def examples(source: str, revision: str | None = None) -> list[Path]:
    """The example photos that come with a MODEL, `examples/*.jpg`; none if the Hub doesn't send them within seconds.

    `revision` is the commit of a model from the Hub.
    """
    if revision is None:
        folder = EMBEDDED.get(source, Path(source))
        return sorted((folder / "examples").glob("*.jpg"))[:_MAX_EXAMPLES]
    name = repo_id(source)

    def fetch() -> list[Path]:
        info = HfApi().model_info(name, revision=revision, files_metadata=True, timeout=TIMEOUT)
        files = [file.rfilename for file in info.siblings or [] if (file.size or 0) <= _MAX_EXAMPLE_BYTES]
        chosen = sorted(file for file in files if re.fullmatch(r"examples/[^/]+\.jpg", file))[:_MAX_EXAMPLES]
        return [Path(hf_hub_download(name, file, revision=revision)) for file in chosen]

    try:
        return in_background(partial(with_retries, fetch)).result(TIMEOUT)
    except Exception:  # the page works without them
        return []
