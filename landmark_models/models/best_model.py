"""Choose the best landmark model of a namespace on the Hugging Face Hub.

model = load(best("owner").model)
"""

from collections import defaultdict
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, hf_hub_download

from landmark_models.errors import ModelError
from landmark_models.models.failures import describe_failure, in_background, is_transient, with_retries
from landmark_models.models.folder import CONFIG_FILE, read_config
from landmark_models.models.hub import PREFIX, TAG, check_repository

__all__ = ["Best", "best"]

_LIST_TIMEOUT = 60.0  # seconds for a list, with huggingface_hub's own attempts


@dataclass(frozen=True)
class Best:
    """The model that `best` chose: a MODEL with its commit, its test figures, how many were compared, and the others.

    `skipped` says of each model that was not compared why.
    """

    model: str
    test: dict[str, Any]
    compared: int
    skipped: dict[str, str] = field(default_factory=dict)


def best(namespace: str) -> Best:
    """The best landmark model of a user or an organisation on the Hub.

    Of the models with the tag `landmark-classification`, the one with the highest lower bound of the 95 % interval of
    its test top-1, which `train.evaluate` wrote into its config. Only figures on the same test photos (the same digest)
    compare: where models were tested on several sets, those on the set that most of them share do; of sets shared by as
    many, the one with the most photos. Of models with the same bound, the one with the smaller file of weights wins,
    then the first by name. A model without test figures or `model.safetensors`, and one that may not be read (a gated
    one without access), is skipped. Private models count where the token may see them.

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
            if is_transient(error):  # to choose among the others would be to choose by chance
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
    """The test figures of a model on the Hub, the bytes of its weights, and its commit."""
    commit, size, _ = check_repository(name)
    config = read_config(Path(hf_hub_download(name, CONFIG_FILE, revision=commit)), f"{PREFIX}{name}")
    test = config["landmark"].get("test")
    if not test or not isinstance(test.get("digest"), str):
        raise ModelError(f"{PREFIX}{name} has no test figures.")
    return test, size, commit
