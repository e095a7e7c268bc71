"""From a cohort's files to a store: in parallel, in chunks, so that an interrupted run goes on where it was.

A store grows in `OUT.partial/`: each chunk of recordings becomes one ArrayRecord file and, under `chunks/`, one Parquet
file of rows and, last, one JSON file that says that the chunk is whole. When every chunk is, the rows become one table,
the manifest is written, and the folder gets its name by one rename: a store is whole or it is not there.
"""

import concurrent.futures
import dataclasses
import hashlib
import json
import multiprocessing
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from array_record.python.array_record_module import ArrayRecordWriter

import kmerl_jax
from kmerl_jax.cohorts import store
from kmerl_jax.cohorts.cohort import SPLITS, Cohort
from kmerl_jax.signals import files, waveform

# One entry a group: every read is random. Uncompressed: the disk's page cache then serves 6,000 entries a second.
_WRITER_OPTIONS = "group_size:1,uncompressed"


@dataclasses.dataclass(frozen=True)
class Chunk:
    """Consecutive rows of a cohort's table that one worker turns into one file."""

    number: int
    table: pd.DataFrame
    folder: Path

    @property
    def records(self) -> Path:
        """The ArrayRecord file."""
        return self.folder / f"records-{self.number:05d}.array_record"

    @property
    def rows(self) -> Path:
        """The rows of the store's table."""
        return self.folder / "chunks" / f"rows-{self.number:05d}.parquet"

    @property
    def done(self) -> Path:
        """What was read and rejected; its presence says that the chunk is whole."""
        return self.folder / "chunks" / f"chunk-{self.number:05d}.json"


