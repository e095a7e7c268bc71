"""Results on disk: each file, and each folder, is there whole or not at all."""

import contextlib
import json
import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # seconds that a command without pictures and tables need not wait for
    import pandas as pd
    from matplotlib.figure import Figure


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A file to write, which gets its name when all went well, and else is gone."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder to fill, which gets its name when all went well, and else is gone.

    Raises:
        FileExistsError: something of that name is there.
    """
    if path.exists():
        raise FileExistsError(f"{path} exists; remove it or name another folder with --out")
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
        unfinished.rename(path)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def write_json(path: Path, content: dict) -> None:
    """Writes JSON; it has no NaN, so what is not defined is null."""
    write_text(path, json.dumps(_without_nan(content), indent=1))


def write_text(path: Path, text: str) -> None:
    """Writes a text."""
    with whole_file(path) as unfinished:
        unfinished.write_text(text)


def write_table(path: Path, table: "pd.DataFrame") -> None:
    """Writes a table as Parquet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as unfinished:
        table.to_parquet(unfinished, index=False)


def write_picture(path: Path, figure: "Figure") -> None:
    """Writes a picture as PNG, and closes it."""
    import matplotlib.pyplot as plt

    with whole_file(path) as unfinished:
        figure.savefig(unfinished, format="png", dpi=150)
    plt.close(figure)


def _without_nan(value):
    if isinstance(value, dict):
        return {name: _without_nan(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
