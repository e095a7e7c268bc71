"""From a cohort's files to a store: in parallel, in chunks, so that an interrupted run goes on where it was.

A store grows in `OUT.partial/`: each chunk of recordings becomes one ArrayRecord file and, under `chunks/`, one Parquet
file of rows and, last, one JSON file that says that the chunk is whole. When every chunk is, the rows become one table,
the manifest is written, and the folder gets its name by one rename: a store is whole or it is not there.
"""

import concurrent.futures
import csv
import dataclasses
import hashlib
import json
import multiprocessing
import os
import shutil
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from array_record.python.array_record_module import ArrayRecordWriter

import kmerl_jax
from kmerl_jax.cohorts import store
from kmerl_jax.cohorts.cohort import SPLITS, Cohort, batches
from kmerl_jax.signals import files, leads, waveform

# One entry a group: every read is random. Uncompressed: the disk's page cache then serves 6,000 entries a second.
_WRITER_OPTIONS = "group_size:1,uncompressed"
_ROWS = pa.schema(
    {
        "record": pa.string(),
        "window": pa.int32(),
        "patient": pa.string(),
        "split": pa.string(),
        "segments": pa.int32(),
        "leads": pa.int32(),
        "interpolated_samples": pa.int32(),
        "flat_leads": pa.int32(),
        "leads_with_long_gap": pa.int32(),
        "report": pa.string(),
        "words": pa.int32(),
        "statements": pa.list_(pa.string()),
        "labels": pa.list_(pa.string()),
    }
)
_MINE = f".{uuid.uuid4().hex}.tmp"
_REPAIRS = ("record", "window", "repair")
_REJECTS = ("record", "kind", "reason")


@dataclasses.dataclass(frozen=True)
class Chunk:
    """Consecutive rows of a cohort's table that one worker turns into one file."""

    number: int
    table: pa.Table
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
        """What was read, repaired and rejected; its presence says that the chunk is whole."""
        return self.folder / "chunks" / f"chunk-{self.number:05d}.json"

    def __reduce__(self):
        # On its way to a worker: a pickled slice would take the whole cohort along, a copy of its rows does not.
        return Chunk, (self.number, self.table.take(np.arange(len(self.table))), self.folder)


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
    try:
        return _prepare(cohort, out, plan, workers, shard, progress)
    except Exception:
        # Another shard, or the same command given twice, may have ended the store under our hands: all is well then.
        manifest = _manifest_of(out)
        if manifest is None or manifest["plan"] != plan:
            raise
        return manifest


def _prepare(
    cohort: Cohort, out: Path, plan: str, workers: int, shard: tuple[int, int], progress: Callable[[int, int], None]
) -> dict | None:
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
    for rows in batches(cohort.table.drop_columns("path")):
        plan.update(json.dumps(rows).encode())
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


def _unfinished(path: Path) -> Path:
    """Where a file grows; its own in every run, for two runs may write the same file at a time."""
    return path.with_name(f"{path.name}{_MINE}")


def _write_whole(path: Path, text: str) -> None:
    """Writes a file that is never seen half."""
    _unfinished(path).write_text(text)
    _unfinished(path).replace(path)


def _chunks(table: pa.Table, folder: Path) -> Iterator[Chunk]:
    # Small enough to keep all workers busy on a small cohort, large enough to keep MIMIC at some 400 files. It depends
    # on the cohort alone, so that the files are the same whatever the number of workers and shards.
    size = int(np.clip(len(table) / 64, 32, 2048))
    for number, start in enumerate(range(0, len(table), size)):
        yield Chunk(number, table.slice(start, size), folder)


def _run(chunks: list[Chunk], workers: int) -> Iterator[int]:
    if workers == 0:
        for chunk in chunks:
            yield prepare_chunk(chunk)
        return
    with _pool(workers) as pool:
        futures = [pool.submit(prepare_chunk, chunk) for chunk in chunks]
        try:
            for future in concurrent.futures.as_completed(futures):
                yield future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _pool(workers: int) -> concurrent.futures.ProcessPoolExecutor:
    # Not forked from this process, which may hold JAX's threads, but from a small one that has imported what workers
    # need: they start at once, and share its memory.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return concurrent.futures.ProcessPoolExecutor(workers, context, _end_with_parent)


def _end_with_parent() -> None:
    """Ends this worker with the process that started it: one that is killed cannot say that the work is over."""

    def wait() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def prepare_chunk(chunk: Chunk) -> int:
    """Reads a chunk's recordings, writes their windows, and says what was repaired and rejected.

    A recording that cannot be used never stops the run: it is counted and named, with the reason.

    Returns:
        The number of recordings in the chunk.
    """
    temporary = _unfinished(chunk.records)
    writer = ArrayRecordWriter(str(temporary), _WRITER_OPTIONS)
    rows, repaired, rejects = [], [], []
    counts, rates, recorded = Counter(), Counter(), Counter()
    for record in chunk.table.to_pylist():
        try:
            ecg = files.read(record["path"])
            windows = [waveform.to_window(part) for part in waveform.windows(ecg)]
        except (OSError, ValueError) as error:
            rejects.append((record["record"], _kind(error), str(error)))
            continue
        rates[f"{ecg.rate:g}"] += 1
        recorded[len(ecg.leads)] += 1
        for number, (window, repairs) in enumerate(windows):
            writer.write(store.encode(window))
            rows.append(_row(record, number, window, repairs))
            repaired += [(record["record"], number, repair) for repair in _repairs(ecg, window, repairs)]
            counts.update(repairs)
    writer.close()
    # The marker is written last: everything that it speaks of is then on disk under its final name.
    pq.write_table(pa.Table.from_pylist(rows, _ROWS), _unfinished(chunk.rows))
    _unfinished(chunk.rows).replace(chunk.rows)
    temporary.replace(chunk.records)
    done = {"entries": len(rows), "counts": counts, "rates": rates, "leads": recorded}
    done |= {"repairs": repaired, "rejects": rejects, "sha256": store.digest(chunk.records)}
    _write_whole(chunk.done, json.dumps(done))
    return len(chunk.table)