def prepare(
    cohort: Cohort,
    out: Path,
    workers: int = 0,
    shard: tuple[int, int] = (0, 1),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict | None:
    """Writes a store, or the part of it that is this shard's to write.

    Args:
        cohort: whose recordings.
        out: the store's folder. If it is there already, made of the same cohort, nothing is done.
        workers: processes; 0 works in this one.
        shard: (i, n) makes every n-th chunk from the i-th on; the shard that finds all chunks whole ends the store.
        progress: called with the number of recordings done and the number in all.

    Returns:
        The manifest, or None while chunks of other shards are missing.

    Raises:
        FileExistsError: `out` is something else than this store.
        ValueError: `OUT.partial` was begun of another cohort or with other options, or every recording was rejected.
    """
    plan = _plan(cohort)
    if out.exists():
        manifest = _manifest_of(out)
        if manifest is None or manifest["plan"] != plan:
            raise FileExistsError(f"{out} exists and is not this store; remove it or name another folder with --out")
        return manifest
    partial = out.with_name(out.name + ".partial")
    (partial / "chunks").mkdir(parents=True, exist_ok=True)
    _claim(partial, plan)

    chunks = list(_chunks(cohort.table, partial))
    mine = chunks[shard[0] :: shard[1]]
    done = sum(len(chunk.table) for chunk in mine if chunk.done.exists())
    total = sum(len(chunk.table) for chunk in mine)
    progress(done, total)
    for count in _run([chunk for chunk in mine if not chunk.done.exists()], workers):
        done += count
        progress(done, total)
    if not all(chunk.done.exists() for chunk in chunks):
        return None
    return _finish(cohort, chunks, partial, out, plan)


def _plan(cohort: Cohort) -> str:
    """A digest of everything that decides the store's content."""
    plan = hashlib.sha256(json.dumps([store.FORMAT_VERSION, cohort.name, cohort.label_names, cohort.about]).encode())
    for start in range(0, len(cohort.table), 10_000):
        rows = cohort.table.iloc[start : start + 10_000].drop(columns="path")
        plan.update(rows.to_json(orient="values").encode())
    return plan.hexdigest()


def _manifest_of(out: Path) -> dict | None:
    try:
        return json.loads((out / "manifest.json").read_text())
    except (OSError, ValueError):
        return None


def _claim(partial: Path, plan: str) -> None:
    """Marks a partial store with what it will hold, and refuses one that was begun for something else."""
    path = partial / "chunks" / "plan"
    if path.exists() and path.read_text() != plan:
        raise ValueError(f"{partial} was begun with other records or options; remove it or name another --out")
    _write_whole(path, plan)


def _write_whole(path: Path, text: str) -> None:
    """Writes a file that is never seen half; shards on several hosts may write the same one."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text)
    temporary.replace(path)


def _chunks(table: pd.DataFrame, folder: Path) -> Iterator[Chunk]:
    # Small enough to keep all workers busy on a small cohort, large enough to keep MIMIC at some 400 files. It depends
    # on the cohort alone, so that the files are the same whatever the number of workers and shards.
    size = int(np.clip(len(table) / 64, 32, 2048))
    for number, start in enumerate(range(0, len(table), size)):
        yield Chunk(number, table.iloc[start : start + size], folder)


def _run(chunks: list[Chunk], workers: int) -> Iterator[int]:
    if workers == 0:
        for chunk in chunks:
            yield prepare_chunk(chunk)
        return
    # Spawned, not forked: the parent may hold JAX's threads.
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(workers, mp_context=context) as pool:
        futures = [pool.submit(prepare_chunk, chunk) for chunk in chunks]
        try:
            for future in concurrent.futures.as_completed(futures):
                yield future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def prepare_chunk(chunk: Chunk) -> int:
    """Reads a chunk's recordings, writes their windows, and says what was repaired and rejected.

    A recording that cannot be used never stops the run: it is counted, with the reason.

    Returns:
        The number of recordings in the chunk.
    """
    temporary = chunk.records.with_suffix(".tmp")
    writer = ArrayRecordWriter(str(temporary), _WRITER_OPTIONS)
    rows, rejects, counts = [], [], Counter()
    for record in chunk.table.itertuples(index=False):
        try:
            ecg = files.read_wfdb(record.path)
            windows = [waveform.to_window(part) for part in waveform.windows(ecg)]
        except (OSError, ValueError) as error:
            rejects.append({"record": record.record, "kind": _kind(error), "reason": str(error)})
            continue
        for number, (window, repairs) in enumerate(windows):
            writer.write(store.encode(window))
            rows.append(_row(record, number, window, repairs))
            counts.update(repairs)
    writer.close()
    # The marker is written last: everything that it speaks of is then on disk under its final name.
    pd.DataFrame(rows).to_parquet(chunk.rows, index=False)
    temporary.replace(chunk.records)
    done = {"entries": len(rows), "repairs": counts, "rejects": rejects, "sha256": store.digest(chunk.records)}
    _write_whole(chunk.done, json.dumps(done))
    return len(chunk.table)


def _kind(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "file missing"
    for kind, words in {
        "no signal in any lead": "no lead holds any signal",
        "amplitude beyond an ECG's": "is not an ECG's",
        "shorter than one segment": "shorter than one segment",
    }.items():
        if words in str(error):
            return kind
    return "unreadable file"


def _row(record, number: int, window: waveform.Window, repairs: Counter) -> dict:
    return {
        "record": record.record,
        "window": number,
        "patient": record.patient,
        "split": record.split,
        "segments": window.segments,
        "leads": int(window.presence.sum()),
        "interpolated_samples": repairs["samples interpolated"],
        "flat_leads": repairs["flat leads"],
        "leads_with_long_gap": repairs["leads with a long gap"],
        "report": record.report,
        "statements": record.statements,
        "labels": record.labels,
    }


def _finish(cohort: Cohort, chunks: list[Chunk], partial: Path, out: Path, plan: str) -> dict:
    said = [json.loads(chunk.done.read_text()) for chunk in chunks]
    rejects = [reject for chunk in said for reject in chunk["rejects"]]
    entries = sum(chunk["entries"] for chunk in said)
    if entries == 0:
        kinds = ", ".join(sorted({reject["kind"] for reject in rejects}))
        raise ValueError(f"all {len(rejects)} recordings were rejected ({kinds}), for example: {rejects[0]['reason']}")
    table = pd.concat(
        [pd.read_parquet(chunk.rows) for chunk, a in zip(chunks, said, strict=True) if a["entries"]], ignore_index=True
    )
    temporary = partial / f"table.{os.getpid()}.tmp"
    table.to_parquet(temporary, index=False)
    temporary.replace(partial / "table.parquet")
    pd.DataFrame(rejects, columns=["record", "kind", "reason"]).to_csv(partial / "rejects.csv", index=False)

    record_files = []
    for chunk, a in zip(chunks, said, strict=True):
        if a["entries"]:
            record_files.append(_file(chunk.records, sha256=a["sha256"], entries=a["entries"]))
        else:
            chunk.records.unlink(missing_ok=True)
    manifest = {
        "format_version": store.FORMAT_VERSION,
        "cohort": cohort.name,
        "entries": entries,
        "records": len(cohort.table) - len(rejects),
        "patients": int(table["patient"].nunique()),
        "splits": {split: int((table["split"] == split).sum()) for split in SPLITS},
        "repairs": dict(sum((Counter(a["repairs"]) for a in said), Counter())),
        "rejects": dict(Counter(reject["kind"] for reject in rejects)),
        "left_out": dict(cohort.left_out),
        "label_names": cohort.label_names,
        "labels_title": cohort.labels_title,
        "held_out": list(cohort.held_out),
        "about": cohort.about,
        "versions": {"kmerl_jax": kmerl_jax.__version__}
        | {name: version(name) for name in ("wfdb", "numpy", "scipy", "array_record")},
        "plan": plan,
        "table": _file(partial / "table.parquet", sha256=store.digest(partial / "table.parquet")),
        "files": record_files,
    }
    _write_whole(partial / "manifest.json", json.dumps(manifest, indent=1))
    try:
        partial.rename(out)
    except OSError:
        if _manifest_of(out) != manifest:  # else another shard saw the last chunk too, and was faster
            raise
    # Only now: what a kill leaves before the rename is everything that the next start needs.
    shutil.rmtree(out / "chunks", ignore_errors=True)
    return manifest


def _file(path: Path, **about) -> dict:
    return {"name": path.name, "bytes": path.stat().st_size, **about}
