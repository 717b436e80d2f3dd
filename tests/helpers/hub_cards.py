"""What a Hugging Face Hub refuses in the metadata of a card, as far as it is documented."""

import re
from collections.abc import Callable, Iterator
from typing import Any

_LICENSES = """
apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0 bigcode-openrail-m afl-3.0
artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear c-uda cc cc0-1.0 cc-by-2.0 cc-by-2.5 cc-by-3.0
cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0
cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0 cdla-permissive-1.0 cdla-permissive-2.0 wtfpl ecl-2.0
epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0 lgpl lgpl-2.1 lgpl-3.0 isc lppl-1.3c
ms-pl mpl-2.0 odc-by odbl openrail++ osl-3.0 postgresql ofl-1.1 ncsa unlicense zlib pddl lgpl-lr gemma llama2 llama3
llama3.1 llama3.2 llama3.3 llama4 unknown other
"""
LICENSES = frozenset(_LICENSES.split())
RELATIONS = ("adapter", "merge", "quantized", "finetune")
REPO_ID = re.compile(r"[\w.-]+/[\w.-]+")
SIZES = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B", "n>1B")

Check = Callable[[Any], bool]


def is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def is_repo(value: Any) -> bool:
    return is_text(value) and REPO_ID.fullmatch(value) is not None


def one_or_more(check: Check) -> Check:
    return lambda value: all(map(check, value)) if isinstance(value, list) and value else check(value)


def a_list(check: Check) -> Check:
    return lambda value: isinstance(value, list) and all(map(check, value))


FIELDS: dict[str, tuple[str, Check]] = {
    "license": ("must be one of the licenses that the Hub knows", one_or_more(LICENSES.__contains__)),
    "base_model": ("must be the id of a model, or several", one_or_more(is_repo)),
    "base_model_relation": (f"must be one of {', '.join(RELATIONS)}", RELATIONS.__contains__),
    "new_version": ("must be the id of a model", is_repo),
    "datasets": ("must be ids of datasets", one_or_more(is_repo)),
    "metrics": ("must be a list of text", a_list(is_text)),
    "tags": ("must be a list of text", a_list(is_text)),
    "pipeline_tag": ("must be text", is_text),
    "library_name": ("must be text", is_text),
    "widget": ("must be a list of mappings with a src", a_list(lambda item: is_text(item["src"]))),
    "task_categories": ("must be a list of text", a_list(is_text)),
    "size_categories": ("must be sizes", one_or_more(SIZES.__contains__)),
    "configs": ("must be a list of mappings with a config_name", a_list(lambda item: is_text(item["config_name"]))),
    "dataset_info": ("must have features", one_or_more(lambda info: isinstance(info["features"], list))),
}


def mistakes(card: dict[str, Any]) -> Iterator[str]:
    """What is wrong in a card's metadata, as sentences."""
    for name, (rule, check) in FIELDS.items():
        try:
            if name in card and not check(card[name]):
                yield f'"{name}" {rule}'
        except (TypeError, LookupError):
            yield f'"{name}" {rule}'
    for model in card.get("model-index") or ():
        for result in model.get("results", [{}]):
            paths = [("task", "type"), ("dataset", "type"), ("dataset", "name")]
            yield from (
                f'"model-index[0].results[0].{block}.{key}" is required'
                for block, key in paths
                if not is_text(result.get(block, {}).get(key))
            )
            if not all(is_text(part.get("type")) and "value" in part for part in result.get("metrics", [{}])):
                yield '"model-index[0].results[0].metrics[0]" needs a type and a value'
