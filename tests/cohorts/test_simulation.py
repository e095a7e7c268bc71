"""The simulated cohort: files that wfdb reads, tables that join, truth that holds, reports that keep their secrets."""

import hashlib
import json
import re

import numpy as np
import pandas as pd
import pytest
import wfdb

from kmerl_jax.cohorts import demo_reports, patients, population, simulation
from kmerl_jax.cohorts.population import FINDINGS, HELD_OUT
from kmerl_jax.cohorts.simulation import simulate_cohort
from kmerl_jax.signals import rhythm

RECORDS, SEED = 120, 11
REPORTS = [f"report_{n}" for n in range(18)]
SECRETS = re.compile(
    r"bigemin|trigemin|couplet|fascic|hemiblock|lafb|lahb|lateral[^|]*infarct|infarct[^|]*lateral", re.IGNORECASE
)


def digests(folder):
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulation") / "cohort"
    simulate_cohort(folder, RECORDS, SEED, workers=0)
    return folder


@pytest.fixture(scope="module")
def drawn():
    """600 readings and reports, without noise and files."""
    out = []
    for record, number, _ in simulation._visits(600, SEED):
        patient = patients.draw_patient(simulation._patient_rng(SEED, number))
        rng = simulation._record_rng(SEED, record)
        beats = patients.draw_rhythm(patient, rng)
        person = patients.draw_heart(patient, beats, rng)
        reading = patients.read(patient, person, beats)
        out.append((patient, person, beats, reading, demo_reports.write(reading, rng)))
    return out


def test_layout_is_that_of_mimic_iv_ecg(cohort):
    records = pd.read_csv(cohort / "record_list.csv", dtype=str)
    measured = pd.read_csv(cohort / "machine_measurements.csv", dtype=str, keep_default_na=False)
    assert list(records) == ["subject_id", "study_id", "file_name", "ecg_time", "path"]
    assert list(measured) == [
        *("subject_id", "study_id", "cart_id", "ecg_time", *REPORTS, "bandwidth", "filtering", "rr_interval"),
        *("p_onset", "p_end", "qrs_onset", "qrs_end", "t_end", "p_axis", "qrs_axis", "t_axis"),
    ]
    assert len(records) == len(measured) == records.study_id.nunique() == RECORDS
    assert list(records.study_id) != list(measured.study_id)
    assert set(records.study_id) == set(measured.study_id)
    assert records.subject_id.str.fullmatch(r"1\d{7}").all()
    assert records.study_id.str.fullmatch(r"4\d{7}").all()
    assert records.groupby("subject_id").size().between(1, 3).all()
    assert records.subject_id.nunique() < RECORDS
    for row in records.itertuples():
        assert row.path == f"files/p{row.subject_id[:4]}/p{row.subject_id}/s{row.study_id}/{row.study_id}"
        assert (cohort / f"{row.path}.dat").stat().st_size == 12 * 5000 * 2


def test_wfdb_reads_the_records_with_right_checksums(cohort):
    records = pd.read_csv(cohort / "record_list.csv", dtype=str)
    for row in records.head(12).itertuples():
        record = wfdb.rdrecord(str(cohort / row.path), physical=False)
        assert record.sig_name == ["I", "II", "III", "aVR", "aVF", "aVL", "V1", "V2", "V3", "V4", "V5", "V6"]
        assert (record.fs, record.sig_len, set(record.adc_gain), set(record.units)) == (500, 5000, {200.0}, {"mV"})
        assert record.calc_checksum() == record.checksum
        assert list(record.d_signal[0]) == record.init_value
        assert f"{record.base_date} {record.base_time}" == row.ecg_time
        assert record.comments == [f"<subject_id>: {row.subject_id}"]
        i, ii, iii, avr, avf, avl = record.d_signal.T[:6].astype(int)
        # The identities hold but for the rounding of each lead to 5 uV.
        assert np.abs(iii - (ii - i)).max() <= 1
        assert np.abs(2 * avr + i + ii).max() <= 2
        assert np.abs(2 * avf - 2 * ii + i).max() <= 2
        assert np.abs(2 * avl - 2 * i + ii).max() <= 2
        assert (record.d_signal.std(axis=0) > 4).sum() >= 11


