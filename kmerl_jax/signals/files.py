"""Reading recordings from files: WFDB in every format that the wfdb package reads."""

from pathlib import Path

import numpy as np
import wfdb

from kmerl_jax.signals import leads
from kmerl_jax.signals.waveform import Ecg

_MILLIVOLTS = {"mv": 1.0, "uv": 1e-3, "µv": 1e-3, "μv": 1e-3, "nv": 1e-6, "v": 1e3}


def read_wfdb(path: str | Path) -> Ecg:
    """Reads a WFDB record: a `.hea` header with its `.dat` or `.mat` signals.

    Channels that are none of the 12 leads (Frank leads, blood pressure, ...) are left out. Samples that the file marks
    as missing become NaN.

    Args:
        path: the record, with or without extension.

    Raises:
        FileNotFoundError: the header or a signal file does not exist.
        ValueError: a damaged file (truncated, wrong checksum), an unknown unit, a lead twice, no ECG lead at all, or a
            header that points outside its folder.
    """
    path = Path(path)
    stem = path.with_suffix("") if path.suffix in (".hea", ".dat", ".mat") else path
    header = stem.with_name(stem.name + ".hea")
    if not header.is_file():
        raise FileNotFoundError(f"no WFDB header {header}")
    _check_signal_files(header)
    try:
        record = wfdb.rdrecord(str(stem), physical=False)
        wrong = [
            name
            for name, stated, found in zip(record.sig_name, record.checksum, record.calc_checksum(), strict=True)
            if stated is not None and (stated - found) % 65536
        ]
        if wrong:
            raise ValueError(f"checksum of lead {wrong[0]} differs from its header: the file is damaged")
        physical = record.dac()
    except Exception as error:  # wfdb raises whatever its parsing runs into
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{stem}: {reason}") from error
    return _named_leads(stem, physical.T, record.sig_name, record.units, float(record.fs))


def _check_signal_files(header: Path) -> None:
    """A header is data: the files that it names must lie beside it."""
    lines = header.read_text(encoding="latin-1").splitlines()
    lines = [line for line in lines if line.strip() and not line.startswith("#")]
    for line in lines[1:]:
        name = line.split()[0]
        if Path(name).name != name or "\\" in name:
            raise ValueError(f"{header}: its signal file {name!r} points outside the folder; not read")
        if name != "~" and not header.with_name(name).is_file() and not header.with_name(name + ".hea").is_file():
            raise FileNotFoundError(f"{header}: its signal file {name} is missing")


def _named_leads(stem: Path, signal: np.ndarray, names: list[str], units: list[str], rate: float) -> Ecg:
    rows, kept = [], []
    for row, name, unit in zip(signal, names, units, strict=True):
        lead = leads.canonical(name)
        if lead is None:
            continue
        if lead in kept:
            raise ValueError(f"{stem}: lead {lead} is there twice")
        if unit.lower() not in _MILLIVOLTS:
            raise ValueError(f"{stem}: unit {unit!r} of lead {lead} is not a voltage")
        kept.append(lead)
        rows.append(row * _MILLIVOLTS[unit.lower()])
    if not kept:
        raise ValueError(f"{stem}: none of its channels ({', '.join(names)}) is an ECG lead")
    return Ecg(np.stack(rows), tuple(kept), rate)
