"""The best model of a user or an organisation on the Hugging Face Hub, by what the models' configs say was measured.

model = load(best("owner").model)
"""

import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, get_session, hf_hub_url
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status  # type: ignore[attr-defined]

from landmark_models.errors import ModelError
from landmark_models.intervals import wilson
from landmark_models.models.config import CONFIG_FILE, read_config
from landmark_models.models.failures import describe_failure, is_transient, with_retries
from landmark_models.models.folder import WEIGHTS_FILE
from landmark_models.models.hub import model_files
from landmark_models.models.repository import PREFIX, TIMEOUT, describe, sizes_of
from landmark_models.text import for_terminal

TAG = "landmark-classification"  # of the models on the Hub that are compared

_LIST_TIMEOUT = 60.0  # seconds that listing models may take, with all pages and retries


@dataclass(frozen=True)
class Candidate:
    """A model of a namespace: its name, commit, size of the weights in bytes, and figures.

    `figures` has the blocks `test` and `elsewhere` of its config, the latter only if it can be compared.
    """

    name: str
    commit: str
    size: int
    figures: dict[str, dict[str, Any]]

    @property
    def model(self) -> str:
        """It as a MODEL, at the commit that was looked at."""
        return f"{PREFIX}{self.name}@{self.commit}"

    def lower_bound(self, block: str) -> float:
        """The lower bound of the 95% interval of its share named rightly elsewhere, or of its test top-1."""
        figures = self.figures[block]
        if block == "elsewhere":
            return wilson(figures["named"]["right"], figures["named"]["photos"])[0]
        return float(figures["top1_ci95"][0])


@dataclass(frozen=True)
class Best:
    """The models of a namespace, best first.

    The first `compared` of `ranked` were measured on the same photos, and `by` says what decided among them; each of
    the others serves only where none before it can. `skipped` maps the name of each model without comparable figures
    or weights to the reason.
    """

    namespace: str
    ranked: tuple[Candidate, ...]
    compared: int
    by: str
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def model(self) -> str:
        """The best one as a MODEL, with its commit."""
        return self.ranked[0].model

    @property
    def test(self) -> dict[str, Any]:
        """The test figures of the best one."""
        return self.ranked[0].figures["test"]

    def why(self, place: int = 0) -> str:
        """Why the model at this place of `ranked` serves, in a sentence; behind the first, those before it can't."""
        count = len(self.ranked)
        if place:
            by = f" by {self.by}" if place < self.compared else ""
            return f"It is number {place + 1} of {count} models of {self.namespace}{by}; those before it can't serve."
        if count == 1 and self.skipped:
            return f"It is the only model of {self.namespace} that can be compared; {len(self.skipped):,} can't."
        if count == 1:
            return f"It is the only model of {self.namespace}."
        if self.compared == 1:
            return (
                f"No two of the {count} models of {self.namespace} were measured on the same photos; "
                "none was tested on more than this one."
            )
        return f"It is the best of {self.compared} models of {self.namespace} by {self.by}."


