"""Datasets on the Hub of the tests: Parquet as `datasets` writes it."""

import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


def parquet(rows: Iterable[Mapping[str, Any]], features: Any) -> bytes:
    """Rows as a Parquet file with the features of the `datasets` library."""
    content = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows), features.arrow_schema), content)
    return content.getvalue()


def photo_rows(split: Path) -> list[dict[str, Any]]:
    """A row for each photo of a split's folder, its class by number, as that of `Image` and `ClassLabel`."""
    classes = sorted(folder.name for folder in split.iterdir())
    files = [file for name in classes for file in sorted((split / name).iterdir())]
    return [
        {"image": {"bytes": file.read_bytes(), "path": file.name}, "label": classes.index(file.parent.name)}
        for file in files
    ]
