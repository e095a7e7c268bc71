"""A cohort of simulated patients, written as MIMIC-IV-ECG is: the demo data, the tests' data, and known truth.

A folder holds `files/p1000/p10000032/s40689238/40689238.{hea,dat}`, `record_list.csv`, `machine_measurements.csv` (in
another row order: join on study_id) and, beside what MIMIC-IV-ECG has, `findings.csv` (what was simulated and can be
seen on the trace) and `simulation.json` (every parameter). The same seed gives the same bytes for any number of
workers, and a larger cohort begins with the records of a smaller one.
"""

import csv
import dataclasses
import datetime
import json
import multiprocessing
import os
import pathlib
import shutil
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed

import numpy as np

from kmerl_jax.cohorts import demo_reports
from kmerl_jax.cohorts.patients import Record, draw_patient, draw_record
from kmerl_jax.cohorts.population import FINDINGS, HELD_OUT, POPULATION
from kmerl_jax.signals import heart, leads
from kmerl_jax.signals.waveform import RATE, SAMPLES

FILE_LEADS = ("I", "II", "III", "aVR", "aVF", "aVL", "V1", "V2", "V3", "V4", "V5", "V6")
"""The order in MIMIC-IV-ECG's files: aVF before aVL."""

GAIN = 200  # units per millivolt, MIMIC-IV-ECG's
ABSENT = 29999  # what MIMIC-IV-ECG writes where there is nothing to measure
VERSION = 1  # of what a seed produces; goes up with every change of a byte
_REPORTS = 18
_CHUNK = 50  # records a task
_MODULUS = 9_999_991  # the largest prime of seven digits: numbers times a constant, modulo it, never repeat


def simulate_cohort(
    folder: pathlib.Path, records: int, seed: int, workers: int, progress: Callable[[int], None] | None = None
) -> None:
    """Writes a cohort, or returns at once where the same cohort is already there.

    Args:
        folder: appears whole at the end; until then everything is in a hidden folder beside it.
        records: number of ECGs.
        seed: the cohort's; with the number of records it decides every byte.
        workers: processes; 0 for this one.
        progress: called with the number of records finished since the last call.

    Raises:
        ValueError: the folder holds something else, or a cohort of other parameters.
    """
    folder = pathlib.Path(folder)
    if records < 1 or workers < 0 or seed < 0:
        raise ValueError(f"records {records}, workers {workers}, seed {seed}: expected at least 1, 0 and 0")
    recipe = {"version": VERSION, "seed": seed, "records": records, "held_out": HELD_OUT}
    recipe = json.dumps({**recipe, "parameters": dataclasses.asdict(POPULATION)}, indent=1) + "\n"
    if _is_there(folder, recipe):
        return
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    _remove_abandoned(folder)
    partial.mkdir(parents=True)
    try:
        visits = _visits(records, seed)
        chunks = [visits[start : start + _CHUNK] for start in range(0, records, _CHUNK)]
        rows = []
        for done in _run(partial, seed, chunks, workers):
            rows += done
            if progress:
                progress(len(done))
        _write_tables(partial, sorted(rows, key=lambda row: row["record"]))
        (partial / "simulation.json").write_text(recipe)
        if not _is_there(folder, recipe):  # another process may have been faster
            partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _remove_abandoned(folder: pathlib.Path) -> None:
    """Removes what processes left that were killed while they wrote this cohort."""
    for partial in folder.parent.glob(f".{folder.name}.*.partial"):
        try:
            os.kill(int(partial.suffixes[-2][1:]), 0)
        except ProcessLookupError:
            shutil.rmtree(partial, ignore_errors=True)
        except PermissionError:
            continue  # somebody else's, and at work


def _is_there(folder: pathlib.Path, recipe: str) -> bool:
    if not folder.exists():
        return False
    if not folder.is_dir() or (any(folder.iterdir()) and not (folder / "simulation.json").is_file()):
        raise ValueError(f"{folder} exists and is no simulated cohort: choose another folder")
    if not any(folder.iterdir()):
        return False
    there, wanted = json.loads((folder / "simulation.json").read_text()), json.loads(recipe)
    differing = [name for name in wanted if there.get(name) != wanted[name]]
    if differing:
        values = ", ".join(f"{name} {there.get(name)}" for name in differing if name in ("version", "seed", "records"))
        raise ValueError(
            f"{folder} holds a cohort simulated with other {' and '.join(differing)}"
            f"{f' ({values})' if values else ''}: delete it or choose another folder"
        )
    return True


def _run(folder: pathlib.Path, seed: int, chunks: list, workers: int):
    """Yields the rows of each chunk as it is finished."""
    if workers == 0:
        for chunk in chunks:
            yield _write_chunk(folder, seed, chunk)
        return
    # Not fork: the parent may hold JAX's threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(chunks)), mp_context=context) as pool:
        for future in as_completed([pool.submit(_write_chunk, folder, seed, chunk) for chunk in chunks]):
            yield future.result()


def _visits(records: int, seed: int) -> list[tuple[int, int, int]]:
    """(record, patient, visit) numbers: patients one after the other, each with 1 to 3 records."""
    visits, patient = [], 0
    while len(visits) < records:
        count = 1 + int(_patient_rng(seed, patient).choice(3, p=POPULATION.visits))
        visits += [(len(visits) + visit, patient, visit) for visit in range(count)]
        patient += 1
    return visits[:records]


