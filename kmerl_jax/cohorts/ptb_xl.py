"""PTB-XL 1.0.3 (PhysioNet): 21,799 ten-second ECGs with SCP-ECG statements and German reports.

Files: `ptbxl_database.csv`, `scp_statements.csv`, `records100/` and `records500/`.
"""

import ast
from collections import Counter
from pathlib import Path

import pandas as pd

from kmerl_jax.cohorts.cohort import Cohort, join_statements, require

TEXTS = ("statements", "german")
_FOLDERS = {100: ("records100", "filename_lr"), 500: ("records500", "filename_hr")}


def load(source: Path, rate: int = 500, text: str = "statements") -> Cohort:
    """The cohort from the folder that holds `ptbxl_database.csv`, with the data set's own folds: 9 is val, 10 test.

    A label is an SCP-ECG statement whatever its likelihood, 0 (unknown) included, as MERL counts them.

    Args:
        source: the folder.
        rate: 100 or 500, which of the two copies of the signals is read; a store holds one.
        text: "statements" for the English descriptions of the SCP-ECG statements, "german" for the report as written.
            Entities are mined from the descriptions either way.

    Raises:
        FileNotFoundError: a table or the folder of signals is missing.
        ValueError: an unknown rate or text, or a statement that `scp_statements.csv` does not describe.
    """
    if rate not in _FOLDERS:
        raise ValueError(f"PTB-XL has no copy at {rate} Hz; --rate is 100 or 500")
    if text not in TEXTS:
        raise ValueError(f"unknown text {text!r} of PTB-XL; --text is {' or '.join(TEXTS)}")
    folder, column = _FOLDERS[rate]
    database = pd.read_csv(require(source / "ptbxl_database.csv", "PTB-XL's table of records"))
    names = descriptions(pd.read_csv(require(source / "scp_statements.csv", "PTB-XL's statements"), index_col=0))
    require(source / folder, f"PTB-XL's signals at {rate} Hz")

    codes = [list(ast.literal_eval(cell)) for cell in database["scp_codes"]]
    unknown = {code for row in codes for code in row} - set(names)
    if unknown:
        raise ValueError(f"scp_statements.csv does not describe {', '.join(sorted(unknown))}")
    statements = [[names[code] for code in row] for row in codes]
    german = database["report"].fillna("").astype(str)
    table = pd.DataFrame(
        {
            "record": database["ecg_id"].astype(str),
            "patient": database["patient_id"].astype(int).astype(str),
            "path": [str(source / name) for name in database[column]],
            "split": database["strat_fold"].map(lambda fold: {9: "val", 10: "test"}.get(fold, "train")),
            "statements": statements,
            "report": list(german) if text == "german" else [join_statements(row) for row in statements],
            "labels": codes,
        }
    )
    listed = set(table["path"])
    headers = {str(path.with_suffix("")) for path in (source / folder).glob("*/*.hea")}
    left_out = Counter({"file without a row in ptbxl_database.csv": len(headers - listed)})
    return Cohort("ptb_xl", table, names, "SCP-ECG statements", left_out=+left_out, about={"rate": rate, "text": text})


def descriptions(statements: pd.DataFrame) -> dict[str, str]:
    """The English description of each SCP-ECG code, in the order of `scp_statements.csv`.

    The ischaemia codes describe only where ("ischemic in anterolateral leads"); their category says what.
    """
    names = {}
    for code, row in statements.iterrows():
        description = row["description"]
        if description.startswith("ischemic in "):
            description = f"{row['Statement Category']} {row['SCP-ECG Statement Description']}"
        names[str(code)] = description
    return names
