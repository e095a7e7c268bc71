import dataclasses
import json
import shutil

import numpy as np
import pandas as pd
import pytest
import wfdb

from kmerl_jax.cohorts import catalog, preparation
from kmerl_jax.cohorts.store import Store

RNG = np.random.default_rng(0)
LEADS = ("I", "II", "III", "aVR", "aVF", "aVL", "V1", "V2", "V3", "V4", "V5", "V6")


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def shorter(cohort, records):
    return dataclasses.replace(cohort, table=cohort.table.iloc[:records])


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


def write(folder, name, signal, rate, leads, gain):
    count = len(leads)
    wfdb.wrsamp(name, fs=rate, units=["mV"] * count, sig_name=list(leads), p_signal=signal, fmt=["16"] * count,
                adc_gain=[gain] * count, baseline=[0] * count, write_dir=str(folder))  # fmt: skip


def mimic(folder, signals):
    """A folder in MIMIC-IV-ECG's layout, the tables in two orders."""
    records, reports = [], []
    for n, (signal, rate, leads) in enumerate(signals):
        study, path = 40_000_000 + n, f"files/p1000/p1000000{n % 3}/s{40_000_000 + n}"
        (folder / path).mkdir(parents=True)
        write(folder / path, str(study), signal, rate, leads, 200.0)
        records.append({"subject_id": 10_000_000 + n % 3, "study_id": study, "path": f"{path}/{study}"})
        report = {f"report_{m}": "" for m in range(18)} | {"report_0": f"Sinus rhythm number {n}.", "report_3": "LVH"}
        reports.append({"study_id": study} | report)
    pd.DataFrame(records).to_csv(folder / "record_list.csv", index=False)
    pd.DataFrame(reports[::-1]).to_csv(folder / "machine_measurements.csv", index=False)


def noise(seconds=10, rate=500, leads=12):
    return RNG.normal(0, 0.3, (round(seconds * rate), leads))


def test_a_broken_record_never_stops_a_run(tmp_path):
    zeros, gap = np.zeros((5000, 12)), noise()
    gap[1000:2000, 2] = np.nan
    gap[10:13, 5] = np.nan
    source = tmp_path / "mimic"
    signals = [(noise(), 500, LEADS), (zeros, 500, LEADS), (gap, 500, LEADS), (noise(25), 500, LEADS),
               (noise(6, 250, 8), 250, LEADS[:8]), *[(noise(), 500, LEADS)] * 3]  # fmt: skip
    mimic(source, signals)
    for name, damage in (
        ("40000005.dat", lambda path: path.write_bytes(path.read_bytes()[:3000])),
        ("40000006.dat", lambda path: path.unlink()),
        ("40000007.hea", lambda path: path.write_text(path.read_text().replace("200.0", "0.002"))),
    ):
        damage(next(source.glob(f"files/**/{name}")))
    manifest = preparation.prepare(catalog.load("mimic_iv_ecg", source), tmp_path / "store")
    opened = Store(tmp_path / "store")
    table = opened.table
    assert manifest["records"] == 4
    assert list(table["record"]) == ["40000000", "40000002", *["40000003"] * 3, "40000004"]
    assert list(table["window"]) == [0, 0, 0, 1, 2, 0]
    assert list(table["segments"]) == [50, 50, 50, 50, 25, 30]
    assert list(table["leads"]) == [12, 11, 12, 12, 12, 8]
    assert manifest["repairs"] == {"samples interpolated": 3, "leads with a long gap": 1}
    assert manifest["rejects"] == {
        "no signal in any lead": 1,
        "unreadable file": 1,
        "file missing": 1,
        "amplitude beyond an ECG's": 1,
    }
    rejects = pd.read_csv(tmp_path / "store" / "rejects.csv", dtype=str)
    assert list(rejects["record"]) == ["40000001", "40000005", "40000006", "40000007"]
    # Joined on study_id, not by the order of rows; joined as MERL does.
    assert table["report"][0] == "Sinus rhythm number 0. LVH"
    assert list(table["statements"][0]) == ["Sinus rhythm number 0.", "LVH"]
    assert not opened[1].presence[2]
    # The file has aVF before aVL; the store has the standard order.
    np.testing.assert_allclose(opened[0].signal[4] / 1000, signals[0][0][:, LEADS.index("aVL")], atol=0.003)


