"""Chapman-Shaoxing-Ningbo, PhysioNet's ecg-arrhythmia 1.0.0: 45,152 ten-second ECGs with SNOMED CT codes.

Files: `ConditionNames_SNOMED-CT.csv`, `WFDBRecords/NN/NNN/JSnnnnn.{hea,mat}`. There are no reports and no patient ids.
"""

from collections.abc import Iterator
from pathlib import Path

from kmerl_jax.cohorts import headers
from kmerl_jax.cohorts.cohort import Cohort, gather, require, row, split_by_patient

CONDITIONS = "ConditionNames_SNOMED-CT.csv"
_COLUMNS = ("Acronym Name", "Full Name", "Snomed_CT")


def load(source: Path) -> Cohort:
    """The cohort from the folder that holds `ConditionNames_SNOMED-CT.csv`.

    A label is an acronym of that table. Where several share a code the first stands for it, as in MERL's preprocessing;
    a code that is not in the table stays a code. The split is by the record's name: MERL's depends on the order in
    which a file system listed the files, and cannot be made again.

    Raises:
        FileNotFoundError: the table is missing.
        ValueError: it lacks a column, or a record is there twice.
    """
    names, acronyms = conditions(require(source / CONDITIONS, "CSN's table of conditions"))
    found, left_out = headers.find(source, r"JS\d{5}")
    undiagnosed, strange, unknown = set(), set(), set()

    def rows() -> Iterator[dict]:
        for record, path in found.items():
            codes = headers.codes(path)
            if not codes:
                undiagnosed.add(record)
                continue
            if new := set(codes) - set(acronyms):
                strange.add(record)
                unknown.update(new)
            labels = list(dict.fromkeys(acronyms.get(code, code) for code in codes))
            said = [names.get(label, label) for label in labels]
            yield row(record, record, path, split_by_patient(record, 0.1, 0.2), said, labels)

    table = gather(rows())
    return Cohort(
        "csn",
        table,
        names | {code: code for code in sorted(unknown)},
        "CSN's SNOMED CT codes",
        left_out=left_out + headers.named("header without #Dx", undiagnosed),
        notes=headers.named(f"record with a code that {CONDITIONS} does not name", strange),
        patient_ids=False,
        about={"text": "statements"},
    )


def conditions(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Acronym -> name as the table prints it, in its order; and SNOMED CT code -> the first acronym that has it.

    Raises:
        ValueError: a column is missing.
    """
    names, acronyms = {}, {}
    for _, (acronym, name, code) in headers.cells(path, _COLUMNS):
        names[acronym] = name
        acronyms.setdefault(code, acronym)
    return names, acronyms