def test_bytes_depend_on_the_seed_alone(cohort, tmp_path):
    finished = []
    simulate_cohort(tmp_path / "two", RECORDS, SEED, workers=2, progress=finished.append)
    assert sum(finished) == RECORDS
    assert len(finished) > 1
    assert digests(tmp_path / "two") == digests(cohort)
    simulate_cohort(tmp_path / "fewer", 20, SEED, workers=0)
    simulate_cohort(tmp_path / "other", 20, SEED + 1, workers=0)
    larger, fewer = digests(cohort), digests(tmp_path / "fewer")
    files = {path: digest for path, digest in fewer.items() if path.startswith("files/")}
    assert len(files) == 40
    assert files.items() <= larger.items()
    assert not set(digests(tmp_path / "other").values()) & set(files.values())
    for table in ("record_list.csv", "findings.csv"):
        small, large = ((folder / table).read_text().splitlines() for folder in (tmp_path / "fewer", cohort))
        assert large[: len(small)] == small
    assert not list(tmp_path.glob(".*"))


def test_a_complete_folder_is_kept_and_another_cohort_refused(cohort, tmp_path, monkeypatch):
    before = digests(cohort)
    monkeypatch.setattr(simulation, "_write_chunk", None)  # a second call has nothing to simulate
    simulate_cohort(cohort, RECORDS, SEED, workers=0)
    assert digests(cohort) == before
    with pytest.raises(ValueError, match=r"other seed and records .*seed 11, records 120.*choose another folder"):
        simulate_cohort(cohort, 10, SEED + 1, workers=0)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="no simulated cohort"):
        simulate_cohort(tmp_path, 10, SEED, workers=0)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_an_interrupted_cohort_leaves_nothing(tmp_path):
    def interrupt(done):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate_cohort(tmp_path / "cohort", 10, SEED, workers=0, progress=interrupt)
    assert not list(tmp_path.iterdir())


def test_every_parameter_is_recorded(cohort):
    about = json.loads((cohort / "simulation.json").read_text())
    assert (about["seed"], about["records"], about["version"]) == (SEED, RECORDS, simulation.VERSION)
    assert about["parameters"]["qtc_s"] == list(population.POPULATION.qtc_s)
    assert set(about["parameters"]) == set(vars(population.POPULATION))


def test_a_disconnected_lead_is_flat_and_named(tmp_path, monkeypatch):
    broken = population.dataclasses.replace(population.POPULATION, disconnected=1.0)
    monkeypatch.setattr(patients, "POPULATION", broken)
    simulate_cohort(tmp_path / "cohort", 4, SEED, workers=0)
    records = pd.read_csv(tmp_path / "cohort" / "record_list.csv")
    measured = pd.read_csv(tmp_path / "cohort" / "machine_measurements.csv", dtype=str).set_index("study_id")
    for row in records.itertuples():
        record = wfdb.rdrecord(str(tmp_path / "cohort" / row.path))
        flat = [name for name, std in zip(record.sig_name, record.p_signal.std(axis=0), strict=True) if std == 0]
        assert len(flat) == 1
        report = " | ".join(measured.loc[str(row.study_id), REPORTS].dropna()).lower()
        assert f"lead(s) unsuitable for analysis: {flat[0].lower()}" in report


def test_tables_agree_with_the_truth(cohort):
    truth = pd.read_csv(cohort / "findings.csv", dtype=str)
    measured = pd.read_csv(cohort / "machine_measurements.csv", keep_default_na=False, dtype={"study_id": str})
    both = truth.merge(measured, on=["study_id"])
    assert len(both) == RECORDS
    for row in both.itertuples():
        findings = row.findings.split("|")
        assert set(findings) <= set(FINDINGS)
        assert findings == sorted(findings, key=FINDINGS.index)
        no_p = {"atrial fibrillation", "atrial flutter", "ventricular pacing"} & set(findings)
        assert (row.p_onset == simulation.ABSENT) == bool(no_p)
        if "left axis deviation" in findings:
            assert -90 <= row.qrs_axis <= -30
        if "sinus tachycardia" in findings:
            assert row.rr_interval <= 600
        if "sinus bradycardia" in findings:
            assert row.rr_interval >= 1000


