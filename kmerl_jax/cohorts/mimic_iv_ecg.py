"""MIMIC-IV-ECG 1.0 (PhysioNet): 800,035 ten-second ECGs with the carts' machine reports.

Files: `record_list.csv`, `machine_measurements.csv`, `files/pNNNN/pNNNNNNNN/sNNNNNNNN/NNNNNNNN.{hea,dat}`.
"""

import csv
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from kmerl_jax.cohorts.cohort import SCHEMA, Cohort, batches, below, gather, require, row, split_by_patient

REPORT_COLUMNS = tuple(f"report_{n}" for n in range(18))


def load(source: Path) -> Cohort:
    """The cohort from the folder that holds `record_list.csv`. It has no labels: they are mined from its reports.

    Raises:
        FileNotFoundError: one of the two tables is not there.
        ValueError: a table is damaged, lacks a column or has a study twice, or no recording is in both.
    """
    table, left_out = read_tables(source, lambda patient: split_by_patient(patient, 0.01, 0.01), lambda record: [])
    return Cohort("mimic_iv_ecg", table, {}, "mined from held-out reports", left_out=left_out)


def read_tables(
    source: Path, split: Callable[[str], str], labels: Callable[[str], list[str]]
) -> tuple[pa.Table, Counter]:
    """Joins the two tables on study_id: their rows are not guaranteed to be in the same order.

    Args:
        source: the folder.
        split: of a patient.
        labels: of a record.

    Returns:
        A cohort's table; and the counts of rows that found no partner.
    """
    records = pa.Table.from_batches(
        _read_csv(
            require(source / "record_list.csv", "MIMIC-IV-ECG's list of records"), ["subject_id", "study_id", "path"]
        )
    )
    reports = _read_reports(require(source / "machine_measurements.csv", "MIMIC-IV-ECG's machine reports"))
    _check_unique(source / "record_list.csv", records["study_id"])
    _check_unique(source / "machine_measurements.csv", reports["study_id"])
    place = pc.index_in(records["study_id"], value_set=reports["study_id"].combine_chunks()).combine_chunks()
    joined = records.append_column("place", place).filter(place.is_valid())
    left_out = Counter(
        {
            "record without a machine report": len(records) - len(joined),
            "machine report without a record": len(reports) - len(joined),
        }
    )
    reports = reports["statements"].combine_chunks()

    def rows() -> Iterator[dict]:
        for batch in batches(joined):
            statements = reports.take(pa.array([line["place"] for line in batch])).to_pylist()
            for line, cells in zip(batch, statements, strict=True):
                record, patient = line["study_id"], line["subject_id"]
                yield row(record, patient, below(source, line["path"]), split(patient), cells, labels(record))

    return gather(rows()), +left_out


def _read_reports(path: Path) -> pa.Table:
    """study_id and statements, the non-empty cells of each row: a tenth of what the eighteen columns take."""

    def statements() -> Iterator[pa.RecordBatch]:
        for batch in _read_csv(path, ["study_id", *REPORT_COLUMNS]):
            cells = zip(*(batch[column].to_pylist() for column in REPORT_COLUMNS), strict=True)
            lists = pa.array([[cell for cell in line if cell] for line in cells], SCHEMA.field("statements").type)
            yield pa.record_batch({"study_id": batch["study_id"], "statements": lists})

    return pa.Table.from_batches(statements())


def _read_csv(path: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Some columns of a table as strings, some thousand rows at a time; an empty cell is an empty string."""
    with open(path, newline="", encoding="utf-8-sig", errors="replace") as file:
        present = next(csv.reader(file), [])
    missing = [column for column in columns if column not in present]
    if missing:
        raise ValueError(f"{path} has no column {missing[0]!r}")
    try:
        with pyarrow.csv.open_csv(
            path,
            parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
            convert_options=pyarrow.csv.ConvertOptions(
                include_columns=columns, column_types=dict.fromkeys(columns, pa.string())
            ),
        ) as reader:
            yield from reader
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def _check_unique(path: Path, ids: pa.ChunkedArray) -> None:
    if pc.count_distinct(ids).as_py() < len(ids):
        counts = pc.value_counts(ids)
        twice = counts.filter(pc.greater(counts.field("counts"), 1))[0]["values"]
        raise ValueError(f"{path} has study_id {twice} twice")
