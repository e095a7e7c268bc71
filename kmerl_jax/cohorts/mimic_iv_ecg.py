"""MIMIC-IV-ECG 1.0 (PhysioNet): 800,035 ten-second ECGs with the carts' machine reports.

Files: `record_list.csv`, `machine_measurements.csv`, `files/pNNNN/pNNNNNNNN/sNNNNNNNN/NNNNNNNN.{hea,dat}`.
"""

from collections import Counter
from pathlib import Path

import pandas as pd

from kmerl_jax.cohorts.cohort import Cohort, join_statements, require, split_by_patient

REPORT_COLUMNS = tuple(f"report_{n}" for n in range(18))


def load(source: Path) -> Cohort:
    """The cohort from the folder that holds `record_list.csv`. It has no labels: they are mined from its reports.

    Raises:
        FileNotFoundError: one of the two tables is not there.
        ValueError: a table lacks a column, or no recording is in both.
    """
    table, left_out = read_tables(source)
    table["split"] = split_by_patient(table["patient"], val=0.01, test=0.01)
    table["labels"] = [[] for _ in range(len(table))]
    return Cohort("mimic_iv_ecg", table, {}, "mined from held-out reports", left_out=left_out)


def read_tables(source: Path) -> tuple[pd.DataFrame, Counter]:
    """Joins the two tables on study_id: their rows are not guaranteed to be in the same order.

    Returns:
        Rows with record, patient, path, statements, report; and the counts of rows that found no partner.
    """
    records = _read_csv(
        require(source / "record_list.csv", "MIMIC-IV-ECG's list of records"), ["subject_id", "study_id", "path"]
    )
    reports = _read_csv(
        require(source / "machine_measurements.csv", "MIMIC-IV-ECG's machine reports"), ["study_id", *REPORT_COLUMNS]
    )
    joined = records.merge(reports, on="study_id", how="inner", validate="one_to_one")
    left_out = Counter(
        {
            "record without a machine report": len(records) - len(joined),
            "machine report without a record": len(reports) - len(joined),
        }
    )
    statements = [[cell for cell in row if cell] for row in joined[list(REPORT_COLUMNS)].to_numpy()]
    table = pd.DataFrame(
        {
            "record": joined["study_id"],
            "patient": joined["subject_id"],
            "path": [str(source / path) for path in joined["path"]],
            "statements": statements,
            "report": [join_statements(row) for row in statements],
        }
    )
    return table, +left_out


def _read_csv(path: Path, columns: list[str]) -> pd.DataFrame:
    present = pd.read_csv(path, nrows=0).columns
    missing = [column for column in columns if column not in present]
    if missing:
        raise ValueError(f"{path} has no column {missing[0]!r}")
    return pd.read_csv(path, usecols=columns, dtype=str, keep_default_na=False)
