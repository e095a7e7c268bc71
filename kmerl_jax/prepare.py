"""Turns a cohort's files into a store: ten-second windows at 500 Hz, with reports and labels.

    python -m kmerl_jax.prepare --cohort=demo --out=data/demo
    python -m kmerl_jax.prepare --cohort=ptb_xl --source=physionet/ptb-xl/1.0.3 --rate=500 --out=data/ptb_xl
    python -m kmerl_jax.prepare --cohort=mimic_iv_ecg --source=physionet/mimic-iv-ecg/1.0 --out=data/mimic_iv_ecg

The demo cohort is simulated first, into --source (default: the store's name with "-files"). An interrupted run goes on
where it was when the same command is given again.
"""

import os
from pathlib import Path

from absl import flags

from kmerl_jax import command
from kmerl_jax.cohorts import catalog, demo, preparation, ptb_xl
from kmerl_jax.cohorts.store import Store

_COHORT = flags.DEFINE_enum("cohort", None, catalog.NAMES, "Which data set.", required=True)
_SOURCE = flags.DEFINE_string("source", None, "Folder of the data set's files; of demo: where to write them.")
_OUT = flags.DEFINE_string("out", None, "Folder of the store to write.", required=True)
_RATE = flags.DEFINE_integer("rate", None, "PTB-XL: which copy of the signals, 100 or 500 Hz. Default 500.")
_TEXT = flags.DEFINE_enum("text", None, ptb_xl.TEXTS, "PTB-XL: which text is the report. Default statements.")
_RECORDS = flags.DEFINE_integer("records", demo.RECORDS, "Demo: how many ECGs to simulate.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "Demo: seed of the simulated patients.", lower_bound=0)
_WORKERS = flags.DEFINE_integer("workers", os.cpu_count(), "Processes; 0 works in this one.", lower_bound=0)
_SHARD = flags.DEFINE_string("shard", "0/1", "I/N: write only the I-th of N parts (I from 0), on one of N hosts.")


def main() -> None:
    """Reads the flags, then simulates if need be, loads the cohort, writes the store and says what came of it."""
    out, shard = Path(_OUT.value), parse_shard(_SHARD.value)
    if _COHORT.value == "demo":
        source = Path(_SOURCE.value) if _SOURCE.value else demo.files_of(out)
        demo.simulate(source, _RECORDS.value, _SEED.value, _WORKERS.value, command.Progress("simulating", "ECGs"))
    elif _SOURCE.value:
        source = Path(_SOURCE.value)
    else:
        raise ValueError(f"--source is missing: the folder of {_COHORT.value}'s files")
    cohort = catalog.load(_COHORT.value, source, _RATE.value, _TEXT.value)
    if preparation.prepare(cohort, out, _WORKERS.value, shard, command.Progress("preparing", "records")):
        command.log.info(Store(out).summary())
    else:
        command.log.info(f"part {shard[0]} of {shard[1]} is done; the last part to end writes the store")


def parse_shard(text: str) -> tuple[int, int]:
    """(i, n) of "i/n".

    Raises:
        ValueError: anything but two integers with 0 <= i < n.
    """
    first, _, count = text.partition("/")
    if not (first.isdecimal() and count.isdecimal() and int(first) < int(count)):
        raise ValueError(f"--shard={text} is not I/N with 0 <= I < N, for example 0/4")
    return int(first), int(count)


if __name__ == "__main__":
    command.run(main, __doc__)
