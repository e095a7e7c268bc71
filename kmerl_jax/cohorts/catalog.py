"""Which cohorts there are, by name."""

from pathlib import Path

from kmerl_jax.cohorts import demo, mimic_iv_ecg, ptb_xl
from kmerl_jax.cohorts.cohort import Cohort

NAMES = ("demo", "mimic_iv_ecg", "ptb_xl")


def load(name: str, source: Path, rate: int | None = None, text: str | None = None) -> Cohort:
    """The cohort of that name, from the folder of its files.

    Args:
        name: one of `NAMES`.
        source: the folder.
        rate: which copy of PTB-XL's signals to read; the other cohorts have one.
        text: which text of PTB-XL to pair with the ECG; the other cohorts have one.

    Raises:
        FileNotFoundError: the folder or one of its tables is missing.
        ValueError: an unknown cohort, or an option that the cohort does not have.
    """
    if name not in NAMES:
        raise ValueError(f"unknown cohort {name!r}; cohorts are {', '.join(NAMES)}")
    if not source.is_dir():
        raise FileNotFoundError(f"no folder {source}; --source names the folder of the cohort's files")
    if name == "ptb_xl":
        return ptb_xl.load(source, **{k: v for k, v in {"rate": rate, "text": text}.items() if v is not None})
    if rate is not None or text is not None:
        raise ValueError(f"--{'rate' if rate is not None else 'text'} is an option of ptb_xl; {name} has one only")
    return demo.load(source) if name == "demo" else mimic_iv_ecg.load(source)
