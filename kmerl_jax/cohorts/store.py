"""The store: ten-second windows of a prepared cohort, in ArrayRecord files beside one table.

A store is immutable once whole. What is derived from it (knowledge, text embeddings) lies in folders inside it.
"""

import bisect
import hashlib
import itertools
import json
import struct
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from array_record.python.array_record_data_source import ArrayRecordDataSource

from kmerl_jax.signals import leads
from kmerl_jax.signals.waveform import RATE, SAMPLES, Window

FORMAT_VERSION = 2
_HEADER = struct.Struct("<HBx")  # presence bits, valid segments


def encode(window: Window) -> bytes:
    """One entry: a 4-byte header (presence bits, valid segments), then 12 x 5,000 little-endian int16 in microvolts."""
    bits = sum(1 << n for n in np.flatnonzero(window.presence))
    return _HEADER.pack(bits, window.segments) + window.signal.astype("<i2").tobytes()


def decode(entry: bytes) -> Window:
    """The window of an entry, the inverse of `encode`."""
    bits, segments = _HEADER.unpack_from(entry)
    signal = np.frombuffer(entry, "<i2", offset=_HEADER.size).reshape(len(leads.STANDARD), SAMPLES)
    presence = (bits >> np.arange(len(leads.STANDARD)) & 1).astype(bool)
    return Window(signal, presence, segments)


class Entries:
    """Random access to the windows of a store's files; it pickles, so that worker processes can open their own."""

    def __init__(self, files: Sequence[Path], counts: Sequence[int]):
        """Args:
        files: ArrayRecord files.
        counts: of the entries in each.
        """
        self._files, self._ends = list(files), list(itertools.accumulate(counts))
        # With counts given no file is opened before it is read: one that is damaged does not close the others.
        self._source = ArrayRecordDataSource([f"{file}[0:{n}]" for file, n in zip(files, counts, strict=True)])

    def __len__(self) -> int:
        return len(self._source)

    def file_of(self, entry: int) -> Path:
        """The file in which an entry stands."""
        return self._files[bisect.bisect_right(self._ends, entry)]

    def __getitem__(self, entry: int) -> Window:
        """Raises:
        ValueError: the entry cannot be read; the message names it and its file.
        """
        try:
            return decode(self._source[entry])
        except Exception as error:  # array_record raises bare RuntimeErrors
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ValueError(
                f"entry {entry} of the store, in {self.file_of(entry)}, cannot be read ({reason})"
            ) from error


