"""What every cohort is: a table of recordings with patient, split, text and labels."""

import dataclasses
import hashlib
from collections import Counter
from pathlib import Path

import pandas as pd

SPLITS = ("train", "val", "test")
COLUMNS = ("record", "patient", "path", "split", "statements", "report", "labels")


@dataclasses.dataclass(frozen=True)
class Cohort:
    """A data set's recordings and what is known of each.

    Attributes:
        name: the cohort's name.
        table: one row a recording, with `COLUMNS`: record and patient ids (str), path of the WFDB record, split,
            statements (list of str: what entities are mined from), report (str, as written: what the ECG is contrasted
            with), labels (list of codes).
        label_names: the name in words of each label code, in the order in which tables show them; empty if the cohort
            has no labels.
        labels_title: where the labels come from, as printed above every score.
        held_out: label codes that no report mentions, on purpose.
        left_out: rows of the data set's own tables that are not in `table`, counted by reason.
        about: what else a store's manifest should say of the cohort.
    """

    name: str
    table: pd.DataFrame
    label_names: dict[str, str]
    labels_title: str
    held_out: tuple[str, ...] = ()
    left_out: Counter = dataclasses.field(default_factory=Counter)
    about: dict = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        missing = set(COLUMNS) - set(self.table.columns)
        if missing:
            raise ValueError(f"cohort {self.name}: its table lacks {', '.join(sorted(missing))}")
        if self.table.empty:
            raise ValueError(f"cohort {self.name}: no recording found")


def split_by_patient(patients: pd.Series, val: float, test: float) -> pd.Series:
    """A split for each row, decided by the patient's id alone, so that no patient is ever on two sides.

    Args:
        patients: ids.
        val: share of patients in "val".
        test: share of patients in "test".
    """

    def split(patient: str) -> str:
        place = int.from_bytes(hashlib.sha256(str(patient).encode()).digest()[:8]) / 2**64
        return "test" if place < test else "val" if place < test + val else "train"

    return patients.map({patient: split(patient) for patient in patients.unique()})


def require(path: Path, what: str) -> Path:
    """The path, if it exists.

    Raises:
        FileNotFoundError: it does not; the message says what was expected there.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} not found: {what}")
    return path


def join_statements(statements: list[str]) -> str:
    """One report out of a cart's statements, as MERL joins them: ". " between two."""
    return ". ".join(statement.strip().rstrip(".") for statement in statements)