def test_only_broken_records_are_an_error(tmp_path):
    mimic(tmp_path / "mimic", [(np.zeros((5000, 12)), 500, LEADS)])
    with pytest.raises(ValueError, match="all 1 recordings were rejected"):
        preparation.prepare(catalog.load("mimic_iv_ecg", tmp_path / "mimic"), tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_a_table_without_its_column(tmp_path):
    mimic(tmp_path, [(noise(), 500, LEADS)])
    (tmp_path / "record_list.csv").write_text("subject_id,path\n1,a\n")
    with pytest.raises(ValueError, match="no column 'study_id'"):
        catalog.load("mimic_iv_ecg", tmp_path)
    (tmp_path / "record_list.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"record_list\.csv not found"):
        catalog.load("mimic_iv_ecg", tmp_path)


def test_records_without_reports_are_counted(tmp_path):
    mimic(tmp_path, [(noise(), 500, LEADS)] * 4)
    reports = pd.read_csv(tmp_path / "machine_measurements.csv")
    reports["study_id"] = reports["study_id"].replace(40_000_002, 49_999_999)
    reports.to_csv(tmp_path / "machine_measurements.csv", index=False)
    cohort = catalog.load("mimic_iv_ecg", tmp_path)
    assert len(cohort.table) == 3
    assert cohort.left_out == {"record without a machine report": 1, "machine report without a record": 1}


def ptb_xl(folder):
    for rate, sub, suffix in ((100, "records100", "lr"), (500, "records500", "hr")):
        for n in (1, 2, 3, 4):
            if (n, rate) == (2, 500):
                continue  # a record that is missing at one rate
            (folder / sub / "00000").mkdir(parents=True, exist_ok=True)
            write(folder / sub / "00000", f"{n:05d}_{suffix}", noise(10, rate), rate, LEADS, 1000.0)
    rows = [
        {"ecg_id": n, "patient_id": float(n), "report": "sinusrhythmus", "scp_codes": codes, "strat_fold": fold,
         "filename_lr": f"records100/00000/{n:05d}_lr", "filename_hr": f"records500/00000/{n:05d}_hr"}
        for n, codes, fold in ((1, "{'NORM': 100.0, 'SR': 0.0}", 8), (2, "{'ISCAL': 50.0}", 9), (3, "{'IMI': 0.0}", 10))
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(folder / "ptbxl_database.csv", index=False)
    (folder / "scp_statements.csv").write_text(
        ",description,Statement Category,SCP-ECG Statement Description\n"
        "NORM,normal ECG,Normal/abnormal,normal ECG\n"
        "SR,sinus rhythm,Rhythm,sinus rhythm\n"
        "IMI,inferior myocardial infarction,Myocardial Infarction,inferior myocardial infarction\n"
        "ISCAL,ischemic in anterolateral leads,ischemic ST-T changes,in anterolateral leads\n"
    )


def test_ptb_xl(tmp_path):
    source = tmp_path / "ptb_xl"
    ptb_xl(source)
    cohort = catalog.load("ptb_xl", source, 100)
    table = cohort.table
    assert list(table["split"]) == ["train", "val", "test"]
    assert list(table["report"]) == [
        "normal ECG. sinus rhythm",
        "ischemic ST-T changes in anterolateral leads",
        "inferior myocardial infarction",
    ]
    assert list(table["labels"]) == [["NORM", "SR"], ["ISCAL"], ["IMI"]]  # whatever the likelihood, 0 included
    assert cohort.left_out == {"file without a row in ptbxl_database.csv": 1}
    assert list(catalog.load("ptb_xl", source, 100, "german").table["report"]) == ["sinusrhythmus"] * 3

    slow, fast = (
        preparation.prepare(catalog.load("ptb_xl", source, rate), tmp_path / f"{rate}") for rate in (100, 500)
    )
    assert (slow["entries"], fast["entries"]) == (3, 2)
    assert fast["rejects"] == {"file missing": 1}
    assert Store(tmp_path / "100")[0].segments == 50
    with pytest.raises(ValueError, match="250 Hz"):
        catalog.load("ptb_xl", source, 250)
    with pytest.raises(ValueError, match="--rate"):
        catalog.load("mimic_iv_ecg", source, 100)
    shutil.rmtree(source / "records100")
    with pytest.raises(FileNotFoundError, match="records100"):
        catalog.load("ptb_xl", source, 100)


def test_real_ptb_xl(real_data, tmp_path):
    cohort = catalog.load("ptb_xl", real_data / "ptb_xl", 500)
    manifest = preparation.prepare(cohort, tmp_path / "store")
    assert manifest["splits"]["train"] > manifest["splits"]["val"] > 0
    assert manifest["records"] + sum(manifest["rejects"].values()) == len(cohort.table)
    assert json.loads((tmp_path / "store" / "manifest.json").read_text()) == manifest
