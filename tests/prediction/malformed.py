"""Recordings that cannot be read, and a piece of what is said of each."""

import pickle
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import scipy.io
from pydicom.uid import DeflatedExplicitVRLittleEndian

from kmerl_jax.signals.leads import STANDARD
from tests.signals import dicoms

SIGNAL = np.random.default_rng(0).normal(0, 0.3, (12, 5000))
HEADER = ",".join(STANDARD)


def write_all(folder: Path) -> dict[Path, str]:
    """Writes them all; path -> what the error says."""
    return _csv(folder) | _numpy(folder) | _wfdb(folder) | _mat(folder) | _dicom(folder) | _paths(folder)


def _csv(folder: Path) -> dict[Path, str]:
    rows = [",".join(f"{x:.3f}" for x in column) for column in SIGNAL.T]
    texts = {
        "empty": ("", "is empty"),
        "blank_first_line": ("\n" + HEADER + "\n1\n", "its first line is"),
        "header_only": (HEADER + "\n", "signal"),
        "words": (
            "\n".join([HEADER, *rows[:9], "1,2,3,oops,5,6,7,8,9,10,11,12", *rows]),
            "line 11, column aVR: 'oops'",
        ),
        "twice": ("I,II,Lead I\n0,1,2\n", "lead I is there twice"),
        "unknown_leads": ("a,b\n0,1\n", "is an ECG lead"),
        "no_names": ("\n".join(rows), "--lead_names says what its 12 columns are"),
        "decimal_commas": ("I,II\n" + "0,012,0,034\n" * 9, "line 2: 4 cells, and 2"),
        "cut_line": (HEADER + "\n" + "\n".join(rows[:99]) + "\n0.1,0.2", "line 101: 2 cells, and 12"),
        "ragged": ("\n".join([HEADER, *rows[:5], rows[5] + ",1,2", *rows]), "line 7: 14 cells"),
        "page": ("<!DOCTYPE html>\n<html><body>not found</body></html>\n", "is an ECG lead"),
        "all_missing": ("I,II\n" + ",\n" * 5000, "signal"),
        "flat": ("I,II\n" + "0.1,0.2\n" * 5000, "signal"),
        "short": ("\n".join([HEADER, *rows[:20]]), "shorter than one segment"),
        "microvolts": ("\n".join([HEADER, *(",".join(f"{x * 1e6:.0f}" for x in c) for c in SIGNAL.T)]), "wrong gain"),
        "infinite": ("\n".join([HEADER, *[",".join(["inf"] * 12)] * 5000]), "signal"),
    }
    found = {}
    for name, (text, message) in texts.items():
        path = folder / f"{name}.csv"
        path.write_text(text)
        found[path] = message
    (folder / "binary.csv").write_bytes(bytes(range(256)) * 20)
    return found | {folder / "binary.csv": "not a text file"}


