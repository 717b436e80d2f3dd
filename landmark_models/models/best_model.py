"""Choose the best landmark model in a namespace on the Hugging Face Hub.

model = load(best("owner").model)
"""

from collections import defaultdict
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, hf_hub_download

from landmark_models.errors import ModelError
from landmark_models.models.config import CONFIG_FILE, read_config
from landmark_models.models.failures import describe_failure, in_background, is_transient, with_retries
from landmark_models.models.hub import PREFIX, TAG, check_repository

__all__ = ["Best", "best"]

_LIST_TIMEOUT = 60.0  # seconds, including huggingface_hub's own retries


@dataclass(frozen=True)
class Best:
    """The model that `best` chose: a MODEL with its commit, its test figures, and how many models were compared.

    `skipped` maps the name of each model that wasn't compared to the reason.
    """

    model: str
    test: dict[str, Any]
    compared: int
    skipped: dict[str, str] = field(default_factory=dict)


def best(namespace: str) -> Best:
    """The best landmark model of a user or an organisation on the Hub.

    Among the models with the tag `landmark-classification`, it is the one whose test top-1 has the highest lower bound
    of its 95 % interval, as `train.evaluate` wrote it into the config. Ties go to the smaller weights file, then to the
    first name. Only figures on the same test photos (the same digest) are compared. If models were tested on several
    sets, those tested on the most common set are; of equally common sets, the one with the most photos counts. Models
    without test figures or `model.safetensors` are skipped, and so are those the token can't read, e.g. gated ones.
    Private models count if the token can read them.

    Raises:
        ModelError: the Hub can't be reached, or no model there can be compared.
    """
    try:
        listing = in_background(lambda: list(HfApi().list_models(author=namespace, filter=TAG)))
        names = sorted(model.id for model in listing.result(_LIST_TIMEOUT))
    except Exception as error:
        raise ModelError(describe_failure(f"The models of {namespace} can't be listed", error)) from None
    skipped: dict[str, str] = {}
    sets: dict[str, list[tuple[float, int, str, str, dict[str, Any]]]] = defaultdict(list)
    for name in names:
        try:
            test, size, commit = with_retries(partial(_candidate, name))
            sets[test["digest"]].append((-test["top1_ci95"][0], size, name, commit, test))
        except ModelError as error:
            skipped[name] = str(error)
        except Exception as error:
            skipped[name] = describe_failure(f"{PREFIX}{name} can't be read", error)
            if is_transient(error):  # choosing among the others would be choosing by chance
                raise ModelError(f"The best of {namespace} can't be chosen. {skipped[name]}") from None
    if not sets:
        reasons = "; ".join(skipped.values()) or f"none there has the tag {TAG}"
        raise ModelError(f"There is no model of {namespace} to choose: {reasons}")
    digest = min(sets, key=lambda digest: (-len(sets[digest]), -sets[digest][0][-1]["n"], digest))
    for other in sets.keys() - {digest}:
        skipped |= {name: "It was tested on other photos than most." for _, _, name, _, _ in sets[other]}
    _, _, name, commit, test = min(sets[digest], key=lambda candidate: candidate[:3])
    return Best(f"{PREFIX}{name}@{commit}", test, len(sets[digest]), skipped)


def _candidate(name: str) -> tuple[dict[str, Any], int, str]:
    """The test figures of a model on the Hub, the size of its weights in bytes, and its commit."""
    commit, size, _ = check_repository(name)
    config = read_config(Path(hf_hub_download(name, CONFIG_FILE, revision=commit)), f"{PREFIX}{name}")
    test = config["landmark"].get("test")
    if not test or not isinstance(test.get("digest"), str):
        raise ModelError(f"{PREFIX}{name} has no test figures.")
    return test, size, commit