class Store:
    """A whole store, opened for reading.

    Attributes:
        path: its folder.
        manifest: `manifest.json`.
        damaged: lines that say which of its files are damaged, if it was opened nevertheless.
    """

    def __init__(self, path: str | Path, skip_unreadable: bool = False):
        """Opens a store and checks that its files are those of the manifest.

        Args:
            path: its folder.
            skip_unreadable: opens it although files of windows are missing or truncated; a window that cannot be read
                then has no leads.

        Raises:
            FileNotFoundError: there is no store at `path`, or one of its files is missing.
            ValueError: another format version, or a file of another size than when it was written (truncated).
        """
        self.path, self._skip_unreadable = Path(path), skip_unreadable
        manifest = self.path / "manifest.json"
        if not manifest.is_file():
            raise FileNotFoundError(
                f"no store at {self.path}; make one with: "
                f"python -m kmerl_jax.prepare --cohort=NAME --source=DIR --out={self.path}"
            )
        try:
            self.manifest = json.loads(manifest.read_text())
        except ValueError as error:
            raise ValueError(f"{manifest} is damaged ({error}); prepare the store again") from error
        version = self.manifest.get("format_version")
        if version != FORMAT_VERSION:
            raise ValueError(
                f"store {self.path} has format version {version}, this program reads {FORMAT_VERSION}; "
                "prepare the store again"
            )
        self._check_size(self.manifest["table"])
        self.damaged = []
        for file in self.manifest["files"]:
            try:
                self._check_size(file)
            except (ValueError, FileNotFoundError) as error:
                if not skip_unreadable:
                    raise
                self.damaged.append(f"{error}; its {file['entries']:,} windows are skipped")

    def _check_size(self, file: dict) -> None:
        path = self.path / file["name"]
        if not path.is_file():
            raise FileNotFoundError(f"store {self.path} lacks {file['name']}; prepare the store again")
        if path.stat().st_size != file["bytes"]:
            raise ValueError(
                f"{path} has {path.stat().st_size:,} bytes where the manifest says {file['bytes']:,}: "
                "the file is truncated or changed; prepare the store again"
            )

    def __len__(self) -> int:
        return self.manifest["entries"]

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row an entry, in the order of the entries."""
        return pd.read_parquet(self.path / self.manifest["table"]["name"])

    @cached_property
    def entries(self) -> Entries:
        """Random access to the windows."""
        files = self.manifest["files"]
        return Entries([self.path / file["name"] for file in files], [file["entries"] for file in files])

    def __getitem__(self, entry: int) -> Window:
        try:
            return self.entries[entry]
        except ValueError:
            if not self._skip_unreadable:
                raise
            nothing = np.zeros((len(leads.STANDARD), SAMPLES), np.int16)
            return Window(nothing, np.zeros(len(leads.STANDARD), bool), 0)

    @property
    def label_names(self) -> dict[str, str]:
        """The name in words of each label code."""
        return self.manifest["label_names"]

    @property
    def checksum(self) -> str:
        """SHA-256 of the content of all its files."""
        files = [*self.manifest["files"], self.manifest["table"]]
        return hashlib.sha256("".join(file["sha256"] for file in files).encode()).hexdigest()

    @property
    def texts_from_labels(self) -> bool:
        """Whether what a run reads in it is made of its labels: its reports, or the statements that are mined.

        Of PTB-XL both texts are: the entities beside the German reports are those of its SCP-ECG statements.
        """
        return self.manifest["about"].get("text") in ("statements", "german")

    @property
    def population(self) -> str:
        """Within which a patient's id means one person: the cohort, or one simulation."""
        simulation = self.manifest["about"].get("simulation")
        return f"{self.manifest['cohort']} {simulation['seed']}" if simulation else self.manifest["cohort"]

    def labels(self) -> np.ndarray:
        """[N, C] bool: which entry has which label, in the order of `label_names`."""
        column = {code: n for n, code in enumerate(self.label_names)}
        labels = np.zeros((len(self), len(column)), bool)
        for row, codes in enumerate(self.table["labels"]):
            labels[row, [column[code] for code in codes]] = True
        return labels

    def rows(self, split: str) -> np.ndarray:
        """Indices of the entries of a split, ascending."""
        return np.flatnonzero(self.table["split"].to_numpy() == split)

    def verify(self) -> None:
        """Reads every file and compares its digest with the manifest's.

        Raises:
            ValueError: a file's content is not what was written.
        """
        for file in [*self.manifest["files"], self.manifest["table"]]:
            if digest(self.path / file["name"]) != file["sha256"]:
                raise ValueError(
                    f"{self.path / file['name']} is damaged (its SHA-256 differs); prepare the store again"
                )

    def summary(self) -> str:
        """What the store holds and what became of the cohort's recordings, as lines of a table."""
        manifest = self.manifest
        splits = ", ".join(f"{name} {count:,}" for name, count in manifest["splits"].items())
        lines = [
            f"store {self.path}: {manifest['entries']:,} windows of {manifest['records']:,} records, "
            f"{manifest['patients']:,} patients ({splits})"
        ]
        counts = [("left out", reason, count) for reason, count in sorted(manifest["left_out"].items())]
        counts += [("note", what, count) for what, count in sorted(manifest["notes"].items())]
        counts += [
            ("resampled" if float(rate) != RATE else "kept", f"records at {rate} Hz", count)
            for rate, count in manifest["rates"].items()
        ]
        counts += [("recorded", f"records with {number} leads", count) for number, count in manifest["leads"].items()]
        counts += [("repairs", repair, count) for repair, count in sorted(manifest["repairs"].items())]
        counts += [("rejects", reason, count) for reason, count in sorted(manifest["rejects"].items())]
        lines += [f"  {what:9} {count:>9,}  {of_what}" for what, of_what, count in counts]
        if manifest["rejects"]:
            lines.append(f"  each rejected record and why: {self.path / 'rejects.csv'}")
        lines.append(f"  each window that was touched or lacks leads: {self.path / 'repairs.csv'}")
        return "\n".join(lines)


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
