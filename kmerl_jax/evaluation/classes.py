"""The classes of the six downstream tasks. Neither mining nor training reads this."""

import dataclasses
import functools
import importlib.resources
import tomllib
from collections.abc import Sequence

from kmerl_jax.knowledge import ontology

NAMES = ("raw", "readable")


@dataclasses.dataclass(frozen=True)
class Class:
    """A class of a task.

    Attributes:
        code: as in MERL's published files.
        name: in words, or "" where a table of the data set has the word.
        codes: labels of a store that make a record positive.
        covers: entities of the ontology that it is about.
    """

    code: str
    name: str
    codes: tuple[str, ...]
    covers: tuple[str, ...]


def load() -> dict[str, dict[str, Class]]:
    """Task -> code -> class, from `classes.toml`.

    Raises:
        ValueError: a class that covers what is no entity.
    """
    known = ontology.load().entities
    tasks = {}
    for task, table in _table().items():
        if task == "readable":
            continue
        tasks[task] = {
            code: Class(code, about.get("name", ""), tuple(about.get("codes", [code])), tuple(about["covers"]))
            for code, about in table.items()
        }
        for one in tasks[task].values():
            if missing := [entity for entity in one.covers if entity not in known]:
                raise ValueError(f"classes.toml: class {one.code} of {task} covers {missing[0]!r}, which is no entity")
    # The same classes; what differs is which records count as positive.
    return tasks | {"csn_clean": tasks["csn"]}


def covered(task: str, codes: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Code -> names of the entities that the class is about.

    Args:
        task: its name; of one that is not in `classes.toml`, a code is another name of an entity, if of any.
        codes: of its classes.
    """
    listed = load().get(task)
    return {code: listed[code].covers if listed else (ontology.load().canonical(code),) for code in codes}


def names(classes: list[Class], label_names: dict[str, str], spelling: str) -> tuple[str, ...]:
    """What each class is called when a model is asked for it: the data set's own word.

    Args:
        classes: C classes.
        label_names: the data set's word for each of its codes (a store's `label_names`).
        spelling: "raw", or "readable": slips of spelling mended, abbreviations written out (`classes.toml` lists all).

    Raises:
        ValueError: another spelling, or a store that has no word for a class.
    """
    if spelling not in NAMES:
        raise ValueError(f"unknown spelling {spelling!r}; --names is {' or '.join(NAMES)}")
    words = [one.name or label_names.get(one.codes[0], "") for one in classes]
    if "" in words:
        raise ValueError(f"the store has no name for class {classes[words.index('')].code}; is it of this data set?")
    repairs = _table()["readable"] if spelling == "readable" else {}
    return tuple(repairs.get(word, word) for word in words)


@functools.cache
def _table() -> dict:
    return tomllib.loads(importlib.resources.files(__package__).joinpath("classes.toml").read_text("utf-8"))
