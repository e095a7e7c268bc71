"""Embeddings of a whole store, as a folder of Parquet files: streamed, in shards, and gone on with when interrupted.

A folder that holds `_embedding.json` and `part-00000.parquet`, ... is read as one table by pandas, pyarrow and DuckDB.
"""

import json
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kmerl_jax.evaluation import files, inference
from kmerl_jax.evaluation.inference import Outputs, View
from kmerl_jax.evaluation.pretrained import Pretrained
from kmerl_jax.models import tokens

_PART = 8192  # entries of a file
_COLUMNS = ("record", "window", "patient", "split", "segments", "leads")


def embed(
    opened: Pretrained,
    view: View,
    out: Path,
    batch_size: int,
    shard: tuple[int, int] = (0, 1),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Writes the files of this shard that are not there yet; each is there whole or not at all.

    Rows are the store's entries, in its order: its ids, "seen" (it has any of the leads), "pooled" (the encoder's
    features, before any projection) and "projected" (compared with projected texts by their cosine).

    Args:
        opened: the model, on all devices.
        view: the store and the leads.
        out: the folder.
        batch_size: ECGs of 12 leads at a time on each device.
        shard: (i, n) writes every n-th file from the i-th on.
        progress: called with the number of ECGs done and the number in all, of this shard.

    Returns:
        How many files of all shards are missing still.

    Raises:
        ValueError: the folder was begun with another model, store or leads.
    """
    _claim(out, opened, view)
    rows = np.arange(len(view.store.table))
    parts = {
        out / f"part-{n:05d}.parquet": rows[start : start + _PART] for n, start in enumerate(range(0, len(rows), _PART))
    }
    mine = dict(list(parts.items())[shard[0] :: shard[1]])
    wanted = {path: part for path, part in mine.items() if not path.exists()}
    total = sum(map(len, mine.values()))
    done = total - sum(map(len, wanted.values()))
    progress(done, total)

    def forward(params: dict, bag: tokens.Tokens) -> dict[str, jax.Array]:
        out = opened.model.apply({"params": params}, bag, method="embedded")
        return {{"pooled": "pooled", "ecg": "projected"}[name]: x for name, x in out.items()}

    if wanted:
        how = {"view": view, "rows": np.concatenate(list(wanted.values())), "batch_size": batch_size}
        waiting, left = list(wanted.items()), []
        for batch in inference.batches(forward, opened.params, opened.form, opened.mesh, **how):
            left.append(batch)
            done += len(batch["seen"])
            progress(done, total)
            while waiting and sum(len(one["seen"]) for one in left) >= len(waiting[0][1]):
                path, part = waiting.pop(0)
                whole = {name: np.concatenate([one[name] for one in left]) for name in left[0]}
                left = [{name: x[len(part) :] for name, x in whole.items()}]
                _write(path, view, part, {name: x[: len(part)] for name, x in whole.items()})
    return sum(not path.exists() for path in parts)


def _claim(out: Path, opened: Pretrained, view: View) -> None:
    """Says what the folder holds, or checks that it holds the same."""
    about = {
        "model": opened.checksum,
        "run": f"{opened.config.name}-{opened.config.recipe}, step {opened.step}",
        "store": view.store.checksum,
        "cohort": view.store.manifest["cohort"],
        "leads": list(view.leads),
        "entries": len(view.store.table),
    }
    file = out / "_embedding.json"
    if not file.exists():
        others = [path for path in out.iterdir() if not path.name.startswith(".")] if out.exists() else []
        if others and not file.exists():  # another shard may have come first
            raise ValueError(f"{out} holds something else; name another --out")
        out.mkdir(parents=True, exist_ok=True)
        files.write_json(file, about)
    before = json.loads(file.read_text())
    if differing := [name for name in ("model", "store", "leads") if before.get(name) != about[name]]:
        raise ValueError(f"{out} was begun with another {' and '.join(differing)}; name another --out")


def _write(path: Path, view: View, rows: np.ndarray, values: Outputs) -> None:
    table = pa.Table.from_pandas(view.store.table.iloc[rows][list(_COLUMNS)], preserve_index=False)
    table = table.append_column("seen", pa.array(values["seen"]))
    for name in sorted(set(values) - {"seen"}):
        table = table.append_column(name, vectors(values[name]))
    with files.whole_file(path) as unfinished:
        pq.write_table(table, unfinished)


def vectors(values: np.ndarray) -> pa.Array:
    """[N, D] as N lists of D float32."""
    flat = pa.array(np.ascontiguousarray(values, np.float32).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
