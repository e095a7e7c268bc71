"""A run directory: the config it was begun with, what it asks for, and where everything else lies."""

import fcntl
import hashlib
import json
import logging
import os
import socket
from collections.abc import Iterable
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

from kmerl_jax.cohorts.store import Store
from kmerl_jax.config import complete
from kmerl_jax.knowledge.queries import Queries
from kmerl_jax.text.encoder import TextEncoder

log = logging.getLogger(__name__)

# What may change when a run goes on: its length, its log lines, the hardware, and the scoring at the end.
FREE = (
    "train.steps",
    "train.epochs",
    "train.microbatches",
    "train.remat",
    "train.log_every",
    "train.validate_every",
    "train.validation_batches",
    "checkpoint.every",
    "train.stall_s",
    "checkpoint.keep",
    "checkpoint.on_failure",
    "data.store",  # a store may move; its content is compared by digest
    "data.workers",
    "data.unreadable",
    "mesh.fsdp",
    "evaluation.lead_sets",
    "evaluation.min_positives",
    "evaluation.batch_size",
    "evaluation.probe_records",
)


class Run:
    """A run directory. Process 0 writes to it for all; files of the others would be the same.

    Attributes:
        path: the folder.
    """

    def __init__(self, path: Path, config: ConfigDict):
        """Makes the directory, or goes on with the one that is there.

        Until its first checkpoint a run has nothing to lose: it takes whatever config it is given.

        Raises:
            ValueError: it was begun with a config that differs in more than length, logging and hardware.
        """
        self.path = path
        self.path.mkdir(parents=True, exist_ok=True)
        wanted = json.loads(json.dumps(config.to_dict()))
        file = self.path / "config.json"
        if self.begun:
            differing = _differences(complete(read_json(file)).to_dict(), wanted)
            if differing:
                raise ValueError(
                    f"{self.path} was begun with another config: {'; '.join(differing)}. Give the same values to go "
                    "on with it, or another --workdir to begin anew"
                )
        self._write("config.json", wanted)

    def claim(self) -> None:
        """Keeps other runs out of the directory for as long as this process lives.

        Raises:
            ValueError: another one is in it.
        """
        if jax.process_index():
            return
        self._claim = open(self.path / ".lock", "a+")  # noqa: SIM115 (the system closes it, and so gives it free)
        try:
            fcntl.flock(self._claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._claim.seek(0)
            raise ValueError(
                f"{self.path} is in use by {self._claim.read() or 'another run'}; let it end, or name another --workdir"
            ) from error
        except OSError as error:
            log.warning(f"{self.path}: this file system has no locks ({error.strerror}); run nothing else in it")
        self._claim.truncate(0)
        self._claim.write(f"process {os.getpid()} on {socket.gethostname()}")
        self._claim.flush()

    @property
    def begun(self) -> bool:
        """Whether there is a checkpoint to go on from."""
        return has_checkpoint(self.path)

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def results(self) -> Path:
        """Folder of the results."""
        return self.path / "results"

    def keep_entities(self, asked: Queries, store: Store, encoder: TextEncoder) -> None:
        """Writes what the run asks of an ECG, or checks that it still asks the same.

        Args:
            asked: the queries.
            store: what it learns from.
            encoder: reads the entities' names.

        Raises:
            ValueError: the run was begun with other entities or on another store.
        """
        file = self.path / "entities.json"
        content = {
            "store_plan": store.manifest["plan"],
            "cohort": store.manifest["cohort"],
            "texts_from_labels": store.texts_from_labels,
            "entities": list(asked.entities),
            "superclasses": {name: list(members) for name, members in asked.superclasses.items()},
            "positives": asked.counts,
            "text_encoder": encoder.fingerprint,
        }
        if self.begun:
            before = read_json(file)
            for what in ("store_plan", "entities"):
                if before.get(what) != content[what]:
                    other = "on a store of other content" if what == "store_plan" else "with other entities"
                    raise ValueError(f"{self.path} was begun {other}; name another --workdir to begin anew")
        self._write_array("entities.npy", encoder.embed(asked.entities))
        self._write("entities.json", content)

    def keep_patients(self, population: str, patients: Iterable[str]) -> None:
        """Writes whom the run learns from, as digests, so that an evaluation can tell who is new to it."""
        self._write_array("patients.npy", patient_digests(population, patients))

    def results_of(self, step: int) -> dict | None:
        """The results of the run's last step, if it has been scored."""
        every = (read_json(file) for file in finished(self.path))
        return next((results for results in every if results["step"] == step), None)

    def _write(self, name: str, content: dict) -> None:
        if jax.process_index():
            return
        temporary = self.path / f"{name}.tmp"
        temporary.write_text(json.dumps(content, indent=1))
        temporary.replace(self.path / name)

    def _write_array(self, name: str, content: np.ndarray) -> None:
        if jax.process_index():
            return
        temporary = self.path / f"{name}.tmp"
        with open(temporary, "wb") as out:
            np.save(out, content)
        temporary.replace(self.path / name)


def has_checkpoint(path: Path) -> bool:
    """Whether a run directory has a checkpoint."""
    return any(one.name.isdecimal() for one in (path / "checkpoints").glob("*"))


def finished(path: Path) -> list[Path]:
    """What a run ends with, as `end_of_run.save` names it; nothing before its end."""
    return [file for name in ("zero_shot", "linear_probe") if (file := path / "results" / f"{name}.json").is_file()]


def patient_digests(population: str, patients: Iterable[str]) -> np.ndarray:
    """Sorted distinct uint64, one for each patient of a `Store.population`."""
    digests = (hashlib.sha256(f"{population}/{patient}".encode()).digest()[:8] for patient in set(patients))
    return np.sort(np.frombuffer(b"".join(digests), "<u8"))


def read_json(file: Path) -> dict:
    """What a JSON file holds. Raises ValueError, naming it, if it is damaged."""
    try:
        return json.loads(file.read_text())
    except ValueError as error:
        raise ValueError(
            f"{file} is damaged ({error}); restore it, or remove its folder to have it made anew"
        ) from error


def _differences(before: dict, now: dict) -> list[str]:
    old, new = flat(before), flat(now)
    return [
        f"{name} was {old.get(name)!r}, is {new.get(name)!r}"
        for name in sorted({*old, *new})
        if name not in FREE and old.get(name) != new.get(name)
    ]


def flat(tree: dict, prefix: str = "") -> dict:
    """A config's fields by their dotted names."""
    fields = {}
    for name, value in tree.items():
        fields |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return fields
