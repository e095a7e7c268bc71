"""CPSC2018 in both of its forms."""

import numpy as np
import pytest
import scipy.io

from kmerl_jax.cohorts import catalog, preparation
from kmerl_jax.cohorts.cpsc2018 import CLASSES
from kmerl_jax.cohorts.store import Store
from tests.cohorts.sources import RNG, challenge, write_table

CODES = {
    "426783006": "NORM",
    "164889003": "AFIB",
    "270492004": "1AVB",
    "164909002": "CLBBB",
    "59118001": "CRBBB",
    "284470004": "PAC",
    "164884008": "VPC",
    "429622005": "STD",
    "164931005": "STE",
}


def test_physionets_copy(tmp_path):
    records = {f"training/cpsc_2018/g1/A{n:04d}": code for n, code in enumerate(CODES, start=1)}
    records |= {
        "training/cpsc_2018/g7/A6877": "733534002,713427006,59118001,17338001,63593006",
        "training/cpsc_2018/g2/A1000": "426783006,39732003",  # left axis deviation is none of the nine
        "training/cpsc_2018/g2/A1001": None,
        "training/georgia/E00001": "426783006",
    }
    challenge(tmp_path, records)
    (tmp_path / "training" / "cpsc_2018" / "g2" / "A1002.mat").write_bytes(b"")
    cohort = catalog.load("cpsc2018", tmp_path)
    labels = dict(zip(cohort.table["record"].to_pylist(), cohort.table["labels"].to_pylist(), strict=True))
    assert list(labels) == [*(f"A{n:04d}" for n in range(1, 10)), "A1000", "A6877"]
    assert [labels[f"A{n:04d}"] for n in range(1, 10)] == [[code] for code in CODES.values()]
    assert labels["A6877"] == ["CLBBB", "CRBBB", "VPC", "PAC"]
    assert labels["A1000"] == ["NORM"]
    assert cohort.left_out == {
        "header of another data set": 1,
        "header without #Dx (A1001)": 1,
        "signal file without a header (A1002)": 1,
    }
    assert cohort.notes == {"record with a code that is none of the nine classes (A1000)": 1}
    assert list(cohort.label_names) == list(CODES.values())
    assert cohort.table["patient"].to_pylist() == list(labels)
    assert cohort.table["report"][10].as_py() == (
        "Left bundle branch block. Right bundle branch block. "
        "Premature ventricular contraction. Premature atrial contraction"
    )
    assert not cohort.patient_ids


def original(folder, rows, lengths):
    write_table(
        folder / "REFERENCE.csv",
        [dict(zip(("Recording", "First_label", "Second_label", "Third_label"), row, strict=True)) for row in rows],
    )
    signals = {}
    for path, samples in lengths.items():
        signals[path] = RNG.normal(0, 0.3, (12, samples))
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        scipy.io.savemat(folder / path, {"ECG": {"sex": "Male", "age": 74, "data": signals[path]}})
    return signals


def test_the_original(tmp_path):
    rows = [("A0002", 1, "", ""), ("A0001", 5, 2, ""), ("A0003", 9, 8, 7), ("A0004", 4, "", ""), ("A0005", 3, "", "")]
    lengths = {"TrainingSet1/A0001.mat": 7500, "TrainingSet1/A0002.mat": 5000, "TrainingSet2/A0003.mat": 3000}
    signals = original(tmp_path / "cpsc", rows, lengths | {"TrainingSet2/A0004.mat": 5000, "TrainingSet2/A0009.mat": 9})
    (tmp_path / "cpsc" / "TrainingSet2" / "A0004.mat").write_bytes(b"damaged")
    cohort = catalog.load("cpsc2018", tmp_path / "cpsc")
    assert cohort.table["record"].to_pylist() == ["A0001", "A0002", "A0003", "A0004", "A0005"]
    assert cohort.table["labels"].to_pylist() == [
        ["CRBBB", "AFIB"],
        ["NORM"],
        ["STE", "STD", "VPC"],
        ["CLBBB"],
        ["1AVB"],
    ]
    assert cohort.left_out == {"file without a row in REFERENCE.csv (A0009)": 1}
    manifest = preparation.prepare(cohort, tmp_path / "store")
    assert manifest["rejects"] == {"unreadable file": 1, "file missing": 1}
    assert manifest["patient_ids"] is False
    opened = Store(tmp_path / "store")
    assert list(opened.table["record"]) == ["A0001", "A0001", "A0002", "A0003"]
    assert list(opened.table["segments"]) == [50, 25, 50, 30]
    expected = np.rint(signals["TrainingSet2/A0003.mat"].astype(np.float32) * 1000)
    np.testing.assert_array_equal(opened[3].signal[:, :3000], expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Recording,First_label,Second_label\nA0001,1,\n", "no column 'Third_label'"),
        ("", "no column 'Recording'"),
        ("Recording,First_label,Second_label,Third_label\nA0001,10,,\n", r"line 2: label '10' of 'A0001'"),
        ("Recording,First_label,Second_label,Third_label\nA0001,AF,,\n", r"line 2: label 'AF' of 'A0001'"),
        ("Recording,First_label,Second_label,Third_label\nA0001,1,,\nA0002,,,\n", r"line 3: no label of 'A0002'"),
        ("Recording,First_label,Second_label,Third_label\nA0001,1,,\nA0001,2,,\n", "other labels in another row"),
    ],
)
def test_a_damaged_reference(tmp_path, text, message):
    (tmp_path / "REFERENCE.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        catalog.load("cpsc2018", tmp_path)


def test_neither_form(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"neither headers Annnn\.hea nor REFERENCE\.csv"):
        catalog.load("cpsc2018", tmp_path)


def test_a_record_twice(tmp_path):
    challenge(tmp_path, {"g1/A0001": "426783006", "copy/A0001": "426783006"})
    with pytest.raises(ValueError, match=r"A0001 is there twice: .*copy/A0001 and .*g1/A0001"):
        catalog.load("cpsc2018", tmp_path)
    original(tmp_path / "original", [("A0001", 1, "", "")], {"TrainingSet1/A0001.mat": 500, "copy/A0001.mat": 500})
    with pytest.raises(ValueError, match="A0001 is there twice"):
        catalog.load("cpsc2018", tmp_path / "original")


def test_real_cpsc2018(real_data, tmp_path):
    cohort = catalog.load("cpsc2018", real_data / "cpsc2018")
    labels = dict(zip(cohort.table["record"].to_pylist(), cohort.table["labels"].to_pylist(), strict=True))
    assert {record: labels[record] for record in ("A0001", "A0002", "A0003", "A0005", "A0008")} == {
        "A0001": ["CRBBB"],
        "A0002": ["NORM"],
        "A0003": ["AFIB"],
        "A0005": ["VPC"],
        "A0008": ["STD"],
    }
    manifest = preparation.prepare(cohort, tmp_path / "store")
    assert (manifest["records"], manifest["rejects"], manifest["label_names"]) == (10, {}, CLASSES)
    assert manifest["entries"] > 10  # some are longer than ten seconds