def _numpy(folder: Path) -> dict[Path, str]:
    arrays = {
        "pickled": (np.array([{}, []], object), "not an array that can be read"),
        "complex": (SIGNAL + 1j, "not real numbers"),
        "words": (SIGNAL.astype("U5"), "not real numbers"),
        "three": (SIGNAL[None], "expected [leads, samples]"),
        "none": (SIGNAL[:, :0], "signal"),
        "three_leads": (SIGNAL[:3], "has 12 names"),
        "scalar": (np.float64(3), "has shape ()"),
        "nan": (SIGNAL * np.nan, "signal"),
    }
    found = {}
    for name, (array, message) in arrays.items():
        np.save(folder / f"{name}.npy", array, allow_pickle=True)
        found[folder / f"{name}.npy"] = message
    whole = (folder / "nan.npy").read_bytes()
    raw = {"empty": b"", "truncated": whole[:3000], "text": b"1,2,3\n" * 100, "pickle": pickle.dumps([1, 2])}
    raw["endless"] = whole[:128].replace(b"(12, 5000)", b"(12, 5" + b"0" * 11 + b")")[:128] + b"\0" * 99
    for name, data in raw.items():
        (folder / f"raw_{name}.npy").write_bytes(data)
        found[folder / f"raw_{name}.npy"] = "not an array that can be read"
    np.savez(folder / "two.npz", a=SIGNAL, b=SIGNAL)
    np.savez(folder / "objects.npz", np.array([{}, []], object))
    np.savez(folder / "nothing.npz")
    (folder / "no_zip.npz").write_bytes(b"PK not really")
    with zipfile.ZipFile(folder / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", b"\0" * 10**6)
    data = bytearray((folder / "bomb.npz").read_bytes())
    at = data.rindex(b"PK\x01\x02") + 24  # the size that the directory states
    data[at : at + 4] = struct.pack("<I", 2**32 - 2)
    (folder / "bomb.npz").write_bytes(data)
    found |= {folder / "two.npz": "it holds 2 arrays", folder / "objects.npz": "not an array that can be read"}
    found |= {folder / "nothing.npz": "it holds 0 arrays", folder / "no_zip.npz": "not an array that can be read"}
    return found | {folder / "bomb.npz": "too large"}


def _wfdb(folder: Path) -> dict[Path, str]:
    digital = np.rint(SIGNAL[:2] * 1000).astype("<i2")
    sums = [int(row.sum()) for row in digital]

    def header(name: str, first="{name} 2 500 5000", file="{name}.dat", fmt="16", gain="1000/mV", leads=("I", "II")):
        lines = [first] + [f"{file} {fmt} {gain} 16 0 0 {s} 0 {lead}" for s, lead in zip(sums, leads, strict=True)]
        (folder / f"{name}.hea").write_text("\n".join(lines).format(name=name) + "\n")
        (folder / f"{name}.dat").write_bytes(digital.T.tobytes())
        return folder / f"{name}.hea"

    found = {
        header("outside", file="../outside.dat"): "points outside the folder",
        header("absolute", file="/etc/passwd"): "points outside the folder",
        header("backslash", file="..\\outside.dat"): "points outside the folder",
        header("pressure", gain="1000/mmHg"): "is not a voltage",
        header("same_lead", leads=("I", "DI")): "lead I is there twice",
        header("no_lead", leads=("vx", "vy")): "is an ECG lead",
        header("fast", first="{name} 2 1000000 5000"): "is not an ECG's",
        header("slow", first="{name} 2 0.001 5000"): "is not an ECG's",
        header("no_rate", first="{name} 2 0 5000"): "is not an ECG's",
        header("backwards", first="{name} 2 -500 5000"): "'-500' is not a rate",
        header("no_samples", first="{name} 2 500 0"): "sampto",
        header("endless", first="{name} 2 500 5000000000000"): "truncated",
        header("endless_212", first="{name} 2 500 5000000000000", fmt="212"): "truncated",
        header("format", fmt="999"): "its header cannot be understood",
        header("three_signals", first="{name} 3 500 5000"): "it says 3 signals and describes 2",
        header("gainless", gain="0/mV"): "has no gain",
    }
    flipped = header("flipped")
    data = bytearray(flipped.with_suffix(".dat").read_bytes())
    data[99] ^= 1
    flipped.with_suffix(".dat").write_bytes(data)
    cut = header("cut")
    cut.with_suffix(".dat").write_bytes(digital.T.tobytes()[:777])
    lost = header("lost")
    lost.with_suffix(".dat").unlink()
    blank = header("blank")
    blank.write_text("")
    noise = header("noise")
    noise.write_bytes(np.random.default_rng(1).bytes(2000))
    unrecorded = header("unrecorded")
    nothing = np.full(digital.T.shape, -32768, "<i2")
    unrecorded.with_suffix(".dat").write_bytes(nothing.tobytes())
    unrecorded.write_text(unrecorded.read_text().replace(f" {sums[0]} ", " 0 ").replace(f" {sums[1]} ", " 0 "))
    return found | {
        flipped: "the file is damaged",
        cut: "truncated",
        lost: "is missing",
        blank: "its first line",
        noise: "is missing",
        unrecorded: "signal",
    }


def _mat(folder: Path) -> dict[Path, str]:
    scipy.io.savemat(folder / "other.mat", {"val": SIGNAL})
    scipy.io.savemat(folder / "words.mat", {"ECG": {"data": "words"}})
    scipy.io.savemat(folder / "shape.mat", {"ECG": {"data": SIGNAL.T}})
    (folder / "pickle.mat").write_bytes(pickle.dumps({"ECG": SIGNAL}))
    (folder / "empty.mat").write_bytes(b"")
    zeros = zlib.compressobj()
    packed = b"".join([*(zeros.compress(b"\0" * 2**20) for _ in range(300)), zeros.flush()])
    start = (folder / "other.mat").read_bytes()[:128]
    (folder / "bomb.mat").write_bytes(start + struct.pack("<II", 15, len(packed)) + packed)
    said = {"other": "no struct ECG", "words": "real numbers", "shape": "expected (12, samples)", "bomb": "unpacks to"}
    said |= dict.fromkeys(("pickle", "empty"), "not a MATLAB file that can be read")
    return {folder / f"{name}.mat": message for name, message in said.items()}


def _dicom(folder: Path) -> dict[Path, str]:
    steps = np.rint(SIGNAL * 200).astype(int)
    found = {
        dicoms.write(folder / "no_waveform.dcm"): "it has no waveforms",
        dicoms.write(folder / "no_unit.dcm", dicoms.group(steps, STANDARD, 500, unit="")): "is not a voltage",
        dicoms.write(folder / "kelvin.dcm", dicoms.group(steps, STANDARD, 500, unit="K")): "is not a voltage",
        dicoms.write(folder / "fast.dcm", dicoms.group(steps, STANDARD, 10**6)): "is not an ECG's",
        dicoms.write(
            folder / "deflated.dcm", dicoms.group(steps, STANDARD, 500), syntax=DeflatedExplicitVRLittleEndian
        ): "convert it",
    }
    whole = dicoms.write(folder / "whole.dcm", dicoms.group(steps, STANDARD, 500)).read_bytes()
    (folder / "whole.dcm").unlink()
    for name, data in {"cut": whole[:9000], "tiny": whole[:140], "empty": b"", "picture": b"\x89PNG\r\n" * 99}.items():
        (folder / f"raw_{name}.dcm").write_bytes(data)
        found[folder / f"raw_{name}.dcm"] = "not a DICOM ECG that can be read"
    return found


def _paths(folder: Path) -> dict[Path, str]:
    (folder / "a_folder.csv").mkdir()
    return {
        folder / "nowhere": "no WFDB header",
        folder / "nowhere.csv": "no file",
        folder / "nowhere.dcm": "no file",
        folder / "nowhere.npy": "no file",
    }
