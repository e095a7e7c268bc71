"""Reading the original files of CPSC2018: MATLAB structs."""

import struct
import zlib
from pathlib import Path

import numpy as np

from kmerl_jax.signals import leads
from kmerl_jax.signals.waveform import Ecg

_RATE = 500.0  # Hz of every original CPSC2018 file, which does not say so itself
_HEADER, _COMPRESSED = 128, 15  # bytes; type of an element of a MATLAB 5 file
_MOST_BYTES = 256 * 10**6  # six hours of 12 leads


def read(path: str | Path) -> Ecg:
    """Reads an original CPSC2018 file: a MATLAB struct `ECG` whose `data` is [12, S], mV at 500 Hz, in standard order.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no MATLAB file, is damaged, or holds something else.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    import scipy.io  # half a second that other recordings need not wait for

    _check_unpacked_size(path)
    try:
        found = scipy.io.loadmat(path, variable_names=["ECG"]).get("ECG")
    except Exception as error:  # scipy raises whatever its parsing runs into
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path}: not a MATLAB file that can be read: {reason}") from error
    if not isinstance(found, np.ndarray) or "data" not in (found.dtype.names or ()) or found.size != 1:
        raise ValueError(f"{path}: no struct ECG with a field data in it, and no WFDB header beside it")
    data = found["data"].item()
    if not isinstance(data, np.ndarray) or data.dtype.kind not in "iuf":
        raise ValueError(f"{path}: ECG.data does not hold real numbers")
    if data.ndim != 2 or len(data) != len(leads.STANDARD) or data.shape[1] == 0:
        raise ValueError(f"{path}: ECG.data has shape {data.shape}; expected (12, samples)")
    return Ecg(data, leads.STANDARD, _RATE)


def _check_unpacked_size(path: Path) -> None:
    """A few kilobytes of a MATLAB file may unpack to any size, which scipy would allocate."""
    data, at, total = path.read_bytes(), _HEADER, 0
    order = ">" if data[126:128] == b"MI" else "<"
    while at + 8 <= len(data):
        kind, length = struct.unpack_from(f"{order}II", data, at)
        if kind == _COMPRESSED:
            unpack, packed = zlib.decompressobj(), data[at + 8 : at + 8 + length]
            while packed and total <= _MOST_BYTES:
                try:
                    total += len(unpack.decompress(packed, 2**20))
                except zlib.error:
                    break  # scipy will say so
                packed = unpack.unconsumed_tail
        if total > _MOST_BYTES:
            raise ValueError(f"{path}: it unpacks to more than {_MOST_BYTES / 1e6:.0f} MB, which is no ECG; not read")
        at += 8 + length
