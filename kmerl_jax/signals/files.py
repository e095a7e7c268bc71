"""Reading recordings from files: WFDB in every format that the wfdb package reads, and CPSC2018's original files."""

from pathlib import Path

import numpy as np

from kmerl_jax.signals import leads, plain
from kmerl_jax.signals.waveform import Ecg

_MILLIVOLTS = {"mv": 1.0, "uv": 1e-3, "µv": 1e-3, "μv": 1e-3, "nv": 1e-6, "v": 1e3}
_STRUCT_RATE = 500.0  # Hz of every original CPSC2018 file, which does not say so itself


def read(path: str | Path) -> Ecg:
    """Reads a recording of any kind: WFDB where there is a header, else an original CPSC2018 file.

    Args:
        path: the recording, with or without extension.

    Raises:
        FileNotFoundError: there is neither a header nor a `.mat` file, or a signal file is missing.
        ValueError: the file is damaged or of another form; see `read_wfdb` and `read_struct`.
    """
    stem = _stem(Path(path))
    mat = stem.with_name(stem.name + ".mat")
    if mat.is_file() and not stem.with_name(stem.name + ".hea").is_file():
        return read_struct(mat)
    return read_wfdb(stem)


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
    stem = _stem(Path(path))
    header = stem.with_name(stem.name + ".hea")
    if not header.is_file():
        raise FileNotFoundError(f"no WFDB header {header}")
    lines = _lines(header)
    _check_signal_files(header, lines)
    try:
        record = plain.read(header, lines) or _read_by_wfdb(stem)
    except Exception as error:  # wfdb raises whatever its parsing runs into
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{stem}: {reason}") from error
    return _named_leads(stem, record)


def read_struct(path: str | Path) -> Ecg:
    """Reads an original CPSC2018 file: a MATLAB struct `ECG` whose `data` is [12, S], mV at 500 Hz, in standard order.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no MATLAB file, is damaged, or holds something else.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    import scipy.io  # as late as wfdb below

    try:
        struct = scipy.io.loadmat(path, variable_names=["ECG"]).get("ECG")
    except Exception as error:  # scipy raises whatever its parsing runs into
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path}: not a MATLAB file that can be read: {reason}") from error
    if not isinstance(struct, np.ndarray) or "data" not in (struct.dtype.names or ()) or struct.size != 1:
        raise ValueError(f"{path}: no struct ECG with a field data in it, and no WFDB header beside it")
    data = struct["data"].item()
    if not isinstance(data, np.ndarray) or data.dtype.kind not in "iuf":
        raise ValueError(f"{path}: ECG.data does not hold real numbers")
    if data.ndim != 2 or len(data) != len(leads.STANDARD) or data.shape[1] == 0:
        raise ValueError(f"{path}: ECG.data has shape {data.shape}; expected (12, samples)")
    return Ecg(data, leads.STANDARD, _STRUCT_RATE)


def _stem(path: Path) -> Path:
    return path.with_suffix("") if path.suffix in (".hea", ".dat", ".mat") else path


def _lines(header: Path) -> list[str]:
    """A header's lines without comments and white space around them."""
    data = header.read_bytes()
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = data.decode("latin-1")  # old devices write the µ of µV so
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def _check_signal_files(header: Path, lines: list[str]) -> None:
    """A header is data: the files that it names must lie beside it."""
    for name in dict.fromkeys(line.split()[0] for line in lines[1:]):
        if Path(name).name != name or "\\" in name:
            raise ValueError(f"{header}: its signal file {name!r} points outside the folder; not read")
        if name != "~" and not header.with_name(name).is_file() and not header.with_name(name + ".hea").is_file():
            raise FileNotFoundError(f"{header}: its signal file {name} is missing")


def _read_by_wfdb(stem: Path) -> plain.Signals:
    # Here, because it takes half a second that most commands and workers need not wait for.
    import wfdb

    record = wfdb.rdrecord(str(stem), physical=False)
    for name, stated, found in zip(record.sig_name, record.checksum, record.calc_checksum(), strict=True):
        if stated is not None and (stated - found) % 65536:
            raise ValueError(f"checksum of lead {name} differs from its header: the file is damaged")
    return plain.Signals(record.dac().T, record.sig_name, record.units, float(record.fs))


def _named_leads(stem: Path, record: plain.Signals) -> Ecg:
    rows, kept = [], []
    for row, name, unit in zip(record.signal, record.names, record.units, strict=True):
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
        raise ValueError(f"{stem}: none of its channels ({', '.join(record.names)}) is an ECG lead")
    return Ecg(np.stack(rows), tuple(kept), record.rate)
