"""Where the photos of DATA are, and what DATA is called: a folder, `hf:owner/name` or `torch/NAME`."""

import re
from pathlib import Path

from train.data import DataError
from train.data.hub_datasets import HubDataset, hub_folder


def data_folder(data: str | Path) -> Path:
    """The folder of DATA; for `hf:owner/name` and `torch/NAME` the one that the dataset is downloaded to once.

    Raises:
        DataError: the folder or dataset doesn't exist, or the dataset can't be downloaded.
    """
    folder = Path(data)
    if folder.is_dir():
        return folder
    if dataset := HubDataset.parse(data):
        return hub_folder(dataset)
    if len(folder.parts) == 2 and folder.parts[0] == "torch":
        from train.data.torchvision_sets import torchvision_folder

        return torchvision_folder(folder.parts[1])
    on_hub = re.fullmatch(r"\w[\w.-]*/[\w.-]+", folder.as_posix())
    hint = f"; for a dataset of the Hub, write hf:{folder.as_posix()}" if on_hub else ""
    raise DataError(f"There is no data folder {folder}{hint}.")


def data_name(data: str | Path) -> str:
    """What figures and cards call DATA: the folder's name, or a dataset of the Hub without its revision."""
    dataset = None if Path(data).is_dir() else HubDataset.parse(data)
    return dataset.name if dataset else Path(data).resolve().name
