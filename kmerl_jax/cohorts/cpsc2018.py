"""CPSC2018: 6,877 ECGs of 6 to 60 seconds with nine classes, in PhysioNet's copy or as the challenge gave them out.

PhysioNet's copy (challenge-2020 1.0.2) is `training/cpsc_2018/gN/Annnn.{hea,mat}` with SNOMED CT codes in `#Dx`. The
original is `REFERENCE.csv` and files `Annnn.mat`, each a MATLAB struct. There are no reports and no patient ids.
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from kmerl_jax.cohorts import headers
from kmerl_jax.cohorts.cohort import Cohort, gather, row, split_by_patient

CLASSES = {
    "NORM": "Normal",
    "AFIB": "Atrial fibrillation",
    "1AVB": "First-degree atrioventricular block",
    "CLBBB": "Left bundle branch block",
    "CRBBB": "Right bundle branch block",
    "PAC": "Premature atrial contraction",
    "VPC": "Premature ventricular contraction",
    "STD": "ST-segment depression",
    "STE": "ST-segment elevated",
}
"""Class -> name as the challenge prints it, in the order of the challenge's numbers 1 to 9."""

# Codes that the PhysioNet/CinC Challenge 2021 scores as one are one class here.
_SNOMED = {
    "426783006": "NORM",
    "164889003": "AFIB",
    "270492004": "1AVB",
    "164909002": "CLBBB",
    "733534002": "CLBBB",
    "59118001": "CRBBB",
    "713427006": "CRBBB",
    "284470004": "PAC",
    "63593006": "PAC",
    "164884008": "VPC",
    "427172004": "VPC",
    "17338001": "VPC",
    "429622005": "STD",
    "164931005": "STE",
}
_NAMES = r"A\d{4}"
_COLUMNS = ("Recording", "First_label", "Second_label", "Third_label")


def load(source: Path) -> Cohort:
    """The cohort from a folder with either form of the data set anywhere below it; headers go before `REFERENCE.csv`.

    The split is by the record's name: MERL's depends on the order in which a file system listed the files, and cannot
    be made again.

    Raises:
        FileNotFoundError: neither form is there.
        ValueError: `REFERENCE.csv` is damaged, or a record is there twice.
    """
    found, left_out = headers.find(source, _NAMES)
    references = sorted(path for path in headers.files_below(source) if path.name == "REFERENCE.csv")
    notes = Counter()
    if found:
        labels, left, notes = _by_headers(found)
        left_out += left
    elif references:
        labels = _by_references(references)
        signals: dict[str, Path] = {}
        for path in headers.files_below(source):
            if path.suffix == ".mat" and re.fullmatch(_NAMES, path.stem):
                headers.add(signals, path)
        # A recording whose file is missing is rejected by name when it is read.
        found = {record: signals.get(record, references[0].with_name(record)) for record in labels}
        left_out = headers.named("file without a row in REFERENCE.csv", set(signals) - set(labels))
    else:
        raise FileNotFoundError(f"{source} holds neither headers Annnn.hea nor REFERENCE.csv of CPSC2018")

    def rows() -> Iterator[dict]:
        for record, codes in labels.items():
            split = split_by_patient(record, 0.1, 0.2)
            yield row(record, record, found[record], split, [CLASSES[code] for code in codes], codes)

    return Cohort(
        "cpsc2018",
        gather(rows()),
        CLASSES,
        "CPSC2018's nine classes",
        left_out=left_out,
        notes=notes,
        patient_ids=False,
        about={"text": "statements"},
    )


def _by_headers(found: dict[str, Path]) -> tuple[dict[str, list[str]], Counter, Counter]:
    """The classes of each record with a diagnosis; headers without; records with codes beside the nine classes."""
    labels, undiagnosed, strange = {}, set(), set()
    for record, path in found.items():
        codes = headers.codes(path)
        if not codes:
            undiagnosed.add(record)
            continue
        labels[record] = list(dict.fromkeys(_SNOMED[code] for code in codes if code in _SNOMED))
        if set(codes) - set(_SNOMED):
            strange.add(record)
    return (
        labels,
        headers.named("header without #Dx", undiagnosed),
        headers.named("record with a code that is none of the nine classes", strange),
    )


def _by_references(paths: list[Path]) -> dict[str, list[str]]:
    """The classes of each row, in the order of the names; each part of the data set may have a table of its own."""
    labels, classes = {}, tuple(CLASSES)
    for path in paths:
        for line, (record, *cells) in headers.cells(path, _COLUMNS):
            wrong = [cell for cell in cells if cell and cell not in map(str, range(1, 10))]
            if wrong or not any(cells):
                what = f"label {wrong[0]!r}" if wrong else "no label"
                raise ValueError(f"{path}, line {line}: {what} of {record!r}; labels are 1 to 9")
            codes = list(dict.fromkeys(classes[int(cell) - 1] for cell in cells if cell))
            if labels.setdefault(record, codes) != codes:
                raise ValueError(f"{path}, line {line}: {record} has other labels in another row")
    return dict(sorted(labels.items()))
