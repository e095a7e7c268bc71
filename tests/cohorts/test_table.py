"""A cohort of one's own: a CSV."""

import pytest

from kmerl_jax.cohorts import catalog, preparation
from kmerl_jax.cohorts.cohort import split_by_patient
from kmerl_jax.cohorts.store import Store
from tests.cohorts.sources import LEADS, noise, write, write_table


def test_paths_and_patients_are_enough(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "signals").mkdir(exist_ok=True)
        write(tmp_path / "signals", name, noise(), 500, LEADS, 1000.0)
    rows = [
        {"path": "signals/a.hea", "patient": "p1"},
        {"path": str(tmp_path / "signals" / "b"), "patient": "p2"},
        {"path": "signals/c", "patient": "p1"},
    ]
    cohort = catalog.load("table", write_table(tmp_path / "mine.csv", rows))
    assert cohort.table["record"].to_pylist() == [row["path"] for row in rows]
    assert cohort.table["split"].to_pylist() == [split_by_patient(p, 0.1, 0.2) for p in ("p1", "p2", "p1")]
    assert (cohort.label_names, cohort.about["text"], cohort.patient_ids) == ({}, "statements", True)
    manifest = preparation.prepare(cohort, tmp_path / "store")
    assert manifest["records"] == 2
    assert manifest["rejects"] == {"file missing": 1}
    assert len(Store(tmp_path / "store")) == 2


def test_all_columns(tmp_path):
    rows = [
        {"record": "1", "path": "a", "patient": "p", "split": "test", "labels": "LVH|AF",
         "report": "Sinus rhythm. LVH.\nNo change, since 1 Jan."},
        {"record": "2", "path": "b", "patient": "q", "split": "train", "labels": "", "report": ""},
        {"record": "3", "path": "c", "patient": "p", "split": "train", "labels": " AF ", "report": "Atrial flutter"},
    ]  # fmt: skip
    cohort = catalog.load("table", write_table(tmp_path / "mine.csv", rows))
    table = cohort.table.to_pydict()
    assert table["record"] == ["1", "2", "3"]
    assert table["split"] == ["test", "train", "train"]
    assert table["labels"] == [["LVH", "AF"], [], ["AF"]]
    assert table["report"][0] == rows[0]["report"]
    assert table["statements"] == [["Sinus rhythm", "LVH", "No change, since 1 Jan."], [], ["Atrial flutter"]]
    assert table["words"] == [8, 0, 2]
    assert cohort.label_names == {"AF": "AF", "LVH": "LVH"}
    assert cohort.about["text"] == "report"
    assert cohort.notes == {"patient with records in more than one split": 1}


def test_labels_without_reports_are_the_text(tmp_path):
    rows = [{"path": "a", "patient": "p", "labels": "sinus rhythm|left ventricular hypertrophy"}]
    cohort = catalog.load("table", write_table(tmp_path / "mine.csv", rows))
    assert cohort.table["report"][0].as_py() == "sinus rhythm. left ventricular hypertrophy"
    assert cohort.about["text"] == "statements"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column 'path'"),
        ("path\na\n", "no column 'patient'"),
        ("path,patient,age\na,p,3\n", "unknown column 'age'; columns are path, patient, record"),
        ("path,patient,path\na,p,b\n", "column 'path' twice"),
        ("path,patient\n", "no recording found"),
        ("path,patient\na,p\n,q\n", "line 3: path is empty"),
        ("path,patient\na,p\nb, \n", "line 3: patient is empty"),
        ("path,patient,record\na,p,\n", "line 2: record is empty"),
        ("path,patient,split\na,p,\n", "line 2: split is empty"),
        ("path,patient,split\na,p,training\n", "line 2: split 'training' is none of train, val, test"),
        ("path,patient\na,p\nb,q\na,p\n", "line 4: record 'a' is there already, in line 2"),
        ("path,patient,record\na,p,1\nb,q,1\n", "line 3: record '1' is there already, in line 2"),
        ("path,patient,labels\na,p,AF||LVH\n", "line 2: labels .* empty"),
        ("path,patient,labels\na,p,AF|AF\n", "line 2: labels .* twice"),
        ("path,patient\na\n", "line 2: fewer cells"),
        ("path,patient\na,p,x\n", "line 2: more cells"),
        ("path,patient\na,\xff\n", "no CSV in UTF-8"),
        (f"path,patient\n{'a' * 200_000},p\n", "no CSV in UTF-8: field larger"),
    ],
)
def test_mistakes_name_the_row(tmp_path, text, message):
    (tmp_path / "mine.csv").write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=message) as caught:
        catalog.load("table", tmp_path / "mine.csv")
    assert "\n" not in str(caught.value)


def test_a_table_is_a_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="names the CSV"):
        catalog.load("table", tmp_path)


def test_other_paths_are_another_cohort(tmp_path):
    """Of the same records, filtered signals lie elsewhere: a store of the raw ones is not theirs."""
    about = []
    for folder in ("raw", "clean"):
        row = {"path": f"{folder}/1", "patient": "p", "record": "1", "report": "Sinus rhythm."}
        about.append(catalog.load("table", write_table(tmp_path / f"{folder}.csv", [row])).about)
    assert about[0] != about[1]
