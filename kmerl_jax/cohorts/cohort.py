"""What every cohort is: a table of recordings with patient, split, text and labels."""

import dataclasses
import hashlib
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

SPLITS = ("train", "val", "test")
_TEXTS = pa.list_(pa.dictionary(pa.int32(), pa.string()))  # 800,035 reports are made of 3,900 statements
SCHEMA = pa.schema(
    {
        "record": pa.string(),
        "patient": pa.string(),
        "path": pa.string(),
        "split": pa.string(),
        "statements": _TEXTS,
        "report": pa.string(),
        "words": pa.int32(),
        "labels": _TEXTS,
    }
)
_BATCH = 10_000  # rows that are Python objects at a time


@dataclasses.dataclass(frozen=True)
class Cohort:
    """A data set's recordings and what is known of each.

    Attributes:
        name: the cohort's name.
        table: one row a recording, with the columns of `SCHEMA`: record and patient ids, path of the recording, split,
            statements (what entities are mined from), report (as written: what the ECG is contrasted with), its number
            of words as MERL counts them, label codes. In Arrow, because MIMIC-IV-ECG in Python's objects is 3 GB.
        label_names: the name in words of each label code, in the order in which tables show them; empty if the cohort
            has no labels.
        labels_title: where the labels come from, as printed above every score.
        held_out: label codes that no report mentions, on purpose.
        left_out: rows of the data set's own tables that are not in `table`, counted by reason.
        notes: what is odd about rows that are in `table`, counted.
        patient_ids: whether the data set says which recordings are of one patient; where it does not, each recording
            counts as a patient.
        about: what else a store's manifest should say of the cohort.
    """

    name: str
    table: pa.Table
    label_names: dict[str, str]
    labels_title: str
    held_out: tuple[str, ...] = ()
    left_out: Counter = dataclasses.field(default_factory=Counter)
    notes: Counter = dataclasses.field(default_factory=Counter)
    patient_ids: bool = True
    about: dict = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        if self.table.schema != SCHEMA:
            raise ValueError(f"cohort {self.name}: its table has columns {self.table.schema}; expected {SCHEMA}")
        if self.table.num_rows == 0:
            reasons = ", ".join(f"{count:,} x {reason}" for reason, count in sorted(self.left_out.items()))
            raise ValueError(f"cohort {self.name}: no recording found" + (f" ({reasons})" if reasons else ""))

    def summary(self) -> str:
        """What the tables hold, as lines of a table; nothing of it needs a signal."""
        split = Counter(self.table["split"].to_pylist())
        length = np.array(self.table["words"])
        patients = pc.count_distinct(self.table["patient"]).as_py()
        labels = Counter(pc.list_flatten(self.table["labels"]).to_pylist())
        return "\n".join(
            [
                f"cohort {self.name}: {self.table.num_rows:,} records of {patients:,} patients "
                f"({', '.join(f'{name} {split[name]:,}' for name in SPLITS)})",
                *([] if self.patient_ids else ["  the data set has no patient ids: each record counts as a patient"]),
                f"  reports  {np.sum(length > 0):>9,}  records with a report",
                f"  reports  {np.sum(length >= 4):>9,}  records with a report of four words or more",
                *(f"  left out {count:>9,}  {reason}" for reason, count in sorted(self.left_out.items())),
                *(f"  note     {count:>9,}  {what}" for what, count in sorted(self.notes.items())),
                *(f"  label    {labels[code]:>9,}  {code}: {name}" for code, name in self.label_names.items()),
            ]
        )


def row(
    record: str,
    patient: str,
    path: Path | str,
    split: str,
    statements: Sequence[str],
    labels: Sequence[str],
    report: str | None = None,
) -> dict:
    """One row of a cohort's table; the report is that of its statements unless another is given."""
    return {
        "record": record,
        "patient": patient,
        "path": str(path),
        "split": split,
        "statements": statements,
        "report": join_statements(statements) if report is None else report,
        # Counted before statements lose their full stops: MERL counts one that stands alone.
        "words": words(". ".join(statements) if report is None else report),
        "labels": labels,
    }


def gather(rows: Iterable[dict]) -> pa.Table:
    """A cohort's table out of `row`s, of which few are ever held at once."""
    rows, parts = iter(rows), []
    while part := list(itertools.islice(rows, _BATCH)):
        parts.append(pa.RecordBatch.from_pylist(part, SCHEMA))
    return pa.Table.from_batches(parts, SCHEMA)


def batches(table: pa.Table) -> Iterator[list[dict]]:
    """The rows of a table as Python objects, few at a time."""
    return (table.slice(start, _BATCH).to_pylist() for start in range(0, table.num_rows, _BATCH))


def split_by_patient(patient: str, val: float, test: float) -> str:
    """A patient's split, decided by the id alone, so that no patient is ever on two sides.

    Args:
        patient: id.
        val: share of patients in "val".
        test: share of patients in "test".
    """
    place = int.from_bytes(hashlib.sha256(patient.encode()).digest()[:8]) / 2**64
    return "test" if place < test else "val" if place < test + val else "train"


def require(path: Path, what: str) -> Path:
    """The path, if it exists.

    Raises:
        FileNotFoundError: it does not; the message says what was expected there.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} not found: {what}")
    return path


def below(folder: Path, path: str) -> Path:
    """A recording's path as a data set's table gives it, relative to the folder.

    Raises:
        ValueError: it leaves the folder. A table is data that somebody downloaded.
    """
    if path.startswith("/") or ".." in path.split("/"):
        raise ValueError(f"a table in {folder} names the recording {path!r}, which is not below it; not read")
    return folder / path


def join_statements(statements: Sequence[str]) -> str:
    """One report out of a cart's statements, as MERL joins them: ". " between two."""
    return ". ".join(statement.strip().rstrip(".") for statement in statements)


def words(report: str) -> int:
    """Number of words of a report, as MERL counts them before it leaves out those under four.

    Frames of asterisks and dashes around the whole report do not count; those inside it do.

    Args:
        report: the non-empty cells of report_0 .. report_17 as written, joined by ". ".

    Source: MERL's preprocessing notebook, which keeps 771,693 of MIMIC-IV-ECG's 800,035 reports by this rule.
    """
    return len(report.replace("EKG", "ECG").strip(" *").strip("=-").strip("=").split())
