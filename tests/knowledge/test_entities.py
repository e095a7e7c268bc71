"""Queries and labels by closed form: small cohorts whose answers can be counted on fingers."""

import json

import numpy as np
import pytest

from kmerl_jax.knowledge import entities
from kmerl_jax.knowledge.entities import load, mine, save


def everything(records):
    return np.ones(len(records), bool)


def column(knowledge, name):
    return knowledge.labels[:, knowledge.entities.index(name)].tolist()


COHORT = [
    ["Sinus rhythm", "Inferior infarct - age undetermined"],
    ["Sinus rhythm", "Possible anterior infarct"],
    ["Atrial fibrillation", "Anterior infarct, old"],
    ["Sinus rhythm."],
    ["SINUS RHYTHM", "No evidence of myocardial infarction"],
    ["Atrial fibrillation with PVCs"],
]


def test_labels_and_counts():
    knowledge, report = mine(COHORT, everything(COHORT), 1)
    assert knowledge.entities == tuple(sorted(knowledge.entities))
    assert knowledge.labels.dtype == np.int8
    assert knowledge.labels.shape == (6, len(knowledge.entities))
    assert column(knowledge, "sinus rhythm") == [1, 1, 0, 1, 1, 0]
    assert column(knowledge, "inferior myocardial infarction") == [1, 0, 0, 0, 0, 0]
    assert column(knowledge, "anterior myocardial infarction") == [0, -1, 1, 0, 0, 0]
    assert knowledge.counts["sinus rhythm"] == 4
    assert knowledge.counts["anterior myocardial infarction"] == 1
    assert set(knowledge.counts) == set(knowledge.entities)
    assert (report.records, report.distinct) == (6, 7)
    assert report.kinds == {"finding": 10}


def test_superclass_is_set_by_any_member():
    knowledge, _ = mine(COHORT, everything(COHORT), 1)
    assert column(knowledge, "myocardial infarction") == [1, -1, 1, 0, 0, 0]
    assert knowledge.superclasses["myocardial infarction"] == (
        "anterior myocardial infarction",
        "inferior myocardial infarction",
        "old myocardial infarction",
    )
    assert all(set(members) <= set(knowledge.entities) for members in knowledge.superclasses.values())


def test_superclass_that_repeats_its_member_is_no_query():
    knowledge, report = mine(COHORT, everything(COHORT), 1)
    assert "supraventricular arrhythmia" not in knowledge.entities  # atrial fibrillation alone sets it here
    assert report.duplicates["supraventricular arrhythmia"] == "atrial fibrillation"
    assert not set(report.duplicates) & set(knowledge.entities)
    assert "arrhythmia" not in knowledge.entities
    assert "atrial fibrillation" in knowledge.entities


def test_superclass_asked_only_in_training_rows_decides_what_repeats():
    records = [["Atrial fibrillation"], ["Sinus rhythm"], ["Atrial flutter"]]
    knowledge, report = mine(records, np.array([True, True, False]), 1)
    assert report.duplicates["supraventricular arrhythmia"] == "atrial fibrillation"
    assert knowledge.entities == ("atrial fibrillation", "sinus rhythm")
    knowledge, _ = mine(records, everything(records), 1)
    assert column(knowledge, "supraventricular arrhythmia") == [1, 0, 1]


@pytest.mark.parametrize(("minimum", "kept"), [(1, True), (2, True), (3, False)])
def test_min_positives_counts_positive_training_records(minimum, kept):
    training = [["Atrial fibrillation"]] * 2 + [["Sinus rhythm"]] * 3 + [["Prolonged QT"]] * 4
    records = training + [["Atrial fibrillation"]] * 9
    knowledge, report = mine(records, np.arange(18) < 9, minimum)
    assert {"prolonged qt interval", "sinus rhythm"} <= set(knowledge.entities)
    assert ("atrial fibrillation" in knowledge.entities) is kept
    if kept:
        assert knowledge.counts["atrial fibrillation"] == 2
        assert column(knowledge, "atrial fibrillation") == [1] * 2 + [0] * 7 + [1] * 9
    else:
        assert report.rare["atrial fibrillation"] == 2


def test_a_query_needs_negatives_too():
    records = [["Sinus rhythm"]] * 5 + [["Sinus rhythm", "Prolonged QT"]] * 3 + [["Prolonged QT"]]
    knowledge, report = mine(records, everything(records), 3)
    assert knowledge.entities == ("prolonged qt interval",)
    assert report.rare == {"sinus rhythm": 8}


def test_possible_can_count_as_positive():
    records = [["Possible atrial flutter"], ["Atrial flutter"], ["Sinus rhythm"]]
    assert column(mine(records, everything(records), 1)[0], "atrial flutter") == [-1, 1, 0]
    assert column(mine(records, everything(records), 1, possible="positive")[0], "atrial flutter") == [1, 1, 0]


