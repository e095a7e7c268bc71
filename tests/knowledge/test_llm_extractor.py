"""The paper's pipeline over a server of this machine: what becomes a label, and what is set aside."""

import pytest

from kmerl_jax.knowledge import llm_extractor
from kmerl_jax.knowledge.llm_extractor import (
    PROMPTS,
    ancestors,
    estimate,
    read,
    stands_in,
)
from kmerl_jax.knowledge.reading import PRESENT

RECORDS = [
    ["Sinus rhythm", "Inferior infarct"],
    ["AFib with PVC(s)"],
    ["Atrial fibrillation"],
    ["Sinus rhythm.", "Prolonged QT"],
    ["Baseline wander"],
]


def quiet(step):
    return lambda done, total: None


def column(one, name):
    return (one.statuses[:, one.names.index(name)] == PRESENT).astype(int).tolist()


def aside(one):
    return {reason: entry["count"] for reason, entry in one.provenance["set_aside"].items()}


def test_the_whole_pipeline(server, served):
    one = read(RECORDS, server, quiet)
    assert one.names == (
        "arrhythmia",
        "atrial fibrillation",
        "inferior infarct",
        "myocardial infarction",
        "prolonged qt",
        "pvc",
        "sinus rhythm",
    )
    assert column(one, "atrial fibrillation") == [0, 1, 1, 0, 0]  # "afib" was merged into it
    assert column(one, "arrhythmia") == [0, 1, 1, 0, 0]
    assert column(one, "myocardial infarction") == [1, 0, 0, 0, 0]
    assert one.superclasses == {
        "arrhythmia": ("atrial fibrillation", "pvc"),
        "myocardial infarction": ("inferior infarct",),
    }
    assert one.about["atrial fibrillation"] == {"synonyms": ["afib"]}
    said = one.provenance
    assert (said["model"], said["distinct_texts"], said["texts_with_entities"]) == ("tiny", 6, 5)
    assert said["entities_before_merging"] == 6
    assert said["prompts"]["extract"].startswith("Please extract all positive Cardiac-related Entities")
    # "anterior infarct" is offered as a member of a superclass and is no entity here
    assert aside(one) == {"superclass of what is no entity": 1}
    assert served.asked.total() == 6 + 5 + 1 + 1


def test_steps_that_are_left_out_are_not_asked(server, served):
    """Table 2b; the other steps' answers serve both."""
    whole = read(RECORDS, server, quiet)
    asked = len(served.asked)
    apart = read(RECORDS, server, quiet, merging=False)
    flat = read(RECORDS, server, quiet, superclass=False)
    assert len(served.asked) - asked <= 1  # superclasses of names that were not merged
    assert len(apart.names) >= len(whole.names)
    assert flat.superclasses == {}
    assert whole.superclasses


def test_each_distinct_statement_is_asked_once(server, served):
    read(RECORDS * 50, server, quiet)
    assert max(served.asked.values()) == 1
    before = served.asked.total()
    read(RECORDS[::-1], server, quiet)
    assert served.asked.total() == before


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("[sinus rhythm, mitral stenosis]", "entity not in the text"),
        ("I am sorry, I cannot help with medical reports.", "extraction malformed"),
        ("[sinus rh", "extraction malformed"),
        (("[sinus rhythm, sinus", "length"), "extraction cut off"),
        (("", "content_filter"), "extraction refused"),
        ('[{"entity": "sinus rhythm"}]', "extraction malformed"),
        ("", "extraction malformed"),
    ],
)
def test_bad_extractions_are_counted_and_never_become_labels(server, served, answer, reason):
    served.answers = {f"{PROMPTS['extract']}\n\nsinus rhythm": answer}
    one = read(RECORDS, server, quiet)
    assert aside(one)[reason] == 1
    assert "mitral stenosis" not in one.names
    assert ("sinus rhythm" in one.names) == (reason == "entity not in the text")
    assert "sinus rhythm" in one.provenance["set_aside"][reason]["examples"][0]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("NO", "verification NO"),
        ("No, it is negated.", "verification NO"),
        ("Perhaps", "verification malformed"),
        (("Let me think about", "length"), "verification cut off"),
    ],
)
def test_only_yes_is_kept(server, served, answer, reason):
    served.answers = {"Report: atrial fibrillation": answer}
    one = read(RECORDS, server, quiet)
    assert aside(one)[reason] == 1
    assert "atrial fibrillation" not in one.names
    assert column(one, "afib") == [0, 1, 0, 0, 0]  # what it would have been merged into is gone


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ('{"afib": "atrial fibr', "merging malformed"),
        (('{"afib": "atrial fibr', "length"), "merging cut off"),
        ('["afib"]', "merging malformed"),
        ('{"afib": "heart failure", "angina": "pvc", "pvc": 3}', "merging of what is no entity"),
    ],
)
def test_bad_merging_merges_nothing(server, served, answer, reason):
    served.answers = {"same semantics": answer}
    one = read(RECORDS, server, quiet)
    assert aside(one)[reason] == (3 if "no entity" in reason else 1)
    assert {"afib", "atrial fibrillation", "pvc"} <= set(one.names)


def test_merging_follows_chains_and_ends_in_circles(server, served):
    served.answers = {"same semantics": '{"PVC": "afib", "afib": "atrial fibrillation", "atrial fibrillation": "afib"}'}
    one = read(RECORDS, server, quiet)
    assert one.about["afib"] == {"synonyms": ["atrial fibrillation", "pvc"]}


@pytest.mark.parametrize("answer", ['{"arrhythmia": ["pvc"', "none", ("{", "length")])
def test_bad_superclasses_are_left_out(server, served, answer):
    served.answers = {"detect all the superclasses": answer}
    one = read(RECORDS, server, quiet)
    assert one.superclasses == {}
    assert sum(aside(one).values()) == 1


def test_many_names_are_asked_in_parts(server, served, monkeypatch):
    monkeypatch.setattr(llm_extractor, "_NAMES_A_QUESTION", 2)
    one = read(RECORDS, server, quiet)
    assert sum("same semantics" in content for content in served.asked) == 3
    assert one.superclasses["arrhythmia"] == ("atrial fibrillation", "pvc")


def test_estimate_is_what_is_then_asked(server, served):
    steps = {step: calls for step, calls, _ in estimate(RECORDS, server)}
    assert steps == {"extract": 6, "verify, at most": 6, "merge": 1, "superclasses": 1}
    assert served.asked.total() == 0
    tokens = sum(row[2] for row in estimate(RECORDS, server))
    assert 300 < tokens < 1000
    read(RECORDS, server, quiet)
    assert {step: calls for step, calls, _ in estimate(RECORDS, server)} == {
        "extract": 0,
        "verify, at most": 0,
        "merge": 1,
        "superclasses": 1,
    }
    assert served.asked.total() == 13


@pytest.mark.parametrize(
    ("entity", "text", "inside"),
    [
        ("PVCs", "sinus rhythm with PVC(s)", True),
        ("inferior infarct", "*** INFERIOR INFARCTION ***", True),
        ("inferior infarction", "anterior infarction, inferior t wave changes", False),
        ("rhythm", "arrhythmia", False),
        ("", "anything", False),
    ],
)
def test_an_entity_stands_in_a_text(entity, text, inside):
    assert stands_in(entity, text) is inside


def test_ancestors_of_a_circle_end():
    above = ancestors({"a": ("b",), "b": ("c", "a"), "top": ("a",)})
    assert above == {"a": {"b", "top"}, "b": {"a", "top"}, "c": {"a", "b", "top"}}