# Streams of their own, so that neither the number of workers nor that of records moves a draw.
def _patient_rng(seed: int, patient: int) -> np.random.Generator:
    return np.random.default_rng([seed, 1, patient])


def _record_rng(seed: int, record: int) -> np.random.Generator:
    return np.random.default_rng([seed, 2, record])


def _write_chunk(folder: pathlib.Path, seed: int, visits: list[tuple[int, int, int]]) -> list[dict]:
    """Writes the files of some records and returns their rows of the tables."""
    rows = []
    for record, number, visit in visits:
        patient = draw_patient(_patient_rng(seed, number))
        rng = _record_rng(seed, record)
        drawn = draw_record(patient, rng)
        subject = 10_000_000 + (number * 7_368_787 + 2_718_281 + seed) % _MODULUS
        study = 40_000_000 + (record * 6_180_339 + 3_141_592 + seed) % _MODULUS
        # A visit some weeks or years after the one before.
        time = patient.first_visit + datetime.timedelta(minutes=int((visit + rng.uniform(0.1, 0.9)) * 400 * 24 * 60))
        path = f"files/p{subject // 10_000}/p{subject}/s{study}/{study}"
        _write_record(folder / path, drawn.signal, subject, time)
        findings = [name for name in FINDINGS if name in drawn.reading.findings]
        rows.append(
            {
                "record": record,
                "subject_id": subject,
                "study_id": study,
                "file_name": study,
                "ecg_time": time.strftime("%Y-%m-%d %H:%M:00"),
                "path": path,
                "findings": "|".join(findings),
                **_measurements(drawn, rng),
            }
        )
    return rows


def _write_record(path: pathlib.Path, signal: np.ndarray, subject: int, time: datetime.datetime) -> None:
    """Writes a WFDB record of format 16; wfdb.wrsamp would take ten times as long."""
    order = leads.lead_ids(FILE_LEADS)
    largest = np.iinfo(np.int16).max
    digital = np.clip(np.rint(signal[list(order)] * GAIN), -largest, largest).astype("<i2")
    checksums = digital.sum(axis=1, dtype=np.int64) % 65536
    name = path.name
    lines = [f"{name} {len(FILE_LEADS)} {RATE} {SAMPLES} {time:%H:%M}:00 {time:%d/%m/%Y}"]
    lines += [
        f"{name}.dat 16 {GAIN:.1f}(0)/mV 16 0 {digital[n, 0]} {checksums[n]} 0 {lead}"
        for n, lead in enumerate(FILE_LEADS)
    ]
    lines.append(f"# <subject_id>: {subject}")
    path.parent.mkdir(parents=True)
    path.with_suffix(".hea").write_text("\n".join(lines) + "\n")
    digital.T.tofile(path.with_suffix(".dat"))


def _measurements(drawn: Record, rng: np.random.Generator) -> dict:
    """A row of machine_measurements.csv: report and measurements, a cart's small errors included."""
    statements = demo_reports.write(drawn.reading, rng)
    person, beats, measured = drawn.person, drawn.beats, heart.measure(drawn.person)
    errors = np.rint(rng.normal(0, 3, 5)).astype(int)
    has_p = beats.name == "sinus"
    qrs_onset = 40 + round(1000 * (beats.pr_s if has_p else 0.16)) + errors[2]
    t = dict(zip(leads.STANDARD, measured.t_mv, strict=True))
    return {
        "cart_id": int(rng.integers(6_000_000, 8_000_000)),
        **{f"report_{n}": statements[n] if n < len(statements) else "" for n in range(_REPORTS)},
        "bandwidth": "0.005-150 Hz" if rng.random() < 0.9 else "0.05-150 Hz",
        "filtering": "60 Hz notch Baseline filter" if rng.random() < 0.8 else "60 Hz notch",
        "rr_interval": round(1000 * beats.rr_s),
        "p_onset": 40 + errors[0] if has_p else ABSENT,
        "p_end": 40 + round(1000 * person.p_s) + errors[1] if has_p else ABSENT,
        "qrs_onset": qrs_onset,
        "qrs_end": qrs_onset + round(1000 * person.qrs_s) + errors[3],
        "t_end": qrs_onset + round(1000 * person.qt_s) + errors[4],
        "p_axis": round(rng.normal(55, 15)) if has_p else ABSENT,
        "qrs_axis": round(measured.axis),
        "t_axis": round(float(np.degrees(np.arctan2(t["aVF"] * 2 / np.sqrt(3), t["I"])))),
    }


def _write_tables(folder: pathlib.Path, rows: list[dict]) -> None:
    measured = ["subject_id", "study_id", "cart_id", "ecg_time", *(f"report_{n}" for n in range(_REPORTS))]
    measured += ["bandwidth", "filtering", "rr_interval", "p_onset", "p_end", "qrs_onset", "qrs_end", "t_end"]
    measured += ["p_axis", "qrs_axis", "t_axis"]
    tables = {
        "record_list.csv": (["subject_id", "study_id", "file_name", "ecg_time", "path"], rows),
        # As in MIMIC-IV-ECG, nothing promises that the tables have one order: whoever pairs them by row is wrong.
        "machine_measurements.csv": (measured, sorted(rows, key=lambda row: row["study_id"])),
        "findings.csv": (["subject_id", "study_id", "findings"], rows),
    }
    for name, (columns, ordered) in tables.items():
        with (folder / name).open("w", newline="") as file:
            writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            writer.writerows(ordered)
