"""Recordings in CSV and NumPy files, which do not say their rate, and seldom their unit and leads."""

import csv
import dataclasses
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kmerl_jax.signals import leads
from kmerl_jax.signals.channels import to_ecg
from kmerl_jax.signals.waveform import Ecg

SUFFIXES = (".csv", ".tsv", ".txt", ".npy", ".npz")
_MOST_BYTES = 3 * 10**9  # of an archive, unpacked: 12 leads of 24 hours at 500 Hz are 2 GB in float32
_MOST_SAMPLES = _MOST_BYTES // 4
_NO_LEAD = "-"


@dataclasses.dataclass(frozen=True)
class Layout:
    """What such a file does not say itself.

    Attributes:
        rate: samples per second.
        unit: of the voltages, see `channels.millivolts`.
        names: of the channels, in the order of the file, "-" for one that is no lead; None: a CSV's header has them.
    """

    rate: float
    unit: str = "mV"
    names: tuple[str, ...] | None = None


def parse_names(text: str) -> tuple[str, ...]:
    """The names of channels, in the order given: "V1,II,-" or the name of a set of leads ("12", "limb")."""
    return leads.LEAD_SETS.get(text) or tuple(name.strip() for name in text.split(","))


def read(path: Path, layout: Layout) -> Ecg:
    """Reads a recording; empty cells and NaN are missing samples.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds something else than numbers, other channels than were named, or a lead twice.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    names, signal = _numpy(path, layout) if path.suffix.lower() in (".npy", ".npz") else _csv(path, layout)
    return to_ecg(str(path), names, signal, [layout.unit] * len(names), layout.rate)


def _csv(path: Path, layout: Layout) -> tuple[Sequence[str], np.ndarray]:
    """Names, and [channels, S]."""
    try:
        lines = path.read_text(encoding="utf-8-sig").rstrip().splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a text file") from error
    if not lines or not lines[0].strip():
        raise ValueError(f"{path}: the file is empty, or its first line is")
    between = next((mark for mark in ";\t," if mark in lines[0]), None)
    decimal_comma = between == ";" and "," in lines[-1]
    rows = csv.reader(lines, delimiter=between) if between else (line.split() for line in lines)
    try:
        cells = [[cell.strip().replace(",", "." if decimal_comma else ",") for cell in row] for row in rows]
    except csv.Error as error:
        raise ValueError(f"{path}: not a table: {error}") from error
    count = len(cells[0])
    for line, row in enumerate(cells, 1):
        if len(row) != count:
            raise ValueError(f"{path}, line {line}: {len(row)} cells, and {count} in the first line")
    header = any(_number(cell) is None for cell in cells[0])
    if layout.names is None and not header:
        raise ValueError(f"{path} has no line of names; --lead_names says what its {count} columns are")
    names = layout.names or tuple(cells[0])
    if len(names) != count:
        raise ValueError(f"{path} has {count} columns; --lead_names has {len(names)} names ('-' for none)")
    signal = np.zeros((count, len(cells) - header))
    for place, name in enumerate(names):
        if leads.canonical(name) is None:
            continue
        for line, row in enumerate(cells[header:]):
            number = _number(row[place])
            if number is None:
                raise ValueError(f"{path}, line {line + 1 + header}, column {name}: {row[place]!r} is not a number")
            signal[place, line] = number
    return names, signal


def _number(cell: str) -> float | None:
    """A cell's number, NaN of an empty one; None if it is no number."""
    try:
        return float(cell) if cell else np.nan
    except ValueError:
        return None


def _numpy(path: Path, layout: Layout) -> tuple[Sequence[str], np.ndarray]:
    """Names, and [channels, S]."""
    array = _array(path)
    if array.dtype.kind not in "iuf":
        raise ValueError(f"{path} holds {array.dtype}, not real numbers")
    if array.size > _MOST_SAMPLES:
        raise ValueError(f"{path} holds {array.size:,} numbers, which is too large to be an ECG")
    array = array[None] if array.ndim == 1 else array
    if array.ndim != 2:
        raise ValueError(f"{path} has shape {array.shape}; expected [leads, samples] or [samples, leads]")
    if layout.names is None:
        raise ValueError(
            f"{path} does not say its leads; give them in the order of the array: --lead_names=I,II,V1, or "
            f"--lead_names=12 for {' '.join(leads.STANDARD)}"
        )
    if len(layout.names) not in array.shape:
        raise ValueError(f"{path} has shape {array.shape}; --lead_names has {len(layout.names)} names")
    return layout.names, array if len(array) == len(layout.names) else array.T


def _array(path: Path) -> np.ndarray:
    try:
        if path.suffix.lower() == ".npy":
            # Mapped: what its header promises is held against the size of the file before anything is allocated.
            return np.load(path, mmap_mode="r", allow_pickle=False)
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > _MOST_BYTES:
                raise ValueError("what it holds is too large to be an ECG")
        with np.load(path, allow_pickle=False) as arrays:
            if len(arrays.files) != 1:
                raise ValueError(f"it holds {len(arrays.files)} arrays; expected one")
            array = arrays[arrays.files[0]]
        if not isinstance(array, np.ndarray):
            raise ValueError("what it holds is no array")
        return array
    except Exception as error:  # NumPy reads the header as Python, and raises whatever its parsing runs into
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if "pickle" in reason or "Object arrays" in reason or "Python objects" in reason:
            reason = "not plain numbers but Python objects (a pickle), which could run any code; save it as numbers"
        raise ValueError(f"{path}: not an array that can be read: {reason}") from error
