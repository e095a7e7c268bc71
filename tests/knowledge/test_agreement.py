import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from kmerl_jax.knowledge import agreement, mining, reading
from kmerl_jax.knowledge.agreement import canonical, compare, present, table

RECORDS = [["Atrial fibrillation"], ["AFib"], ["Sinus rhythm"], ["Inferior infarct"], ["Sinus rhythm, possible AFib"]]
REPORTS = [". ".join(record).lower() for record in RECORDS]


def other():
    """A reader that spells its own way, misses one fibrillation, and takes a possible one for a present one."""
    rows = reading.rows_of(RECORDS)
    mentions = {
        "afib": [("a-fib", "present")],
        "sinus rhythm": [("normal sinus rhythm", "present")],
        "inferior infarct": [("inferior MI", "present"), ("scar", "present")],
        "sinus rhythm, possible afib": [("afib", "present")],
    }
    return reading.build(rows, mentions, {}, len(RECORDS), {}, {})


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a-fib", "atrial fibrillation"),
        ("Inferior MI", "inferior myocardial infarction"),
        ("scar", "scar"),
        ("possible afib", "possible afib"),
    ],
)
def test_canonical(name, expected):
    assert canonical(name) == expected


def test_names_are_joined_and_superclasses_set():
    there = present(other())
    assert there["atrial fibrillation"].tolist() == [False, True, False, False, True]
    assert there["arrhythmia"].tolist() == [False, True, False, False, True]
    assert there["myocardial infarction"].tolist() == [False, False, False, True, False]
    assert "scar" in there


def test_agreement_by_entity():
    found = {entry.entity: entry for entry in compare(mining.by_grammar(RECORDS), other(), REPORTS)}
    one = found["atrial fibrillation"]
    assert (one.both, one.first, one.second, one.examples) == (1, 1, 1, (0, 4))
    expected = cohen_kappa_score([1, 1, 0, 0, 0], [0, 1, 0, 0, 1])
    np.testing.assert_allclose(one.kappa, expected)
    assert found["inferior myocardial infarction"].kappa == 1
    assert (found["scar"].second, found["scar"].kappa) == (1, 0)


def test_those_with_most_disagreement_come_first_and_examples_differ():
    found = compare(mining.by_grammar(RECORDS * 2), mining.by_grammar([["x"]] * 10), REPORTS * 2, examples=5)
    gaps = [entry.first + entry.second for entry in found]
    assert gaps == sorted(gaps, reverse=True)
    assert {entry.entity: entry.examples for entry in found}["atrial fibrillation"] == (0, 1)


def test_table():
    found = compare(mining.by_grammar(RECORDS), other(), REPORTS)
    lines = table(found, ("grammar", "llm"), REPORTS).splitlines()
    assert lines[0].split() == ["entity", "kappa", "both", "only", "grammar", "only", "llm"]
    assert any(line.startswith("    record 0: atrial fibrillation") for line in lines)
    assert lines[-1].startswith("mean kappa of")


def test_an_entity_of_every_record_has_no_kappa():
    (entry,) = compare(mining.by_grammar([["Sinus rhythm"]]), mining.by_grammar([["NSR"]]), ["sinus rhythm"])
    assert np.isnan(entry.kappa)
    assert "mean kappa" not in table([entry], ("a", "b"), ["sinus rhythm"])


def test_readings_of_different_records_are_refused():
    with pytest.raises(ValueError, match="of 5 and 1 records"):
        agreement.compare(mining.by_grammar(RECORDS), mining.by_grammar([["x"]]), REPORTS)
