"""Headers of the PhysioNet challenges, with a recording's diagnoses as SNOMED CT codes in `#Dx`, and their tables."""

import csv
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

_DX = re.compile(r"^#\s*Dx\s*:(.*)$", re.MULTILINE | re.IGNORECASE)


def find(source: Path, names: str) -> tuple[dict[str, Path], Counter]:
    """The records anywhere below a folder.

    Args:
        source: the folder.
        names: pattern of the data set's record names; other data sets may lie beside it.

    Returns:
        Record -> path without extension, in the order of the names; and the counts of files that are no record of the
        data set.

    Raises:
        ValueError: a record is there twice.
    """
    pattern, found, signals, others = re.compile(names), {}, set(), 0
    for path in files_below(source):
        if path.suffix == ".mat" and pattern.fullmatch(path.stem):
            signals.add(path.stem)
        elif path.suffix == ".hea" and pattern.fullmatch(path.stem):
            add(found, path)
        elif path.suffix == ".hea":
            others += 1
    left_out = Counter({"header of another data set": others})
    left_out += named("signal file without a header", signals - set(found))
    return dict(sorted(found.items())), left_out


def files_below(folder: Path) -> Iterator[Path]:
    """All files below a folder, those behind links to other folders too."""
    for inner, _, names in os.walk(folder, followlinks=True):
        yield from (Path(inner, name) for name in names)


def add(found: dict[str, Path], path: Path) -> None:
    """Puts a record's file under its name, without the extension.

    Raises:
        ValueError: there is another of that name.
    """
    record, path = path.stem, path.with_suffix("")
    if found.setdefault(record, path) != path:
        first, second = sorted((found[record], path))
        raise ValueError(f"record {record} is there twice: {first} and {second}")


def cells(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """The line number of each row of a data set's small table, and its cells in some columns.

    Raises:
        ValueError: a column is missing.
    """
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        missing = [column for column in columns if column not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(f"{path} has no column {missing[0]!r}")
        for line in reader:
            yield reader.line_num, [(line[column] or "").strip() for column in columns]


def codes(path: Path) -> list[str]:
    """The SNOMED CT codes in `#Dx` of a record's header, each once; none if it is damaged or cannot be read.

    Args:
        path: the record, without extension.
    """
    # By hand: wfdb takes some milliseconds a header, and stops at those that are damaged.
    try:
        text = path.with_name(path.name + ".hea").read_text(encoding="latin-1")
    except OSError:
        return []
    return list(dict.fromkeys(re.findall(r"\d+", " ".join(_DX.findall(text)))))


def named(reason: str, records: Iterable[str]) -> Counter:
    """A count of records with the names of the first few: a data set's few damaged files are worth naming."""
    records = sorted(records)
    if not records:
        return Counter()
    return Counter({f"{reason} ({', '.join(records[:3])}{', ...' if len(records) > 3 else ''})": len(records)})
