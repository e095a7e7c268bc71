"""Queries and labels by closed form: small cohorts whose answers can be counted on fingers."""

import numpy as np
import pytest

from kmerl_jax.knowledge import mining
from kmerl_jax.knowledge.queries import select


def everything(records):
    return np.ones(len(records), bool)


def ask(records, train=None, min_positives=1, possible="unknown"):
    train = everything(records) if train is None else train
    return select(mining.by_grammar(records), train, min_positives, possible)


def column(asked, name):
    return asked.labels[:, asked.entities.index(name)].tolist()


COHORT = [
    ["Sinus rhythm", "Inferior infarct - age undetermined"],
    ["Sinus rhythm", "Possible anterior infarct"],
    ["Atrial fibrillation", "Anterior infarct, old"],
    ["Sinus rhythm."],
    ["SINUS RHYTHM", "No evidence of myocardial infarction"],
    ["Atrial fibrillation with PVCs"],
]


def test_labels_and_counts():
    asked = ask(COHORT)
    assert asked.entities == tuple(sorted(asked.entities))
    assert asked.labels.dtype == np.int8
    assert asked.labels.shape == (6, len(asked.entities))
    assert column(asked, "sinus rhythm") == [1, 1, 0, 1, 1, 0]
    assert column(asked, "inferior myocardial infarction") == [1, 0, 0, 0, 0, 0]
    assert column(asked, "anterior myocardial infarction") == [0, -1, 1, 0, 0, 0]
    assert asked.counts["sinus rhythm"] == 4
    assert asked.counts["anterior myocardial infarction"] == 1
    assert set(asked.counts) == set(asked.entities)


def test_superclass_is_set_by_any_member():
    asked = ask(COHORT)
    assert column(asked, "myocardial infarction") == [1, -1, 1, 0, 0, 0]
    assert asked.superclasses["myocardial infarction"] == (
        "anterior myocardial infarction",
        "inferior myocardial infarction",
        "old myocardial infarction",
    )
    assert all(set(members) <= set(asked.entities) for members in asked.superclasses.values())


def test_superclass_that_repeats_its_member_is_no_query():
    asked = ask(COHORT)
    assert "supraventricular arrhythmia" not in asked.entities  # atrial fibrillation alone sets it here
    assert asked.duplicates["supraventricular arrhythmia"] == "atrial fibrillation"
    assert not set(asked.duplicates) & set(asked.entities)
    assert "arrhythmia" not in asked.entities
    assert "atrial fibrillation" in asked.entities


def test_only_training_rows_decide_what_repeats():
    records = [["Atrial fibrillation"], ["Sinus rhythm"], ["Atrial flutter"]]
    asked = ask(records, np.array([True, True, False]))
    assert asked.duplicates["supraventricular arrhythmia"] == "atrial fibrillation"
    assert asked.entities == ("atrial fibrillation", "sinus rhythm")
    assert column(ask(records), "supraventricular arrhythmia") == [1, 0, 1]


@pytest.mark.parametrize(("minimum", "kept"), [(1, True), (2, True), (3, False)])
def test_min_positives_counts_positive_training_records(minimum, kept):
    training = [["Atrial fibrillation"]] * 2 + [["Sinus rhythm"]] * 3 + [["Prolonged QT"]] * 4
    records = training + [["Atrial fibrillation"]] * 9
    asked = ask(records, np.arange(18) < 9, minimum)
    assert {"prolonged qt interval", "sinus rhythm"} <= set(asked.entities)
    assert ("atrial fibrillation" in asked.entities) is kept
    if kept:
        assert asked.counts["atrial fibrillation"] == 2
        assert column(asked, "atrial fibrillation") == [1] * 2 + [0] * 7 + [1] * 9
    else:
        assert asked.rare["atrial fibrillation"] == 2


def test_a_query_needs_negatives_too():
    records = [["Sinus rhythm"]] * 5 + [["Sinus rhythm", "Prolonged QT"]] * 3 + [["Prolonged QT"]]
    asked = ask(records, min_positives=3)
    assert asked.entities == ("prolonged qt interval",)
    assert asked.rare == {"sinus rhythm": 8}


def test_possible_can_count_as_positive():
    records = [["Possible atrial flutter"], ["Atrial flutter"], ["Sinus rhythm"]]
    assert column(ask(records), "atrial flutter") == [-1, 1, 0]
    assert column(ask(records, possible="positive"), "atrial flutter") == [1, 1, 0]


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
    assert column(ask([statements, ["Atrial flutter"], ["Sinus rhythm"]]), "atrial flutter")[0] == label


def test_negated_member_says_nothing_about_its_superclass():
    records = [["No ST elevation", "T wave inversion"], ["ST depression"], ["ST elevation"], ["Sinus rhythm"]]
    asked = ask(records)
    assert column(asked, "st-t abnormality") == [1, 1, 1, 0]
    assert column(asked, "st elevation") == [0, 0, 1, 0]


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
        ask(COHORT, **arguments)
