"""The embedded cohort: simulated patients, written as files in MIMIC-IV-ECG's layout and read as MIMIC is read."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

from kmerl_jax.cohorts import mimic_iv_ecg
from kmerl_jax.cohorts.cohort import Cohort, require, split_by_patient
from kmerl_jax.cohorts.population import FINDINGS, HELD_OUT

RECORDS = 2400
STORE = Path("data/demo")
"""The demo recipe's store, which `train` makes if it is missing."""


def files_of(store: Path) -> Path:
    """Where the simulated files of a store are kept."""
    return store.with_name(store.name + "-files")


def simulate(source: Path, records: int, seed: int, workers: int, progress: Callable[[int, int], None]) -> None:
    """Writes the cohort's files, unless they are there already.

    Args:
        source: the folder to write.
        records: number of ECGs.
        seed: of the patients.
        workers: processes; 0 works in this one.
        progress: called with the number of ECGs done and the number in all.

    Raises:
        ValueError: the folder holds a cohort of other parameters.
    """
    # Here, because the simulator takes a second to import, and every other cohort would wait for it.
    from kmerl_jax.cohorts import simulation

    done = 0

    def count(more: int) -> None:
        nonlocal done
        done += more
        progress(done, records)

    simulation.simulate_cohort(source, records, seed, workers, count)


def load(source: Path) -> Cohort:
    """The cohort from a folder written by `simulation.simulate_cohort`.

    The labels are the simulator's truth in `findings.csv`; nothing is mined from text.

    Raises:
        FileNotFoundError: a table is missing.
        ValueError: a record has no truth.
    """
    with open(require(source / "findings.csv", "the simulator's truth"), newline="") as file:
        truth = {line["study_id"]: line["findings"] for line in csv.DictReader(file)}

    def labels(record: str) -> list[str]:
        if record not in truth:
            raise ValueError(f"{source / 'findings.csv'} has no row for record {record}")
        return [name for name in truth[record].split("|") if name]

    table, left_out = mimic_iv_ecg.read_tables(source, lambda patient: split_by_patient(patient, 0.1, 0.2), labels)
    return Cohort(
        "demo",
        table,
        {name: name for name in FINDINGS},
        "the simulator's truth",
        held_out=HELD_OUT,
        left_out=left_out,
        about={"simulation": json.loads((source / "simulation.json").read_text())},
    )