def best(namespace: str) -> Best:
    """The landmark models of a user or an organisation on the Hub, the best one first.

    Candidates have the tag `landmark-classification`, `model.safetensors`, and test figures that `train.evaluate` wrote
    into the config. Others are skipped, and so are those the token can't read, e.g. gated ones; private ones count if
    it can. Only figures on the same photos (the same digest) are compared:

    1. If two or more candidates were measured on the same photos from elsewhere (`--as elsewhere`), the share named
       rightly there decides (`named.right / named.photos`), since accuracy on a split of one's own photos flatters.
    2. Otherwise the top-1 on the same test photos decides.

    Either way it is the lower bound of the share's 95% interval (Wilson 1927), so that a lucky figure on a few photos
    doesn't win. Ties go to the smaller weights file, then to the first name. Of several sets of photos, the one that
    most candidates share decides; of equally common ones, the one with most photos. The candidates that weren't
    measured on it come last, in an order that is made of them alone in the same way.

    No request waits for longer than 8 seconds, so a Hub that hangs costs no thread.

    Raises:
        ModelError: the Hub can't be reached, or no model there can be compared.
    """
    try:
        names = _listed(namespace)
    except Exception as error:
        raise ModelError(describe_failure(f"The models of {namespace} can't be listed", error)) from None
    skipped: dict[str, str] = {}
    candidates = []
    for name in names:
        try:
            candidates.append(with_retries(partial(_candidate, name)))
        except ModelError as error:
            skipped[name] = str(error)
        except Exception as error:
            skipped[name] = describe_failure(f"{PREFIX}{name} can't be read", error)
            if is_transient(error):  # choosing among the others would be choosing by chance
                raise ModelError(f"The best of {namespace} can't be chosen. {skipped[name]}") from None
    if not candidates:
        reasons = "; ".join(skipped.values()) or f"none there has the tag {TAG}"
        raise ModelError(f"There is no model of {namespace} to choose: {reasons}")
    groups = list(_ranked_groups(candidates))
    block, first = groups[0]
    by = "accuracy on the same test photos"
    if block == "elsewhere":
        by = f"the share named rightly on photos from elsewhere ({for_terminal(first[0].figures[block]['data'])})"
    return Best(namespace, tuple(each for _, group in groups for each in group), len(first), by, skipped)


def _listed(namespace: str) -> list[str]:
    """The names of a namespace's models with our tag.

    Not by `HfApi.list_models`: its requests have no timeout.
    """
    deadline = time.monotonic() + _LIST_TIMEOUT
    names: list[str] = []
    url: str | None = f"{HfApi().endpoint}/api/models"
    query: dict[str, str] | None = {"author": namespace, "filter": TAG}
    while url:
        if time.monotonic() > deadline:
            raise TimeoutError
        response = with_retries(partial(_get, url, query))
        names += [model["id"] for model in response.json()]
        url, query = response.links.get("next", {}).get("url"), None  # the next page's address has the query in it
    return sorted(names)


def _get(url: str, query: dict[str, str] | None = None) -> Any:
    response = get_session().get(url, params=query, headers=build_hf_headers(), timeout=TIMEOUT)
    hf_raise_for_status(response)
    return response


def _candidate(name: str) -> Candidate:
    """What is known of a model on the Hub; a ModelError if it can't be compared."""
    info = describe(name)
    model_files(info)
    with tempfile.TemporaryDirectory() as folder:
        # Not by `hf_hub_download`, which goes on with a Hub that hangs for two minutes.
        (file := Path(folder) / CONFIG_FILE).write_bytes(_get(hf_hub_url(name, CONFIG_FILE, revision=info.sha)).content)
        landmark = read_config(file, f"{PREFIX}{name}")["landmark"]
    if not isinstance(landmark.get("test", {}).get("digest"), str):
        raise ModelError(f"{PREFIX}{name} has no test figures.")
    elsewhere = landmark.get("elsewhere", {})
    is_comparable = isinstance(elsewhere.get("digest"), str) and elsewhere.get("named", {}).get("photos", 0) > 0
    figures = {"test": landmark["test"], **({"elsewhere": elsewhere} if is_comparable else {})}
    return Candidate(name, str(info.sha), sizes_of(info)[WEIGHTS_FILE], figures)


def _ranked_groups(candidates: Sequence[Candidate]) -> Iterator[tuple[str, list[Candidate]]]:
    """Groups of candidates that were measured on the same photos, best first, and by which block of their figures."""
    while candidates:
        sets: dict[tuple[str, str], list[Candidate]] = defaultdict(list)
        for each in candidates:
            for block, figures in each.figures.items():
                sets[block, figures["digest"]].append(each)
        shared = {key: group for key, group in sets.items() if key[0] == "elsewhere" and len(group) > 1}
        shared = shared or {key: group for key, group in sets.items() if key[0] == "test"}
        block, digest = min(shared, key=lambda key: (-len(shared[key]), -shared[key][0].figures[key[0]]["n"], key[1]))
        group = shared[block, digest]
        yield block, sorted(group, key=lambda each: (-each.lower_bound(block), each.size, each.name))
        candidates = [each for each in candidates if each not in group]
