"""A model of a few steps, and ECGs to ask it about."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

import kmerl_jax
from kmerl_jax.signals.leads import STANDARD
from kmerl_jax.signals.waveform import Ecg


@pytest.fixture(scope="session")
def ecg(demo_files) -> Ecg:
    """10 s of 12 leads."""
    return kmerl_jax.read(sorted(demo_files.rglob("*.hea"))[0])


@pytest.fixture(scope="session")
def evaluated_run(small_run, tmp_path_factory):
    """A run with what evaluations leave: made-up AUROCs, with 12 leads and with II."""
    path = shutil.copytree(small_run, tmp_path_factory.mktemp("evaluated") / "run")
    asked = json.loads((path / "entities.json").read_text())["entities"]
    sets = {}
    for leads, value in (("12", 0.9), ("II", 0.55)):
        findings = {
            name: {"auroc": value, "ci95": [value - 0.05, value + 0.05], "positives": 20, "code": name}
            for name in asked[:5]
        }
        sets[leads] = {"macro_auroc": value, "macro_ci95": [value - 0.02, value + 0.02], "per_class": findings}
    (path / "results").mkdir(exist_ok=True)
    about = {"labels": "made up", "split": "test", "records": 99, "lead_sets": sets}
    (path / "results" / "zero_shot.json").write_text(json.dumps(about))
    return path


@pytest.fixture(scope="session")
def model(evaluated_run):
    """The run, opened."""
    return kmerl_jax.load(evaluated_run)


def part(ecg: Ecg, leads=STANDARD, seconds: float | None = None) -> Ecg:
    """Some leads of an ECG, from its beginning."""
    rows = [ecg.leads.index(lead) for lead in leads]
    length = ecg.signal.shape[1] if seconds is None else round(seconds * ecg.rate)
    return dataclasses.replace(ecg, signal=ecg.signal[rows, :length], leads=tuple(leads))


def longer(ecg: Ecg, times: int) -> Ecg:
    """The same again and again."""
    return dataclasses.replace(ecg, signal=np.tile(ecg.signal, times))