@pytest.mark.parametrize(
    ("statements", "label"),
    [
        (["Atrial flutter", "Possible atrial flutter"], 1),
        (["Possible atrial flutter", "Atrial flutter"], 1),
        (["Possible atrial flutter", "Atrial flutter no longer present"], -1),
        (["Atrial flutter no longer present"], 0),
        (["Previously seen atrial flutter has resolved"], 0),
        (["Lead(s) unsuitable for analysis: V1"], 0),
        ([], 0),
    ],
)
def test_the_most_certain_statement_of_a_record_counts(statements, label):
    records = [statements, ["Atrial flutter"], ["Sinus rhythm"]]
    assert column(mine(records, everything(records), 1)[0], "atrial flutter")[0] == label


def test_negated_member_says_nothing_about_its_superclass():
    records = [["No ST elevation", "T wave inversion"], ["ST depression"], ["ST elevation"], ["Sinus rhythm"]]
    knowledge, _ = mine(records, everything(records), 1)
    assert column(knowledge, "st-t abnormality") == [1, 1, 1, 0]
    assert column(knowledge, "st elevation") == [0, 0, 1, 0]


def test_order_of_statements_and_repeats_do_not_matter():
    shuffled = [list(reversed(statements)) * 2 for statements in COHORT]
    one, two = (mine(records, everything(COHORT), 1)[0] for records in (COHORT, shuffled))
    assert one.entities == two.entities
    np.testing.assert_array_equal(one.labels, two.labels)


def test_unknown_statements_are_reported():
    records = [["Sinus rhythm", "Wibble wobble"], ["wibble  wobble."], ["Atrial fibrillation", ""]]
    _, report = mine(records, everything(records), 1)
    assert report.unknown == {"wibble wobble": 2}
    assert report.kinds == {"finding": 2, "unknown": 2}
    assert str(report) == (
        "4 statements of 3 records, 3 distinct: 50.0% finding, 0.0% quality, 0.0% remark, 50.0% unknown"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"train": np.ones(5, bool)}, r"expected bool \(6,\)"),
        ({"train": np.ones(6)}, r"float64 \(6,\)"),
        ({"possible": "maybe"}, "expected one of unknown, positive"),
        ({"min_positives": 0}, "expected at least 1"),
        ({"min_positives": 100}, "no entity is positive in 100 of 6 training records"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        mine(**({"statements": COHORT, "train": everything(COHORT), "min_positives": 1} | arguments))


@pytest.fixture
def saved(tmp_path):
    knowledge, _ = mine(COHORT, everything(COHORT), 1)
    save(knowledge, tmp_path / "knowledge" / "grammar", {"extractor": "grammar", "min_positives": 1})
    return knowledge, tmp_path / "knowledge" / "grammar"


def test_save_and_load(saved):
    knowledge, folder = saved
    again = load(folder)
    assert (again.entities, again.superclasses) == (knowledge.entities, knowledge.superclasses)
    assert again.counts == knowledge.counts
    np.testing.assert_array_equal(again.labels, knowledge.labels)
    assert json.loads((folder / "entities.json").read_text())["provenance"]["extractor"] == "grammar"
    assert [path.name for path in folder.parent.iterdir()] == ["grammar"]


def test_save_does_not_write_over(saved):
    knowledge, folder = saved
    with pytest.raises(FileExistsError, match="choose another name"):
        save(knowledge, folder, {})


def test_of_two_processes_that_save_one_is_refused(saved, monkeypatch):
    knowledge, folder = saved
    monkeypatch.setattr(entities.Path, "exists", lambda _: False)  # when the second began, there was nothing yet
    with pytest.raises(FileExistsError, match="by another process"):
        save(knowledge, folder, {})
    assert [path.name for path in folder.parent.iterdir()] == ["grammar"]


def test_interrupted_save_leaves_nothing(tmp_path, monkeypatch):
    knowledge, _ = mine(COHORT, everything(COHORT), 1)
    monkeypatch.setattr(entities.np, "save", lambda *_, **__: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        save(knowledge, tmp_path / "grammar", {})
    assert list(tmp_path.iterdir()) == []


def test_missing_files(saved, tmp_path):
    _, folder = saved
    with pytest.raises(FileNotFoundError, match=r"entities\.json is missing; mine the store first"):
        load(tmp_path / "nowhere")
    (folder / "labels.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"labels\.npy is missing"):
        load(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 99}, "is of version 99, this is version 1"),
        ({"format": "something"}, "is not a file of kmerl_jax knowledge"),
        ({"records": 7}, r"holds int8 \(6, \d+\), entities\.json says int8 \(7, "),
        ({"entities": ["sinus rhythm"]}, r"entities\.json says int8 \(6, 1\)"),
    ],
)
def test_files_that_do_not_fit_are_refused(saved, change, message):
    _, folder = saved
    head = json.loads((folder / "entities.json").read_text())
    (folder / "entities.json").write_text(json.dumps(head | change))
    with pytest.raises(ValueError, match=message):
        load(folder)


@pytest.mark.parametrize("name", ["entities.json", "labels.npy"])
def test_damaged_files_are_refused(saved, name):
    _, folder = saved
    (folder / name).write_bytes(b"{ half a fi")
    with pytest.raises(ValueError, match="is damaged"):
        load(folder)


def test_labels_with_python_objects_are_refused(saved):
    _, folder = saved
    np.save(folder / "labels.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(ValueError, match="is damaged"):
        load(folder)
