import dataclasses
import os
import pickle
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from kmerl_jax.cohorts import catalog, preparation
from kmerl_jax.cohorts.store import Store
from tests.cohorts.sources import LEADS, mimic, noise
from tests.conftest import REPOSITORY


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def shorter(cohort, records):
    return dataclasses.replace(cohort, table=cohort.table.slice(0, records))


def test_the_same_bytes_for_any_number_of_workers_and_shards(demo_files, demo_store, tmp_path):
    cohort = catalog.load("demo", demo_files)
    preparation.prepare(cohort, tmp_path / "two", workers=2)
    assert preparation.prepare(cohort, tmp_path / "sharded", shard=(1, 2)) is None
    assert not (tmp_path / "sharded").exists()
    assert preparation.prepare(cohort, tmp_path / "sharded", shard=(0, 2)) is not None
    expected = contents(demo_store)
    assert contents(tmp_path / "two") == expected
    assert contents(tmp_path / "sharded") == expected
    assert not list(tmp_path.glob("*.partial"))


def test_an_interrupted_run_goes_on(demo_files, demo_store, tmp_path, monkeypatch):
    cohort, out, real = catalog.load("demo", demo_files), tmp_path / "store", preparation.prepare_chunk
    done = []

    def twice_then_stop(chunk):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(chunk.number)
        return real(chunk)

    monkeypatch.setattr(preparation, "prepare_chunk", twice_then_stop)
    with pytest.raises(KeyboardInterrupt):
        preparation.prepare(cohort, out)
    assert not out.exists()
    (tmp_path / "store.partial" / "records-00002.tmp").write_bytes(b"half a file")

    rest = []
    monkeypatch.setattr(preparation, "prepare_chunk", lambda chunk: rest.append(chunk.number) or real(chunk))
    preparation.prepare(cohort, out)
    assert done == [0, 1]
    assert min(rest) == 2
    expected = contents(demo_store)
    assert {name: data for name, data in contents(out).items() if name in expected} == expected


def test_twice_is_once_and_another_cohort_is_refused(demo_files, tmp_path):
    cohort, out = shorter(catalog.load("demo", demo_files), 5), tmp_path / "store"
    first = preparation.prepare(cohort, out)
    before = contents(out)
    assert preparation.prepare(cohort, out) == first
    assert contents(out) == before
    with pytest.raises(FileExistsError, match="is not this store"):
        preparation.prepare(shorter(cohort, 4), out)


def test_a_partial_store_of_something_else_is_refused(demo_files, tmp_path):
    cohort, out = shorter(catalog.load("demo", demo_files), 40), tmp_path / "store"
    assert preparation.prepare(cohort, out, shard=(0, 2)) is None
    with pytest.raises(ValueError, match="other records or options"):
        preparation.prepare(shorter(cohort, 39), out, shard=(1, 2))


def flip(path):
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)


def test_a_broken_record_never_stops_a_run(tmp_path):
    zeros, gap = np.zeros((5000, 12)), noise()
    gap[1000:2000, 2] = np.nan
    gap[10:13, 5] = np.nan
    gap[:, 7] = 0.1
    source = tmp_path / "mimic"
    signals = [(noise(), 500, LEADS), (zeros, 500, LEADS), (gap, 500, LEADS), (noise(25), 500, LEADS),
               (noise(6, 250, 8), 250, LEADS[:8]), *[(noise(), 500, LEADS)] * 4]  # fmt: skip
    mimic(source, signals)
    for name, damage in (
        ("40000005.dat", lambda path: path.write_bytes(path.read_bytes()[:3000])),
        ("40000006.dat", lambda path: path.unlink()),
        ("40000007.hea", lambda path: path.write_text(path.read_text().replace("200.0", "0.002"))),
        ("40000008.dat", flip),
    ):
        damage(next(source.glob(f"files/**/{name}")))
    manifest = preparation.prepare(catalog.load("mimic_iv_ecg", source), tmp_path / "store")
    opened = Store(tmp_path / "store")
    table = opened.table
    assert manifest["records"] == 4
    assert list(table["record"]) == ["40000000", "40000002", *["40000003"] * 3, "40000004"]
    assert list(table["window"]) == [0, 0, 0, 1, 2, 0]
    assert list(table["segments"]) == [50, 50, 50, 50, 25, 30]
    assert list(table["leads"]) == [12, 10, 12, 12, 12, 8]
    assert manifest["repairs"] == {"samples interpolated": 3, "leads with a long gap": 1, "flat leads": 1}
    assert manifest["rates"] == {"500": 3, "250": 1}
    assert manifest["leads"] == {"12": 3, "8": 1}
    assert manifest["rejects"] == {
        "no signal in any lead": 1,
        "unreadable file": 2,
        "file missing": 1,
        "amplitude beyond an ECG's": 1,
    }
    rejects = pd.read_csv(tmp_path / "store" / "rejects.csv", dtype=str)
    assert list(rejects) == ["record", "kind", "reason"]
    reasons = dict(zip(rejects["record"], rejects["reason"], strict=True))
    assert list(reasons) == ["40000001", "40000005", "40000006", "40000007", "40000008"]
    for record, words in (
        ("40000005", "truncated"),
        ("40000006", "missing"),
        ("40000007", "gain"),
        ("40000008", "sum"),
    ):
        assert words in reasons[record]
    repairs = pd.read_csv(tmp_path / "store" / "repairs.csv", dtype=str)
    assert repairs.to_dict("split")["data"] == [
        ["40000002", "0", "leads marked absent: III V2 (flat leads: 1, leads with a long gap: 1)"],
        ["40000002", "0", "samples interpolated: 3"],
        ["40000004", "0", "leads not recorded: V3 V4 V5 V6"],
        ["40000004", "0", "resampled from 250 Hz"],
    ]
    summary = " ".join(opened.summary().split())
    for line in (
        "resampled 1 records at 250 Hz",
        "recorded 1 records with 8 leads",
        "repairs 3 samples interpolated",
        "rejects 2 unreadable file",
        "rejects.csv",
        "repairs.csv",
    ):
        assert line in summary
    # Joined on study_id, not by the order of rows; joined as MERL does.
    assert table["report"][0] == "Sinus rhythm number 0. LVH"
    assert list(table["statements"][0]) == ["Sinus rhythm number 0.", "LVH"]
    assert table["words"][0] == 5
    assert not opened[1].presence[2]
    # The file has aVF before aVL; the store has the standard order.
    np.testing.assert_allclose(opened[0].signal[4] / 1000, signals[0][0][:, LEADS.index("aVL")], atol=0.003)


