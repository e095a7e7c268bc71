"""Results on disk: each file is written whole or not at all."""

import json
import math
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd


def write_json(path: Path, content: dict) -> None:
    """Writes JSON; it has no NaN, so what is not defined is null."""
    write_text(path, json.dumps(_without_nan(content), indent=1))


def write_text(path: Path, text: str) -> None:
    """Writes a text."""
    unfinished = path.with_suffix(".tmp")
    unfinished.write_text(text)
    unfinished.replace(path)


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Writes a table as Parquet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".tmp")
    table.to_parquet(unfinished, index=False)
    unfinished.replace(path)


def write_picture(path: Path, figure: plt.Figure) -> None:
    """Writes a picture as PNG, and closes it."""
    unfinished = path.with_suffix(".tmp")
    figure.savefig(unfinished, format="png", dpi=150)
    plt.close(figure)
    unfinished.replace(path)


def _without_nan(value):
    if isinstance(value, dict):
        return {name: _without_nan(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
