"""The splits and labels that MERL published (github.com/cheliu-computation/MERL-ICML2024, finetune/data_split)."""

from pathlib import Path

import numpy as np
import pandas as pd

_FILES = {
    "ptb_xl.super": "ptbxl/super_class/ptbxl_super_class_{}.csv",
    "ptb_xl.sub": "ptbxl/sub_class/ptbxl_sub_class_{}.csv",
    "ptb_xl.form": "ptbxl/form/ptbxl_form_{}.csv",
    "ptb_xl.rhythm": "ptbxl/rhythm/ptbxl_rhythm_{}.csv",
    "cpsc2018": "icbeb/icbeb_{}.csv",
    "csn": "chapman/chapman_{}.csv",
    "csn_clean": "chapman/chapman_{}.csv",
}


def read(folder: Path, task: str, split: str, codes: tuple[str, ...]) -> tuple[list[str], np.ndarray]:
    """The records of a split in the order of its file, and their labels.

    The published labels of CSN set a class where its acronym is a part of the record's diagnoses written in one string:
    "ST" is set by "STTC". `csn_clean` sets it where it is one of the diagnoses.

    Args:
        folder: a clone of MERL's repository, or its folder `finetune/data_split`.
        task: one of the seven.
        split: "train", "val" or "test".
        codes: C classes.

    Returns:
        R record ids as a store has them, and [R, C] int8.

    Raises:
        FileNotFoundError: the file is not there.
        ValueError: it lacks a column, or names a record twice.
    """
    name = _FILES[task].format(split)
    paths = [root / name for root in (folder, folder / "finetune" / "data_split", folder / "data_split")]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        raise FileNotFoundError(f"{paths[0]} not found; --splits names a clone of MERL's repository")
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    needed = ["ecg_path", "diagnose"] if "diagnose" in table else ["filename" if task == "cpsc2018" else "ecg_id"]
    for column in (*needed, *codes):
        if column not in table:
            raise ValueError(f"{path} has no column {column!r}; is it MERL's file of {task}?")
    records = table[needed[0]].map(lambda cell: Path(cell).stem)
    if records.duplicated().any():
        raise ValueError(f"{path} names record {records[records.duplicated()].iloc[0]} twice")
    if task == "csn_clean":
        diagnoses = [set(cell.split(",")) for cell in table["diagnose"]]
        labels = np.array([[code in said for code in codes] for said in diagnoses], np.int8)
    else:
        labels = table[list(codes)].astype(float).to_numpy().astype(np.int8)
    return list(records), labels
