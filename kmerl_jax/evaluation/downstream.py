"""The six downstream tasks of MERL and the paper (appendix D.1), from the stores of three cohorts.

With MERL's published files records, labels and splits are theirs. Without them they are made of the store's own labels:
for PTB-XL the same ones, since its folds are its own; CPSC2018 and CSN were split at random over a file system's order,
which no metadata tells, so there the splits are the store's.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from kmerl_jax.cohorts.cohort import SPLITS
from kmerl_jax.cohorts.store import Store
from kmerl_jax.evaluation import classes, splits
from kmerl_jax.evaluation.task import Part, Task, gather

SIZES = {
    "ptb_xl.super": (17084, 2146, 2158),
    "ptb_xl.sub": (17084, 2146, 2158),
    "ptb_xl.form": (7197, 901, 880),
    "ptb_xl.rhythm": (16832, 2100, 2098),
    "cpsc2018": (4950, 551, 1376),
    "csn": (16546, 1860, 4620),
    "csn_clean": (16546, 1860, 4620),
}
"""Records that train, validate and are scored, as the paper has them (table 3)."""

TASKS = tuple(SIZES)
LABELS = ("demo", "table", *TASKS)
"""What can be scored: the tasks, and the labels of a store's own."""


def cohort_of(task: str) -> str:
    """The cohort whose store a task needs."""
    return "csn" if task == "csn_clean" else task.partition(".")[0]


def open_stores(paths: Sequence[Path]) -> dict[str, Store]:
    """Cohort -> its store.

    Raises:
        FileNotFoundError: no store.
        ValueError: two stores of one cohort.
    """
    opened: dict[str, Store] = {}
    for path in paths:
        store = Store(path)
        if other := opened.get(store.manifest["cohort"]):
            raise ValueError(f"{path} and {other.path} are both of one cohort; name one")
        opened[store.manifest["cohort"]] = store
    return opened


def store_of(label: str, opened: Mapping[str, Store]) -> Store:
    """The store that a label needs, of those that were opened.

    Raises:
        ValueError: unknown labels, or there is none.
    """
    if label not in LABELS:
        raise ValueError(f"unknown labels {label!r}; --labels are {', '.join(LABELS)}")
    if cohort_of(label) not in opened:
        there = f"one of {', '.join(opened)}" if opened else "none"
        raise ValueError(f"--labels={label} needs a store of {cohort_of(label)}; --store names {there}")
    return opened[cohort_of(label)]


def class_names(store: Store, label: str, spelling: str = "raw") -> dict[str, str]:
    """Code -> name of each class of a label: what prompts are looked up by, and what a model is asked.

    Args:
        store: that the label needs.
        label: one of `LABELS`.
        spelling: "raw" or "readable".

    Raises:
        ValueError: another spelling, or the store has no name for a class.
    """
    if label not in TASKS:
        return {name: name for name in store.label_names.values()}
    chosen = classes.load()[label]
    return dict(zip(chosen, classes.names(list(chosen.values()), store.label_names, spelling), strict=True))


def make(store: Store, task: str, published: Path | None = None, spelling: str = "raw") -> Task:
    """A task on a store.

    Args:
        store: of the task's cohort.
        task: one of `TASKS`.
        published: MERL's files; None makes the task of the store's own labels and splits.
        spelling: of the classes' names, "raw" or "readable".

    Raises:
        FileNotFoundError: a published file is missing.
        ValueError: a store of another cohort, or none of the task's records is in it.
    """
    manifest = store.manifest
    if manifest["cohort"] != cohort_of(task):
        raise ValueError(
            f"store {store.path} is of {manifest['cohort']}, and --labels={task} are labels of {cohort_of(task)}"
        )
    chosen = classes.load()[task]
    codes, table, notes, parts = tuple(chosen), store.table, [], {}
    for split in SPLITS:
        if published is None:
            first = table[~table["record"].duplicated() & (table["split"] == split)]
            labels = label(task, list(first["labels"]))
            kept = _kept(task, labels)
            parts[split] = gather(table, first["record"].to_numpy()[kept], labels[kept])
        else:
            records, labels = splits.read(published, task, split, codes)
            there = np.isin(records, table["record"].unique())
            parts[split] = gather(table, np.asarray(records, object)[there], labels[there])
            if not there.all():
                notes.append(f"{(~there).sum():,} of {len(there):,} published {split} records are not in the store")
    if not (len(parts["test"].records) or len(parts["val"].records)):
        raise ValueError(f"store {store.path} holds no test and no validation record of {task}")
    folds = manifest["about"].get("folds", [9, 10])
    if published is None and (cohort_of(task) != "ptb_xl" or folds != [9, 10]):
        notes.append("the splits are this store's own, not MERL's (--splits reads those)")
    here = tuple(len(parts[split].records) for split in SPLITS)
    if here != SIZES[task]:
        notes.append(f"{_counted(here)} records train / validate / are tested; in the paper {_counted(SIZES[task])}")
    if task == "csn_clean":
        notes.append("the labels are mended; published numbers are of csn")
    if not manifest.get("patient_ids", True):
        notes.append("the data set has no patient ids: intervals are over records, and a patient may be in two splits")
    title = f"{task}, " + ("labels and splits as MERL published them" if published else manifest["labels_title"])
    if task == "csn_clean":
        title = f"{task}, each class where it is one of a record's diagnoses" + (", MERL's splits" if published else "")
    elif task == "csn":
        title += ", a class also where its acronym is part of another's (as MERL has them; csn_clean mends it)"
    raw, names = (tuple(class_names(store, task, how).values()) for how in ("raw", spelling))
    notes += [f"{old!r} is asked as {new!r}" for old, new in zip(raw, names, strict=True) if old != new]
    return Task(task, title, names, codes, parts, notes=tuple(notes))


def label(task: str, said: Sequence[Sequence[str]]) -> np.ndarray:
    """Labels of records that are known by the codes of their cohort.

    Args:
        task: one of `TASKS`.
        said: for each of R records, its codes; of CSN acronyms, or a number where its table has none.

    Returns:
        [R, C] int8.
    """
    chosen = classes.load()[task].values()
    if task == "csn":
        diagnoses = [",".join(code for code in codes if not code.isdecimal()) for codes in said]
        rows = [[one.code in text for one in chosen] for text in diagnoses]
    else:
        rows = [[any(code in codes for code in one.codes) for one in chosen] for codes in map(set, said)]
    return np.array(rows, np.int8).reshape(len(said), len(chosen))


def sizes(cohort: str, splits: Sequence[str], said: Sequence[Sequence[str]]) -> dict[str, str]:
    """Records of each split of a cohort's tasks, made of its own labels: task -> "train / val / test".

    Args:
        cohort: its name.
        splits: of each of R records.
        said: the codes of each.
    """
    counts = {}
    for task in TASKS:
        if cohort_of(task) == cohort:
            kept = _kept(task, label(task, said))
            of = Counter(split for split, keep in zip(splits, kept, strict=True) if keep)
            counts[task] = _counted([of[split] for split in SPLITS])
    return counts


def _counted(numbers: Sequence[int]) -> str:
    return " / ".join(f"{number:,}" for number in numbers)


def _kept(task: str, labels: np.ndarray) -> np.ndarray:
    """[R] bool: MERL keeps the records that have any of the task's classes; of CPSC2018 all do."""
    return labels.any(1) if task != "cpsc2018" else np.ones(len(labels), bool)


def count(parts: dict[str, Part]) -> str:
    """Records of each split, as in the paper's table 3."""
    return _counted([len(parts[split].records) for split in SPLITS])
