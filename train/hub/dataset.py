"""Make an image dataset on the Hugging Face Hub from photos in class folders: Parquet, with splits, labels and a card.

python -m train.data upload photos --repo-id you/landmarks
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from huggingface_hub import DatasetCard, DatasetCardData
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils._validators import validate_repo_id
from tqdm.auto import tqdm

from landmark_models.errors import LandmarkError, reason
from landmark_models.files import left_out_line
from train.data import DataError, Photos, check_output, data_folder, data_name, find_splits, print_left_out
from train.hub import upload
from train.hub.card import card_template, save_card
from train.hub.dataset_card import with_own_text
from train.hub.dataset_photos import Checked, check_photos
from train.hub.staging import staging

_SHARD = 500 * 2**20  # bytes of photos in a Parquet file
_ROW_GROUP = 100  # rows, which a viewer reads at a time
_NAMES = {"train": "train", "val": "validation", "test": "test"}  # of the splits, on the Hub
_MOST = 200  # classes that the card lists
_SIZES = {10**3: "n<1K", 10**4: "1K<n<10K", 10**5: "10K<n<100K", 10**6: "100K<n<1M", 10**7: "1M<n<10M"}


def upload_dataset(
    data: str | Path, repo_id: str, *, private: bool = False, licence: str | None = None, dry_run: Path | None = None
) -> None:
    """Upload the photos of DATA as a dataset, check that it arrived, and print where it is.

    The files are kept as they are, with what a camera has written into them; it prints how many say where they were
    taken. Photos that can't be read, here or by the `datasets` library, are left out. With `dry_run`, what would be
    uploaded is written into that folder, and nothing is. Without `licence`, that of the card on the Hub is kept; so is
    the text of a card that somebody wrote, and files beside those of `data/`.

    Raises:
        LandmarkError: DATA can't be used, has no readable photo, or the Hub refuses or can't be reached.
    """
    _check_name(repo_id)
    left_out: Counter[str] = Counter()
    found = find_splits(data, left_out)
    if dry_run:
        _check_dry_run(dry_run, data)
    else:
        upload.check(repo_id, private=private, repo_type="dataset")
    kept = upload.card_on_hub(repo_id, repo_type="dataset", dry_run=dry_run is not None)
    licence = licence or kept.get("license", "unknown")
    with staging(dry_run) as scratch:
        folder = scratch / "dataset"
        folder.mkdir()
        save_card(folder, str(DatasetCard(f"---\n{DatasetCardData(license=licence).to_yaml()}\n---\n")))
        upload.check_card(folder, repo_id, "dataset")  # its licence, before much work is done
        splits = {_NAMES[split]: check_photos(photos, left_out) for split, photos in found.items()}
        splits = {name: part for name, part in splits.items() if len(part.photos)}
        if not splits:
            raise DataError(f"None of the photos in {data} can be read. {left_out_line(left_out)}")
        print_left_out(data, left_out)
        if positions := sum(part.with_position for part in splits.values()):
            print(f"Note: {positions} photos say where they were taken (EXIF); whoever may read the dataset sees that.")
        try:
            _write(splits, folder)
            card = _card(splits, folder, repo_id, data_name(data), licence, left_out, positions)
            save_card(folder, with_own_text(card, repo_id, offline=dry_run is not None))
        except OSError as error:
            raise LandmarkError(f"{folder} can't be written: {reason(error)}.") from None
        if dry_run:
            print(f"{dry_run} holds what would be uploaded; nothing was.")
            return
        done = upload.publish(
            folder, repo_id, private=private, repo_type="dataset", message="Upload photos", replace=["data/*"]
        )
    what = "Published" if done.changed else "Nothing has changed since it was published:"
    print(f"{what} {done.url} at revision {done.revision[:12]}; it arrived intact.")
    print(f"Train on it: --data hf:{repo_id}")


def _check_name(repo_id: str) -> None:
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise LandmarkError(f"{repo_id!r} isn't the name of a repository: {error}") from None
    if "/" not in repo_id:
        raise LandmarkError(f"{repo_id!r} isn't the name of a repository: use owner/name.")


def _check_dry_run(output: Path, data: str | Path) -> None:
    check_output(output, data)
    if output.resolve().is_relative_to(data_folder(data).resolve()):
        raise LandmarkError(f"The output {output} is in the data folder {data}; name another.")


def _labels(splits: Mapping[str, Checked]) -> list[str]:
    """The labels that have a photo in any split, in their order."""
    photos = [part.photos for part in splits.values()]
    present = {label for part in photos for label in part.present_labels()}
    return [label for label in photos[0].labels if label in present]


def _features(labels: Sequence[str]) -> Any:
    from datasets import ClassLabel, Features, Image

    return Features({"image": Image(), "label": ClassLabel(names=list(labels))})


def _write(splits: Mapping[str, Checked], folder: Path) -> None:
    """Write `data/SPLIT-NUMBER-of-COUNT.parquet`, each of at most about `_SHARD` bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    (folder / "data").mkdir(parents=True)
    labels = _labels(splits)
    schema = _features(labels).arrow_schema
    with tqdm(total=sum(len(part.photos) for part in splits.values()), desc="writing", unit="photo") as bar:
        for name, part in splits.items():
            shards = list(_shards(part.bytes))
            rows = _rows(part.photos.of_labels(labels))
            for number, count in enumerate(shards):
                file = folder / "data" / f"{name}-{number:05}-of-{len(shards):05}.parquet"
                with pq.ParquetWriter(file, schema, write_page_index=True) as writer:
                    while group := list(islice(rows, min(_ROW_GROUP, count))):
                        writer.write_table(pa.Table.from_pylist(group, schema))
                        bar.update(len(group))
                        count -= len(group)


