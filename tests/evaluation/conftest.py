"""Stores of real cohorts' names that hold simulated ECGs."""

import hashlib
import json
from pathlib import Path

import pandas as pd
import pytest

from kmerl_jax.cohorts.store import Store
from tests.conftest import link_store


def rewritten(store: Path, folder: Path, table: pd.DataFrame, **manifest) -> Store:
    """A store with the same ECGs and another table."""
    link_store(store, folder)
    for name in ("table.parquet", "manifest.json"):
        (folder / name).unlink()
    file = folder / "table.parquet"
    table.to_parquet(file, index=False)
    about = json.loads((store / "manifest.json").read_text()) | manifest
    about["table"] = {
        "name": file.name,
        "bytes": file.stat().st_size,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
    }
    (folder / "manifest.json").write_text(json.dumps(about))
    return Store(folder)


CODES = {"atrial fibrillation": "AFIB", "sinus bradycardia": "SBRAD", "sinus tachycardia": "STACH"}
CODES |= {"sinus rhythm": "SR", "sinus arrhythmia": "SARRH", "ventricular pacing": "PACE", "atrial flutter": "AFLT"}
WORDS = {"AFIB": "atrial fibrillation", "SBRAD": "sinus bradycardia", "STACH": "sinus tachycardia"}
WORDS |= {"SR": "sinus rhythm", "SARRH": "sinus arrhythmia", "PACE": "normal functioning artificial pacemaker"}
WORDS |= {"AFLT": "atrial flutter", "SVARR": "supraventricular arrhythmia", "SVTAC": "supraventricular tachycardia"}
WORDS |= {"BIGU": "bigeminal pattern (unknown origin, SV or Ventricular)", "PSVT": "paroxysmal tachycardia"}
WORDS |= {"TRIGU": "trigeminal pattern (unknown origin, SV or Ventricular)"}


@pytest.fixture(scope="session")
def rhythm_store(demo_store, tmp_path_factory) -> Store:
    """The demo's ECGs as a store of PTB-XL, with rhythm statements of what was simulated."""
    store = Store(demo_store)
    table = store.table.copy()
    table["labels"] = [[CODES[name] for name in row if name in CODES] for row in table["labels"]]
    about = {"rate": 100, "text": "statements"}
    folder = tmp_path_factory.mktemp("rhythm") / "store"
    return rewritten(
        demo_store, folder, table, cohort="ptb_xl", label_names=WORDS, held_out=[], about=about, plan="rhythm"
    )
