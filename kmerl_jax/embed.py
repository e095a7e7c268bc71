"""Turns ECGs into vectors: your own recordings, or a whole store.

    python -m kmerl_jax.embed --run=runs/vit_tiny-demo --out=mine.parquet recordings/
    python -m kmerl_jax.embed --run=runs/mimic --store=data/ptb_xl --leads=II --out=embedded/ptb_xl
    python -m kmerl_jax.embed --run=runs/mimic --store=data/mimic_iv_ecg --shard=3/8 --out=embedded/mimic

"pooled" are the encoder's features, before any projection: what a probe learns from, and what drifts. "projected" is
compared by its cosine with texts (model.similarity) or with other ECGs. Recordings become one Parquet file, a row each
(means over windows of 10 s); a store becomes a folder of them, a row a window, and the same command again goes on where
it was.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from kmerl_jax import command
from kmerl_jax.prediction import inputs, recordings

_RUN = flags.DEFINE_string("run", None, "Run directory, exported model, or USER/NAME on the Hub.", required=True)
_STORE = flags.DEFINE_string("store", None, "Store, as prepare makes it, in place of recordings.")
_OUT = flags.DEFINE_string("out", None, "Parquet file; of a store, a folder of them.", required=True)
_SHARD = flags.DEFINE_string("shard", "0/1", "I/N: of a store, write only every N-th file from the I-th on, from 0.")
_BATCH = flags.DEFINE_integer(
    "batch_size", None, "ECGs of 12 leads of a store at once, a device. Default the run's.", lower_bound=1
)

log = command.log


def main(named: Sequence[str]) -> int:
    """Embeds what is named; returns the exit status."""
    if bool(named) == bool(_STORE.value):
        raise ValueError("name recordings, or a store with --store, and not both")
    layout = inputs.layout()
    if _STORE.value and layout:
        raise ValueError("--rate, --units and --lead_names are of recordings; a store says its own")
    if not _STORE.value and (_BATCH.value or _SHARD.value != _SHARD.default):
        raise ValueError("--shard and --batch_size are for --store; recordings are embedded one by one")
    if _STORE.value:
        embed_store()
        return 0
    return embed_recordings(named)


def embed_store() -> None:
    """A folder of Parquet files, a row a window."""
    from kmerl_jax.cohorts.store import Store
    from kmerl_jax.evaluation import hub, pretrained
    from kmerl_jax.evaluation.inference import View
    from kmerl_jax.prediction import cohort
    from kmerl_jax.signals.leads import STANDARD
    from kmerl_jax.training import sharding

    out, shard = Path(_OUT.value), command.parse_shard(_SHARD.value)
    view = View(Store(Path(_STORE.value)), inputs.leads() or STANDARD)
    opened = pretrained.load(hub.locate(_RUN.value), sharding.make_mesh())
    batch_size = _BATCH.value or opened.config.evaluation.batch_size
    missing = cohort.embed(opened, view, out, batch_size, shard, command.Progress("embedding", "ECGs"))
    others = f"; {missing:,} files of other shards are missing" if missing else ""
    log.info(f"{out}: embeddings of {len(view.store.table):,} ECGs{others}")


def embed_recordings(named: Sequence[str]) -> int:
    """One Parquet file, a row a recording; returns the exit status."""
    import pandas as pd

    from kmerl_jax.evaluation import files as results
    from kmerl_jax.prediction import bags, model
    from kmerl_jax.signals import files
    from kmerl_jax.signals.leads import standard_order

    layout, leads = inputs.layout(), inputs.leads()
    paths = recordings.find(named, layout is not None)
    asked, rows, failed = model.load(_RUN.value), [], 0
    progress = command.Progress("embedding", "recordings")
    for done, path in enumerate(paths, 1):
        try:
            ecg = files.read(path, layout)
            seen = bags.of_ecg(ecg, leads)
            vectors = {"pooled": asked.embed(ecg, leads)}
            if asked.network.scores:
                vectors["projected"] = asked.project(ecg, leads)
        except (ValueError, OSError) as error:
            print(f"error: {command.line_about(path, error)}", file=sys.stderr, flush=True)
            failed += 1
            continue
        shown = standard_order(set().union(*(bag.leads for bag in seen)))
        about = {"record": str(path), "leads": " ".join(shown), "seconds": ecg.seconds, "rate": ecg.rate}
        rows.append(about | vectors)
        progress(done, len(paths))
    if not rows:
        raise ValueError(f"none of the {len(paths):,} recordings could be read; {_OUT.value} is not written")
    table = pd.DataFrame(rows)
    table.attrs = asked.facts()  # pandas keeps it in the file
    results.write_table(Path(_OUT.value), table)
    log.info(f"{_OUT.value}: {len(rows):,} recordings" + (f"; {failed:,} could not be read" if failed else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    command.run(main, __doc__, "RECORD...", "of a store, the same command goes on where it was")
