"""A cohort of one's own: a CSV with one row a recording.

Columns `path` (a WFDB record, relative to the CSV; with or without extension) and `patient` are required. `record` (an
id; default: the path), `report`, `labels` (codes joined by "|") and `split` (train, val or test; default: 10 % of the
patients validate, 20 % test) are optional.
"""

import csv
import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from kmerl_jax.cohorts.cohort import SPLITS, Cohort, gather, row, split_by_patient

REQUIRED = ("path", "patient")
OPTIONAL = ("record", "report", "labels", "split")
_FILLED = ("path", "patient", "record", "split")  # a report and labels may be empty
_STATEMENT_END = re.compile(r"\.\s+|\n+")


def load(source: Path) -> Cohort:
    """The cohort from a CSV.

    Without a column `report`, a recording's report is its labels: texts are then made from labels.

    Raises:
        ValueError: a column is missing or unknown, or a row is wrong; the message names its line.
    """
    codes: set[str] = set()
    sides: dict[str, set[str]] = defaultdict(set)
    paths = hashlib.sha256()
    try:
        with open(source, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or []
            _check_columns(source, columns)
            table = gather(_rows(source, reader, codes, sides, paths))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{source} is no CSV in UTF-8: {error}") from error
    crossing = sum(len(splits) > 1 for splits in sides.values())
    return Cohort(
        "table",
        table,
        {code: code for code in sorted(codes)},
        f"labels of {source.name}",
        notes=+Counter({"patient with records in more than one split": crossing}),
        # Of a table alone the paths say which recordings are meant: other cohorts' are found by the record's name.
        about={"text": "report" if "report" in columns else "statements", "paths": paths.hexdigest()},
    )


def _check_columns(source: Path, columns: Sequence[str]) -> None:
    missing = [column for column in REQUIRED if column not in columns]
    unknown = [column for column in columns if column not in (*REQUIRED, *OPTIONAL)]
    twice = [column for column, count in Counter(columns).items() if count > 1]
    if missing:
        raise ValueError(f"{source} has no column {missing[0]!r}; {', '.join(REQUIRED)} are required")
    if unknown:
        raise ValueError(f"{source}: unknown column {unknown[0]!r}; columns are {', '.join((*REQUIRED, *OPTIONAL))}")
    if twice:
        raise ValueError(f"{source} has the column {twice[0]!r} twice")


def _rows(source: Path, reader: csv.DictReader, codes: set[str], sides: dict[str, set[str]], paths) -> Iterator[dict]:
    lines: dict[str, int] = {}
    for cells in reader:
        try:
            one = _row(source.parent, cells)
            if one["record"] in lines:
                raise ValueError(f"record {one['record']!r} is there already, in line {lines[one['record']]}")
        except ValueError as error:
            raise ValueError(f"{source}, line {reader.line_num}: {error}") from error
        lines[one["record"]] = reader.line_num
        codes.update(one["labels"])
        sides[one["patient"]].add(one["split"])
        paths.update(cells["path"].strip().encode() + b"\n")
        yield one


def _row(folder: Path, cells: dict) -> dict:
    if None in cells or None in cells.values():
        raise ValueError(f"{'more' if None in cells else 'fewer'} cells than the table has columns")
    cells = {column: cell.strip() for column, cell in cells.items()}
    empty = [column for column in _FILLED if cells.get(column) == ""]
    if empty:
        raise ValueError(f"{empty[0]} is empty")
    split = cells.get("split") or split_by_patient(cells["patient"], 0.1, 0.2)
    if split not in SPLITS:
        raise ValueError(f"split {split!r} is none of {', '.join(SPLITS)}")
    labels = [label.strip() for label in cells["labels"].split("|")] if cells.get("labels") else []
    if "" in labels or len(set(labels)) < len(labels):
        raise ValueError(f"labels {cells['labels']!r} have an empty label, or one twice")
    report = cells.get("report")
    said = labels if report is None else [statement for statement in _STATEMENT_END.split(report) if statement]
    record = cells.get("record") or cells["path"]
    return row(record, cells["patient"], folder / cells["path"], split, said, labels, report)
