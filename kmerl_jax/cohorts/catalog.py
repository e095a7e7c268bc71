"""Which cohorts there are, by name."""

from pathlib import Path

from kmerl_jax.cohorts import cpsc2018, csn, demo, mimic_iv_ecg, ptb_xl, table
from kmerl_jax.cohorts.cohort import Cohort

_COHORTS = {
    "demo": demo,
    "mimic_iv_ecg": mimic_iv_ecg,
    "ptb_xl": ptb_xl,
    "cpsc2018": cpsc2018,
    "csn": csn,
    "table": table,
}
NAMES = tuple(_COHORTS)


def load(
    name: str,
    source: Path,
    rate: int | None = None,
    text: str | None = None,
    folds: tuple[int, int] | None = None,
) -> Cohort:
    """The cohort of that name, from its files. Reads tables and headers, no signal.

    Args:
        name: one of `NAMES`.
        source: the folder; of a table, the CSV.
        rate: which copy of PTB-XL's signals to read; the other cohorts have one.
        text: which text of PTB-XL to pair with the ECG; the other cohorts have one.
        folds: which folds of PTB-XL validate and are scored; the other cohorts have none.

    Raises:
        FileNotFoundError: the folder or one of its tables is missing.
        ValueError: an unknown cohort, or an option that the cohort does not have.
    """
    if name not in NAMES:
        raise ValueError(f"unknown cohort {name!r}; cohorts are {', '.join(NAMES)}")
    if name == "table" and not source.is_file():
        raise FileNotFoundError(f"no file {source}; --source names the CSV of the cohort's recordings")
    if name != "table" and not source.is_dir():
        raise FileNotFoundError(f"no folder {source}; --source names the folder of the cohort's files")
    options = {"rate": rate, "text": text, "folds": folds}
    options = {option: value for option, value in options.items() if value is not None}
    if options and name != "ptb_xl":
        raise ValueError(f"--{next(iter(options))} is an option of ptb_xl; {name} does not have it")
    return _COHORTS[name].load(source, **options)
