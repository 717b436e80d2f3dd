"""The splits of DATA, and the names that a folder, a dataset or an option may give them."""

SPLITS = ("train", "val", "test")
SPLIT_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


def split_name(name: str) -> str:
    """The split that a name stands for, without regard to case: `valid` and `Validation` are `val`."""
    return SPLIT_NAMES.get(name.lower(), name)
