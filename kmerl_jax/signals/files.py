"""Reading recordings from files.

WFDB in every format that the wfdb package reads, CPSC2018's original files, DICOM waveforms, CSV and NumPy arrays.
"""

import re
from pathlib import Path

from kmerl_jax.signals import arrays, dicom, leads, matlab, plain
from kmerl_jax.signals.channels import to_ecg
from kmerl_jax.signals.waveform import Ecg

_MOST_PER_BYTE = 64  # samples; a silent lead in a compressed format has some


def read(path: str | Path, layout: arrays.Layout | None = None) -> Ecg:
    """Reads a recording of any kind: by its extension, else WFDB where there is a header, else CPSC2018's original.

    Args:
        path: the recording; of WFDB with or without extension.
        layout: what CSV and NumPy files do not say.

    Raises:
        FileNotFoundError: there is no such recording, or a signal file is missing.
        ValueError: the file is damaged or of another form, or has no layout; see `read_wfdb`, `matlab.read`,
            `arrays.read` and `dicom.read`.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix in arrays.SUFFIXES:
        if layout is None:
            raise ValueError(
                f"{path}: a {suffix[1:].upper()} file does not say its rate: give --rate in Hz (in Python, a Layout)"
            )
        return arrays.read(path, layout)
    if suffix in dicom.SUFFIXES or dicom.is_dicom(path):
        return dicom.read(path)
    stem = _stem(path)
    mat = stem.with_name(stem.name + ".mat")
    if mat.is_file() and not stem.with_name(stem.name + ".hea").is_file():
        return matlab.read(mat)
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
    _check_header(header, lines)
    try:
        record = plain.read(header, lines) or _read_by_wfdb(stem)
    except ValueError as error:
        raise ValueError(f"{stem}: {str(error).splitlines()[0]}") from error
    except Exception as error:  # wfdb raises whatever its parsing runs into
        raise ValueError(f"{stem}: its header cannot be understood ({type(error).__name__}: {error})") from error
    return to_ecg(str(stem), record.names, record.signal, record.units, record.rate)


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


def _check_header(header: Path, lines: list[str]) -> None:
    """What the wfdb package would pass over: it takes 250 Hz for a rate that is none, and 200 a mV for no gain."""
    first, *signals = [line.split() for line in lines] or [[]]
    if len(first) < 2 or not first[1].isdecimal():
        raise ValueError(f"{header}: its first line is not that of a WFDB header")
    if len(first) > 2 and not re.match(r"[\d.]+([eE][+-]?\d+)?(/|$)", first[2]):
        raise ValueError(f"{header}: {first[2]!r} is not a rate")
    if "/" in first[0]:  # segments, each with a header of its own
        there = sum(path.stat().st_size for path in header.parent.iterdir() if path.is_file())
        _check_length(header, first, int(first[1]), there)
        return
    if len(signals) != int(first[1]):
        raise ValueError(f"{header}: it says {first[1]} signals and describes {len(signals)}")
    for line in signals:
        gain = re.match(r"[\d.eE+-]*", line[2])[0] if len(line) > 2 else "0"
        if leads.canonical(" ".join(line[8:])) and not (gain and float(gain)):
            raise ValueError(f"{header}: lead {' '.join(line[8:])} has no gain, so its voltages are not known")
    there = sum(header.with_name(name).stat().st_size for name in {line[0] for line in signals} - {"~"})
    _check_length(header, first, len(signals), there)


def _check_length(header: Path, first: list[str], signals: int, there: int) -> None:
    stated = int(first[3]) * signals if len(first) > 3 and first[3].isdecimal() else 0
    if stated > _MOST_PER_BYTE * there:
        raise ValueError(f"{header}: it says {stated:,} samples, of which {there:,} bytes are there: truncated")


def _read_by_wfdb(stem: Path) -> plain.Signals:
    # Here, because it takes half a second that most commands and workers need not wait for.
    import wfdb

    record = wfdb.rdrecord(str(stem), physical=False)
    for name, stated, found in zip(record.sig_name, record.checksum, record.calc_checksum(), strict=True):
        if stated is not None and (stated - found) % 65536:
            raise ValueError(f"checksum of lead {name} differs from its header: the file is damaged")
    names, units = ([each or "unnamed" for each in of] for of in (record.sig_name, record.units))
    return plain.Signals(record.dac().T, names, units, float(record.fs))