def test_truth_is_what_is_on_the_trace(drawn):
    assert set(HELD_OUT) < set(FINDINGS)
    for patient, person, beats, reading, _ in drawn:
        found = reading.findings
        assert ("premature ventricular complex" in found) == (beats.count(rhythm.PREMATURE) > 0)
        not_sinus = {"atrial fibrillation", "atrial flutter", "ventricular pacing"}
        rhythms = found & (not_sinus | {"sinus rhythm", "sinus bradycardia", "sinus tachycardia", "sinus arrhythmia"})
        assert len(rhythms) == 1 or rhythms - {"sinus arrhythmia"} in ({"sinus bradycardia"}, {"sinus tachycardia"})
        assert rhythms & not_sinus == {beats.name} - {"sinus"}
        if "ventricular bigeminy" in found:
            assert beats.count(rhythm.PREMATURE) >= 3
        if "normal ecg" in found:
            assert found == {"normal ecg", "sinus rhythm"}
            assert not person.infarct
            assert not patient.hypertrophy
        if "ventricular pacing" in found:
            assert found == {"ventricular pacing"}
        elif "prolonged qt interval" in found:
            assert person.qt_s / beats.rr_s**0.5 > 0.46
            assert person.block == "none"


def test_every_finding_is_common_enough(drawn):
    counts = {name: sum(name in reading.findings for _, _, _, reading, _ in drawn) for name in FINDINGS}
    for name, count in counts.items():
        low, high = {"sinus rhythm": (0.35, 0.65), "normal ecg": (0.12, 0.27)}.get(name, (0.035, 0.17))
        assert low < count / len(drawn) < high, (name, count)


def test_hypertrophy_overlaps_with_normal_voltage(drawn):
    large, normal = [], []
    for patient, person, _, _, _ in drawn:
        if person.block == "none":
            (large if patient.hypertrophy else normal).append(patients.heart.measure(person).sokolow_lyon_mv >= 3.5)
    assert 0.45 < np.mean(large) < 0.95
    assert 0.005 < np.mean(normal) < 0.15


def test_reports_never_tell_what_is_held_out(drawn):
    reports = [" | ".join(statements) for *_, statements in drawn]
    assert not [report for report in reports if SECRETS.search(report)]
    assert SECRETS.search("Possible anterolateral infarct")  # the pattern can fail
    for (*_, reading, _), report in zip(drawn, reports, strict=True):
        assert ("normal ecg" in reading.findings) == bool(re.search(r"(?<!ab)normal ecg", report, re.IGNORECASE))


def test_reports_are_worded_as_carts_word_them(drawn):
    assert all(1 < len(statements) <= 18 for *_, statements in drawn)
    assert all(len(" ".join(statements).split()) >= 4 for *_, statements in drawn)
    cues = {
        "right bundle branch block": r"rbbb|right bundle",
        "left bundle branch block": r"lbbb|left bundle",
        "left ventricular hypertrophy": r"lvh|left ventricular hyp",
        "inferior myocardial infarction": r"inferior infarct",
        "anterior myocardial infarction": r"(anterior|anteroseptal) infarct",
        "premature ventricular complex": r"pvc|premature ventricular",
        "premature atrial complex": r"pac\(|pacs|premature atrial",
        "first degree av block": r"(1st|first) degree a-v",
        "atrial fibrillation": r"fibrillation",
        "atrial flutter": r"flutter",
        "ventricular pacing": r"pace|pacing",
        "prolonged qt interval": r"qt",
        "low qrs voltage": r"low.* voltage",
        "left axis deviation": r"left(ward)? axis|axis leftward",
        "right axis deviation": r"right axis|rightward",
        "st elevation": r"st elevation",
        "st depression": r"st depr",
        "t wave inversion": r"t wave|abnormal t",
        "sinus tachycardia": r"sinus tachycardia",
    }
    for name, cue in cues.items():
        said = [bool(re.search(cue, " | ".join(text), re.IGNORECASE)) for *_, text in drawn]
        true = [name in reading.findings for *_, reading, _ in drawn]
        assert not [n for n in range(len(drawn)) if said[n] and not true[n] and not _elsewhere(name, drawn[n])], name
        omitted = np.mean([not said[n] for n in range(len(drawn)) if true[n]])
        assert omitted < 0.25, name
    assert len({statement for *_, statements in drawn for statement in statements}) > 150
    hedges = re.compile(r"possible|probabl|consider|cannot rule out|borderline", re.IGNORECASE)
    assert 0.1 < np.mean([bool(hedges.search(" ".join(text[:-1]))) for *_, text in drawn]) < 0.5


def _elsewhere(name, case):
    """Whether the cue of one finding is part of the words for another that is true."""
    findings = case[3].findings
    return name == "st elevation" and "st depression" in findings


def test_parameters_out_of_range_are_refused(tmp_path):
    with pytest.raises(ValueError, match="expected at least"):
        simulate_cohort(tmp_path / "cohort", 0, SEED, workers=0)
