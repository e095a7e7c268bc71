"""What the paper prints in its tables, to stand beside ours."""

import copy
import functools
import importlib.resources
import tomllib
from typing import NamedTuple

import numpy as np

from kmerl_jax.evaluation import linear_probe

MEAN = "mean"
"""In place of a task: the mean over the paper's six."""

# Rows of table 1 and what `evaluation/published.toml` calls them.
_PROBED = {
    "K-MERL": "K-MERL",
    "MERL (ResNet), as published": "MERL, ResNet",
    "MERL (ViT), as published": "MERL, ViT",
    "SimCLR (ViT)": "SimCLR",
    "random (ResNet), as published": "random CNN",
    "random (ViT), as published": "random Transformer",
}
_RATIOS = (0.01, 0.1, 1.0)


class Known(NamedTuple):
    """An AUROC, from 0 to 1, and its deviation over seeds where the paper has one."""

    value: float
    deviation: float | None = None


Printed = dict[str, dict[tuple[str, str], Known]]


def printed(table: str) -> Printed:
    """Row -> column and task (or `MEAN`) -> what is known of it.

    Args:
        table: such as "2a" or "fig6".
    """
    if table == "1":
        return _table_1()
    return {
        row: {(column, MEAN): Known(*(np.atleast_1d(value) / 100).tolist()) for column, value in columns.items()}
        for row, columns in _read("reproduction", "paper.toml").get(table, {}).items()
    }


def _table_1() -> Printed:
    rows = {row.pop("what"): row for row in copy.deepcopy(_read("evaluation", "published.toml"))["linear_probe"]}
    found = {}
    for ours, theirs in _PROBED.items():
        tasks = rows[theirs] | {MEAN: np.mean(list(rows[theirs].values()), axis=0).tolist()}
        found[ours] = {
            (linear_probe.share(ratio), task): Known(values[n] / 100)
            for task, values in tasks.items()
            for n, ratio in enumerate(_RATIOS)
        }
    return found


@functools.cache
def _read(room: str, name: str) -> dict:
    return tomllib.loads(importlib.resources.files(f"kmerl_jax.{room}").joinpath(name).read_text("utf-8"))
