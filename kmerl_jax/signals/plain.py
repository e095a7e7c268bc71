"""Plain WFDB records, read directly: all signals in one file of format 16, one sample a frame.

PTB-XL, MIMIC-IV-ECG, CPSC2018 and CSN are of this kind. wfdb reads them too, but parses a header for several
milliseconds, ten times as long as everything else that is done to a record.
"""

import os
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

_NUMBER = r"(\d+(?:\.\d+)?)"
_RECORD = re.compile(rf"[\w-]+ (\d+) {_NUMBER} (\d+)(?: \S+){{0,2}}", re.ASCII)  # the time and date are not used
_SIGNAL = re.compile(
    rf"(\S+) 16(?:\+(\d+))? {_NUMBER}(?:\((-?\d+)\))?/([A-Za-zµμ]+) \d+ (-?\d+) -?\d+ (-?\d+) \d+ ([^\s#][^#\t]*)",
    re.ASCII,
)
_MISSING = np.iinfo(np.int16).min  # WFDB's mark of a sample that was not recorded


class Signals(NamedTuple):
    """What a WFDB record holds: signal [L, S] float64 in `units`, NaN where missing; L names and units; rate in Hz."""

    signal: np.ndarray
    names: list[str]
    units: list[str]
    rate: float


def read(header: Path, lines: list[str]) -> Signals | None:
    """Reads a record as `wfdb.rdrecord` does, or leaves it to that.

    Args:
        header: the `.hea` file; the signal file lies beside it.
        lines: its lines without comments.

    Returns:
        The signals, or None if any line is of another form than a plain record's.

    Raises:
        ValueError: the signal file is shorter than the header says, or a checksum differs.
    """
    if not lines or not (record := _RECORD.fullmatch(lines[0])):
        return None
    count, rate, samples = int(record[1]), float(record[2]), int(record[3])
    matches = [_SIGNAL.fullmatch(line) for line in lines[1:]]
    if count != len(matches) or None in matches or samples == 0:
        return None
    files, offsets, gains, baselines, units, zeros, checksums, names = zip(*(m.groups() for m in matches), strict=True)
    gain = np.array(gains, np.float64)
    if len(set(files)) > 1 or len(set(offsets)) > 1 or not gain.all():
        return None
    # Without a baseline, the ADC's zero is zero volts.
    baseline = np.array([zero if base is None else base for base, zero in zip(baselines, zeros, strict=True)], float)

    digital = _samples(header.with_name(files[0]), int(offsets[0] or 0), count, samples)
    differs = (np.array(checksums, np.int64) - digital.sum(axis=1, dtype=np.int64)) % 65536
    if differs.any():
        raise ValueError(f"checksum of lead {names[differs.argmax()]} differs from its header: the file is damaged")
    signal = (digital - baseline[:, None]) / gain[:, None]
    signal[digital == _MISSING] = np.nan
    return Signals(signal, list(names), list(units), rate)


def _samples(path: Path, offset: int, count: int, samples: int) -> np.ndarray:
    """[count, samples] int16."""
    with open(path, "rb") as file:
        # Asked before anything is allocated: a damaged header may state any length.
        there, stated = os.fstat(file.fileno()).st_size, offset + 2 * count * samples
        if there < stated:
            raise ValueError(f"{path.name} has {there:,} bytes where its header says {stated:,}: the file is truncated")
        file.seek(offset)
        return np.ascontiguousarray(np.fromfile(file, "<i2", count * samples).reshape(samples, count).T)