def _repairs(ecg: waveform.Ecg, window: waveform.Window, counts: Counter) -> Iterator[str]:
    """What was done to one window, and what it lacks, in words."""
    absent = [lead for lead in leads.STANDARD if lead not in ecg.leads]
    dropped = [lead for lead, there in zip(leads.STANDARD, window.presence, strict=True) if not there]
    dropped = [lead for lead in dropped if lead not in absent]
    if absent:
        yield f"leads not recorded: {' '.join(absent)}"
    if dropped:
        why = ", ".join(f"{kind}: {counts[kind]}" for kind in ("flat leads", "leads with a long gap") if counts[kind])
        yield f"leads marked absent: {' '.join(dropped)} ({why})"
    if counts["samples interpolated"]:
        yield f"samples interpolated: {counts['samples interpolated']}"
    if ecg.rate != waveform.RATE:
        yield f"resampled from {ecg.rate:g} Hz"


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


def _row(record: dict, number: int, window: waveform.Window, repairs: Counter) -> dict:
    return {column: record[column] for column in _ROWS.names if column in record} | {
        "window": number,
        "segments": window.segments,
        "leads": int(window.presence.sum()),
        "interpolated_samples": repairs["samples interpolated"],
        "flat_leads": repairs["flat leads"],
        "leads_with_long_gap": repairs["leads with a long gap"],
    }


def _finish(cohort: Cohort, chunks: list[Chunk], partial: Path, out: Path, plan: str) -> dict:
    """Puts the chunks together, one at a time: neither the table nor the lists need fit into memory."""
    entries, records, splits, patients, record_files = 0, 0, Counter(), set(), []
    counts, rates, recorded, kinds, example = Counter(), Counter(), Counter(), Counter(), None
    names = {name: partial / name for name in ("table.parquet", "repairs.csv", "rejects.csv")}
    with (
        pq.ParquetWriter(_unfinished(names["table.parquet"]), _ROWS) as table,
        open(_unfinished(names["repairs.csv"]), "w", newline="") as repairs_file,
        open(_unfinished(names["rejects.csv"]), "w", newline="") as rejects_file,
    ):
        repairs, rejects = (csv.writer(file, lineterminator="\n") for file in (repairs_file, rejects_file))
        repairs.writerow(_REPAIRS)
        rejects.writerow(_REJECTS)
        for chunk in chunks:
            said = json.loads(chunk.done.read_text())
            repairs.writerows(said["repairs"])
            rejects.writerows(said["rejects"])
            kinds.update(kind for _, kind, _ in said["rejects"])
            example = example or next((reason for *_, reason in said["rejects"]), None)
            for total, of_chunk in ((counts, "counts"), (rates, "rates"), (recorded, "leads")):
                total.update(said[of_chunk])
            if said["entries"]:
                rows = pq.read_table(chunk.rows)
                table.write_table(rows)
                splits.update(rows["split"].to_pylist())
                patients.update(rows["patient"].unique().to_pylist())
                record_files.append(_file(chunk.records, sha256=said["sha256"], entries=said["entries"]))
            else:
                chunk.records.unlink(missing_ok=True)
            entries += said["entries"]
            records += len(chunk.table) - len(said["rejects"])
    if entries == 0:
        shutil.rmtree(partial)  # or else the same command, given once the files are there, would not look at them
        raise ValueError(
            f"all {kinds.total():,} recordings were rejected ({', '.join(sorted(kinds))}), for example: {example}"
        )
    for path in names.values():
        _unfinished(path).replace(path)
    manifest = {
        "format_version": store.FORMAT_VERSION,
        "cohort": cohort.name,
        "entries": entries,
        "records": records,
        "patients": len(patients),
        "patient_ids": cohort.patient_ids,
        "splits": {split: splits[split] for split in SPLITS},
        "rates": _largest_first(rates),
        "leads": _largest_first(recorded),
        "repairs": dict(counts),
        "rejects": dict(kinds),
        "left_out": dict(cohort.left_out),
        "notes": dict(cohort.notes),
        "label_names": cohort.label_names,
        "labels_title": cohort.labels_title,
        "held_out": list(cohort.held_out),
        "about": cohort.about,
        "versions": {"kmerl_jax": kmerl_jax.__version__}
        | {name: version(name) for name in ("wfdb", "numpy", "scipy", "array_record")},
        "plan": plan,
        "table": _file(names["table.parquet"], sha256=store.digest(names["table.parquet"])),
        "files": record_files,
    }
    _write_whole(partial / "manifest.json", json.dumps(manifest, indent=1))
    partial.rename(out)
    # Only now: what a kill leaves before the rename is everything that the next start needs.
    shutil.rmtree(out / "chunks", ignore_errors=True)
    for left in out.glob("*.tmp"):  # by those that were killed, or were slower
        left.unlink()
    return manifest


def _largest_first(counts: Counter) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _file(path: Path, **about) -> dict:
    return {"name": path.name, "bytes": path.stat().st_size, **about}
