"""A task: classes, and the records of each split with their labels. Scores are of records, not of windows."""

import dataclasses
import hashlib
from collections.abc import Sequence

import numpy as np
import pandas as pd

from kmerl_jax.cohorts.cohort import SPLITS
from kmerl_jax.cohorts.store import Store


@dataclasses.dataclass(frozen=True)
class Part:
    """The records of one split of a task.

    Attributes:
        records: [R] ids.
        patients: [R] ids.
        labels: [R, C] int8: 1, 0, -1 (not known).
        rows: [N] the entries of the store that are their windows.
        record: [N] which record each window is of.
    """

    records: np.ndarray
    patients: np.ndarray
    labels: np.ndarray
    rows: np.ndarray
    record: np.ndarray

    def average(self, values: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The mean over each record's windows, of those that have any of the leads that were asked for.

        Args:
            values: [N, ...], of the windows.
            seen: [N] bool, which of them had any of the leads.

        Returns:
            [R, ...], zero where no window had; and [R] bool, whether any had.
        """
        count = np.bincount(self.record[seen], minlength=len(self.records))
        total = np.zeros((len(self.records), *values.shape[1:]))
        np.add.at(total, self.record[seen], values[seen])
        return total / np.maximum(count, 1).reshape(-1, *[1] * (values.ndim - 1)), count > 0

    def first_windows(self) -> "Part":
        """The same records by their first window alone."""
        first = np.unique(self.record, return_index=True)[1]
        return dataclasses.replace(self, rows=self.rows[first], record=self.record[first])


@dataclasses.dataclass(frozen=True)
class Task:
    """What is scored, on which records.

    Attributes:
        name: of the task.
        title: where the labels are from, and what a score therefore is not.
        names: C class names, as they are put to the model.
        codes: C codes of the classes; the names where a task has no others.
        parts: the records of "train", "val" and "test".
        unseen: names that no training report mentions, on purpose.
        notes: in what its results cannot be compared with published ones.
    """

    name: str
    title: str
    names: tuple[str, ...]
    codes: tuple[str, ...]
    parts: dict[str, Part]
    unseen: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def split(self) -> str:
        """The split that is scored: "test", or "val" if nothing was held out for a test."""
        return "test" if len(self.parts["test"].records) else "val"

    @property
    def checksum(self) -> str:
        """SHA-256 of the records and labels of every split."""
        digest = hashlib.sha256("\n".join(self.names).encode())
        for part in self.parts.values():
            digest.update("\n".join(part.records).encode())
            digest.update(np.ascontiguousarray(part.labels).tobytes())
        return digest.hexdigest()

    @property
    def scored(self) -> Part:
        """Its records."""
        return self.parts[self.split]

    def tuning(self) -> "Task":
        """The same task where the validation records are scored, so that something may be chosen by them.

        Raises:
            ValueError: there are none.
        """
        if not len(self.parts["val"].records):
            raise ValueError(f"{self.name}: no validation records to choose by")
        nobody = Part(*(values[:0] for values in vars(self.parts["test"]).values()))
        return dataclasses.replace(self, parts=self.parts | {"test": nobody})

    @property
    def teaches(self) -> bool:
        """Whether there are records to learn from, and to choose by."""
        return all(len(self.parts[split].records) for split in ("train", "val"))

    @property
    def counts(self) -> str:
        """How many records the splits have, in words."""
        return " / ".join(f"{len(self.parts[split].records):,}" for split in SPLITS) + " (train / val / test)"

    def check_decidable(self) -> None:
        """Raises ValueError: no validation records, beside those that are scored, to choose the thresholds of F1 by."""
        if self.split != "test" or not len(self.parts["val"].records):
            raise ValueError(f"{self.name}: F1 needs validation records, beside those that are scored")

    def check_learnable(self) -> None:
        """Raises:
        ValueError: there are no records to learn from, to choose by, or to score.
        """
        if not self.teaches or not len(self.parts["test"].records):
            raise ValueError(
                f"{self.name}: what learns from labels needs records to learn from, to choose by and to be scored on; "
                f"this store has {self.counts}"
            )


def gather(table: pd.DataFrame, records: Sequence[str], labels: np.ndarray) -> Part:
    """The windows of the named records.

    Args:
        table: of a store.
        records: R ids, each of them in the table.
        labels: [R, C] int8.
    """
    place = pd.Series(np.arange(len(records)), index=pd.Index(records, dtype=object))
    record = table["record"].map(place).to_numpy(float, na_value=np.nan)
    rows = np.flatnonzero(np.isfinite(record))
    rows = rows[np.argsort(record[rows], kind="stable")]
    record = record[rows].astype(int)
    patients = np.empty(len(records), object)
    patients[record] = table["patient"].to_numpy()[rows]
    return Part(np.asarray(records, object), patients, labels, rows, record)


def own(
    store: Store,
    entities: tuple[str, ...],
    entity_labels: np.ndarray | None,
    min_positives: int,
    learnt_from: bool = False,
) -> Task:
    """The classes that a store's held-out records can score: its own labels, or mined ones if it has none.

    Args:
        store: the store.
        entities: Q names of the training queries.
        entity_labels: [N, Q] int8, mined from the report of every entry; None if there are none.
        min_positives: classes with fewer positive, or fewer negative, held-out records are left out.
        learnt_from: whether the model that is scored learnt from the store.

    Raises:
        ValueError: no held-out record, no labels, or no class has enough positives.
    """
    manifest, table = store.manifest, store.table
    if store.label_names:
        names, labels = tuple(store.label_names.values()), store.labels().astype(np.int8)
        title = manifest["labels_title"]
        if learnt_from and store.texts_from_labels:
            title += ": trained on texts made from the labels; not zero-shot in the paper's sense"
    elif entity_labels is not None:
        names, labels = entities, entity_labels
        title = f"{manifest['labels_title']}: not comparable with the paper's six tasks"
    else:
        raise ValueError(f"store {store.path} has no labels of its own")
    first = np.flatnonzero(~table["record"].duplicated().to_numpy())  # the windows of a record share its labels
    parts = {}
    for split in SPLITS:
        rows = first[table["split"].to_numpy()[first] == split]
        parts[split] = gather(table, table["record"].to_numpy()[rows], labels[rows])
    whole = Task(manifest["cohort"], title, names, names, parts)
    scored = whole.scored.labels
    if len(scored) == 0:
        raise ValueError(f"store {store.path} has no held-out record to score (splits val and test are empty)")
    enough = np.flatnonzero(np.minimum((scored == 1).sum(0), (scored == 0).sum(0)) >= min_positives)
    if len(enough) == 0:
        raise ValueError(f"no class has {min_positives} positives among {len(scored)} {whole.split} records")
    kept = tuple(names[n] for n in enough)
    return dataclasses.replace(
        whole,
        names=kept,
        codes=kept,
        parts={name: dataclasses.replace(part, labels=part.labels[:, enough]) for name, part in parts.items()},
        unseen=tuple(store.label_names[code] for code in manifest["held_out"]),
    )
