"""What an upload keeps of the card that a dataset has on the Hub."""

from functools import partial
from pathlib import Path

from huggingface_hub import DatasetCard, DatasetCardData, hf_hub_download
from huggingface_hub.errors import RemoteEntryNotFoundError, RepositoryNotFoundError

from landmark_models.errors import LandmarkError
from landmark_models.models.failures import describe_failure, with_retries

_MARK = "<!-- Written by train.data upload"  # how the text of its template begins
_OF_THE_PHOTOS = ("configs", "dataset_info", "size_categories")  # metadata that an upload makes anew


def with_own_text(card: str, repo_id: str, *, offline: bool = False) -> str:
    """A new card; where the one on the Hub has a text that somebody wrote, with this text and its metadata.

    With `offline`, it is the new card if the Hub can't be asked.

    Raises:
        LandmarkError: the Hub refuses or can't be reached.
    """
    try:
        file = with_retries(partial(hf_hub_download, repo_id, "README.md", repo_type="dataset"))
        old = DatasetCard(Path(file).read_text(encoding="utf-8"))
    except (RemoteEntryNotFoundError, RepositoryNotFoundError):
        return card
    except Exception as error:
        if offline:
            return card
        raise LandmarkError(describe_failure(f"The card of {repo_id} can't be read", error)) from None
    if not old.text.strip() or old.text.lstrip().startswith(_MARK):
        return card
    print(f"The text of the card of {repo_id} stays as somebody wrote it; its metadata now describe these photos.")
    new, about = DatasetCard(card).data.to_dict(), old.data.to_dict()
    replaced = {key: new[key] for key in _OF_THE_PHOTOS}
    if new["license"] != "unknown":
        replaced["license"] = new["license"]
    return f"---\n{DatasetCardData(**(new | about | replaced)).to_yaml()}\n---\n{old.text}"