def _shards(sizes: Sequence[int]) -> Iterator[int]:
    """How many photos go into each file."""
    count = total = 0
    for size in sizes:
        if count and total + size > _SHARD:
            yield count
            count = total = 0
        count, total = count + 1, total + size
    yield count


def _rows(photos: Photos) -> Iterator[dict[str, Any]]:
    for file, target in zip(photos.files(), photos.targets, strict=True):
        yield {"image": {"bytes": file.read_bytes(), "path": file.name}, "label": target}


def _card(
    splits: Mapping[str, Checked],
    folder: Path,
    repo_id: str,
    name: str,
    licence: str,
    left_out: Counter[str],
    positions: int,
) -> str:
    from datasets import DatasetInfo, SplitDict, SplitInfo

    labels = _labels(splits)
    counts = {
        split: Counter(part.photos.labels[target] for target in part.photos.targets) for split, part in splits.items()
    }
    total = sum(count.total() for count in counts.values())
    info = DatasetInfo(
        features=_features(labels),
        splits=SplitDict(
            {split: SplitInfo(split, sum(part.bytes), len(part.photos)) for split, part in splits.items()}
        ),
        download_size=sum(file.stat().st_size for file in (folder / "data").iterdir()),
        dataset_size=sum(sum(part.bytes) for part in splits.values()),
    )
    data = DatasetCardData(
        license=licence,
        task_categories=["image-classification"],
        size_categories=[next((words for limit, words in _SIZES.items() if total < limit), "10M<n<100M")],
        pretty_name=repo_id.split("/")[-1],
        tags=["landmark-classification"],
        configs=[
            {
                "config_name": "default",
                "data_files": [{"split": split, "path": f"data/{split}-*"} for split in splits],
            }
        ],
        dataset_info=info._to_yaml_dict(),
    )
    reasons: Counter[str] = Counter()
    for why, count in left_out.items():
        reasons[re.sub(r" \(.*\)$", "", why)] += count  # without the owner's names for files and folders
    return str(
        card_template("dataset_card.md").render(
            card_data=data.to_yaml(),
            repo_id=repo_id,
            name=repo_id.split("/")[-1],
            total=total,
            counts=counts,
            labels=labels,
            most=_MOST,
            left_out=left_out_line(reasons),
            positions=positions,
            licence=licence,
        )
    )
