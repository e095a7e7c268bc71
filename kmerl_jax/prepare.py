"""Turns a cohort's files into a store: ten-second windows at 500 Hz, with reports and labels.

    python -m kmerl_jax.prepare --cohort=demo --out=data/demo
    python -m kmerl_jax.prepare --cohort=mimic_iv_ecg --source=physionet/mimic-iv-ecg/1.0 --out=data/mimic_iv_ecg
    python -m kmerl_jax.prepare --cohort=ptb_xl --source=physionet/ptb-xl/1.0.3 --rate=500 --out=data/ptb_xl
    python -m kmerl_jax.prepare --cohort=cpsc2018 --source=physionet/challenge-2020/1.0.2 --out=data/cpsc2018
    python -m kmerl_jax.prepare --cohort=csn --source=physionet/ecg-arrhythmia/1.0.0 --out=data/csn
    python -m kmerl_jax.prepare --cohort=table --source=mine/recordings.csv --out=data/mine

The demo cohort is simulated first, into --source (default: the store's name with "-files"). A table is a CSV with the
columns path and patient, and record, report, labels (joined by "|") and split if you have them. --dry_run says what the
tables hold. An interrupted run goes on where it was when the same command is given again.
"""

import os
from pathlib import Path

from absl import flags

from kmerl_jax import command
from kmerl_jax.cohorts import catalog, demo, preparation, ptb_xl
from kmerl_jax.cohorts.store import Store
from kmerl_jax.evaluation import downstream

_COHORT = flags.DEFINE_enum("cohort", None, catalog.NAMES, "Which data set.", required=True)
_SOURCE = flags.DEFINE_string(
    "source", None, "Folder of the data set's files; of table: the CSV; of demo: where to write them."
)
_OUT = flags.DEFINE_string("out", None, "Folder of the store to write.")
_RATE = flags.DEFINE_integer("rate", None, "PTB-XL: which copy of the signals, 100 or 500 Hz. Default 500.")
_TEXT = flags.DEFINE_enum("text", None, ptb_xl.TEXTS, "PTB-XL: which text is the report. Default statements.")
_FOLDS = flags.DEFINE_string(
    "folds", None, "PTB-XL: VAL,TEST, the folds that validate and are scored; those below both train. Default 9,10."
)
_RECORDS = flags.DEFINE_integer("records", demo.RECORDS, "Demo: how many ECGs to simulate.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "Demo: seed of the simulated patients.", lower_bound=0)
_WORKERS = flags.DEFINE_integer("workers", os.cpu_count(), "Processes; 0 works in this one.", lower_bound=0)
_SHARD = flags.DEFINE_string("shard", "0/1", "I/N: write only the I-th of N parts (I from 0), on one of N hosts.")
_DRY_RUN = flags.DEFINE_boolean("dry_run", False, "Say what the tables hold; read no signal, write nothing.")


def main() -> None:
    """Reads the flags, then simulates if need be, loads the cohort, writes the store and says what came of it."""
    if not (_OUT.value or _DRY_RUN.value):
        raise ValueError("--out is missing: the folder of the store to write")
    out, shard = Path(_OUT.value or ""), command.parse_shard(_SHARD.value)
    if not (_SOURCE.value or (_COHORT.value == "demo" and _OUT.value)):
        raise ValueError(
            f"--source is missing: the {'CSV' if _COHORT.value == 'table' else 'folder'} of {_COHORT.value}'s files"
        )
    source = Path(_SOURCE.value) if _SOURCE.value else demo.files_of(out)
    if _COHORT.value == "demo" and not _DRY_RUN.value:
        demo.simulate(source, _RECORDS.value, _SEED.value, _WORKERS.value, command.Progress("simulating", "ECGs"))
    folds = parse_folds(_FOLDS.value) if _FOLDS.value else None
    cohort = catalog.load(_COHORT.value, source, _RATE.value, _TEXT.value, folds)
    if _DRY_RUN.value:
        command.log.info(cohort.summary())
        splits, labels = (cohort.table[column].to_pylist() for column in ("split", "labels"))
        for task, size in downstream.sizes(cohort.name, splits, labels).items():
            command.log.info(f"  task {task}: {size} (train / val / test)")
        command.log.info("dry run: no signal was read, nothing was written")
    elif preparation.prepare(cohort, out, _WORKERS.value, shard, command.Progress("preparing", "records")):
        command.log.info(Store(out).summary())
    else:
        command.log.info(f"part {shard[0]} of {shard[1]} is done; the last part to end writes the store")


def parse_folds(text: str) -> tuple[int, int]:
    """(val, test) of "val,test".

    Raises:
        ValueError: anything but two integers.
    """
    val, _, test = text.partition(",")
    if not (val.isdecimal() and test.isdecimal()):
        raise ValueError(f"--folds={text} is not VAL,TEST, for example 9,10")
    return int(val), int(test)


if __name__ == "__main__":
    command.run(main, __doc__)
