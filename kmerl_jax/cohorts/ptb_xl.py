"""PTB-XL 1.0.3 (PhysioNet): 21,799 ten-second ECGs with SCP-ECG statements and German reports.

Files: `ptbxl_database.csv`, `scp_statements.csv`, `records100/` and `records500/`.
"""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from kmerl_jax.cohorts.cohort import Cohort, below, gather, require, row

TEXTS = ("statements", "german")
FOLDS = (9, 10)  # the data set's own proposal
_FOLDERS = {100: ("records100", "filename_lr"), 500: ("records500", "filename_hr")}


def load(source: Path, rate: int = 500, text: str = "statements", folds: tuple[int, int] = FOLDS) -> Cohort:
    """The cohort from the folder that holds `ptbxl_database.csv`, split by the data set's own folds.

    A label is an SCP-ECG statement whatever its likelihood, 0 (unknown) included, as MERL counts them.

    Args:
        source: the folder.
        rate: 100 or 500, which of the two copies of the signals is read; a store holds one.
        text: "statements" for the English descriptions of the SCP-ECG statements, "german" for the report as written.
            Entities are mined from the descriptions either way.
        folds: the fold that validates and the one that is scored. The folds below both train, all others are left out.

    Raises:
        FileNotFoundError: a table is missing.
        ValueError: an unknown rate, text or fold, or a statement that `scp_statements.csv` does not describe.
    """
    if rate not in _FOLDERS:
        raise ValueError(f"PTB-XL has no copy at {rate} Hz; --rate is 100 or 500")
    if text not in TEXTS:
        raise ValueError(f"unknown text {text!r} of PTB-XL; --text is {' or '.join(TEXTS)}")
    val, test = folds
    if val == test or min(folds) < 2 or max(folds) > 10:
        raise ValueError(f"--folds={val},{test}: two different folds of 2 to 10, the lower ones train")
    folder, column = _FOLDERS[rate]
    database = pd.read_csv(require(source / "ptbxl_database.csv", "PTB-XL's table of records"))
    names = descriptions(pd.read_csv(require(source / "scp_statements.csv", "PTB-XL's statements"), index_col=0))

    codes = [list(ast.literal_eval(cell)) for cell in database["scp_codes"]]
    unknown = {code for labels in codes for code in labels} - set(names)
    if unknown:
        raise ValueError(f"scp_statements.csv does not describe {', '.join(sorted(unknown))}")
    listed = {str(source / name) for name in database[column]}
    headers = {str(path.with_suffix("")) for path in (source / folder).glob("*/*.hea")}
    left_out = Counter({"file without a row in ptbxl_database.csv": len(headers - listed)})
    splits = {**dict.fromkeys(range(1, min(folds)), "train"), val: "val", test: "test"}

    def rows() -> Iterator[dict]:
        for line, labels in zip(database.fillna({"report": ""}).to_dict("records"), codes, strict=True):
            if line["strat_fold"] not in splits:
                left_out[f"record of fold {line['strat_fold']}"] += 1
                continue
            yield row(
                str(line["ecg_id"]),
                str(int(line["patient_id"])),
                below(source, line[column]),
                splits[line["strat_fold"]],
                [names[code] for code in labels],
                labels,
                report=str(line["report"]) if text == "german" else None,
            )

    table = gather(rows())
    about = {"rate": rate, "text": text, "folds": list(folds)}
    return Cohort("ptb_xl", table, names, "SCP-ECG statements", left_out=+left_out, about=about)


def descriptions(statements: pd.DataFrame) -> dict[str, str]:
    """The English description of each SCP-ECG code, in the order of `scp_statements.csv`.

    The ischaemia codes describe only where ("ischemic in anterolateral leads"); their category says what.
    """
    names = {}
    for code, line in statements.iterrows():
        description = line["description"]
        if description.startswith("ischemic in "):
            description = f"{line['Statement Category']} {line['SCP-ECG Statement Description']}"
        names[str(code)] = description
    return names