def test_only_broken_records_are_an_error(tmp_path):
    mimic(tmp_path / "mimic", [(np.zeros((5000, 12)), 500, LEADS)])
    with pytest.raises(ValueError, match="all 1 recordings were rejected"):
        preparation.prepare(catalog.load("mimic_iv_ecg", tmp_path / "mimic"), tmp_path / "store")
    assert not (tmp_path / "store").exists()
    assert not (tmp_path / "store.partial").exists()  # the same command may find better files later


def test_a_chunk_takes_only_its_own_rows_to_a_worker(demo_files):
    cohort = catalog.load("demo", demo_files)
    chunk = preparation.Chunk(3, cohort.table.slice(40, 2), demo_files)
    back = pickle.loads(pickle.dumps(chunk))
    assert (back.number, back.folder) == (3, demo_files)
    assert back.table.equals(chunk.table)
    assert back.table.get_total_buffer_size() < cohort.table.get_total_buffer_size() / 4


KILLED = """
import os, pathlib, signal, sys
from kmerl_jax.cohorts import catalog, preparation, store
real, files, out = store.digest, *map(pathlib.Path, sys.argv[1:])
def digest(path):
    if path.name.startswith("records-00002"):
        os.kill(os.getpid(), signal.SIGKILL)
    return real(path)
store.digest = digest
preparation.prepare(catalog.load("demo", files), out)
"""


def test_a_killed_run_goes_on(demo_files, demo_store, tmp_path):
    out = tmp_path / "store"
    done = subprocess.run([sys.executable, "-c", KILLED, str(demo_files), str(out)], timeout=300)
    assert done.returncode == -signal.SIGKILL
    assert not out.exists()
    assert [path.name for path in sorted(tmp_path.glob("store.partial/chunks/*.json"))] == [
        "chunk-00000.json",
        "chunk-00001.json",
    ]
    (tmp_path / "store.partial" / "records-00003.array_record.0.tmp").write_bytes(b"half a file")
    preparation.prepare(catalog.load("demo", demo_files), out)
    assert contents(out) == contents(demo_store)


ORPHANED = """
import os, signal, sys, time
from kmerl_jax.cohorts import preparation
def work(parent):
    os.write(1, b"working")
    os.kill(parent, signal.SIGKILL)
    time.sleep(30)
    os.write(1, b"an orphan")
if __name__ == "__main__":
    with preparation._pool(1) as pool:
        pool.submit(work, os.getpid()).result()
"""


def test_workers_end_with_the_process_that_started_them(tmp_path):
    (tmp_path / "orphaned.py").write_text(ORPHANED)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    # Its output ends when the last process that holds it has ended.
    done = subprocess.run([sys.executable, tmp_path / "orphaned.py"], capture_output=True, env=environment, timeout=300)
    assert done.stdout == b"working"


def test_the_table_is_read_back_as_it_was_given(demo_files, demo_store):
    table, cohort = Store(demo_store).table, catalog.load("demo", demo_files).table.to_pandas()
    assert isinstance(table, pd.DataFrame)
    for column in ("record", "patient", "split", "report", "words"):
        assert list(table[column]) == list(cohort[column])
    for column in ("statements", "labels"):
        assert [list(row) for row in table[column]] == [list(row) for row in cohort[column]]
        assert {type(text) for row in table[column] for text in row} == {str}


def test_a_store_that_another_process_ends_first(demo_files, demo_store, tmp_path, monkeypatch):
    cohort, out, real = catalog.load("demo", demo_files), tmp_path / "store", preparation._finish

    def slower(*arguments):
        monkeypatch.setattr(preparation, "_finish", real)
        preparation.prepare(cohort, out)
        return real(*arguments)

    monkeypatch.setattr(preparation, "_finish", slower)
    assert preparation.prepare(cohort, out) == Store(demo_store).manifest
    assert contents(out) == contents(demo_store)
