import itertools

import pytest

from kmerl_jax.evaluation import classes, overlap
from kmerl_jax.knowledge import ontology

TASKS = {task: {code: one.covers for code, one in of.items()} for task, of in classes.load().items()}
COHORTS = [pair for pair in itertools.combinations(TASKS, 2) if pair[0].split(".")[0] != pair[1].split(".")[0]]


def groups(source, target):
    found = overlap.find(TASKS[source], TASKS[target])
    return {" + ".join(one): " + ".join(other) for one, other in found.groups}, found.left_out


def test_superclasses_of_ptb_xl_and_cpsc2018():
    matched, (source, target) = groups("ptb_xl.super", "cpsc2018")
    assert matched == {"NORM": "NORM", "STTC": "STD + STE", "CD": "1AVB + CLBBB + CRBBB"}
    assert list(source) == ["MI", "HYP"]
    assert list(target) == ["AFIB", "PAC", "VPC"]


def test_superclasses_of_ptb_xl_and_csn():
    """A normal ECG is in sinus rhythm, but sinus rhythm is no normal ECG; a long PR interval is a class of its own."""
    matched, (source, target) = groups("ptb_xl.super", "csn_clean")
    assert matched == {
        "MI": "MI",
        "STTC": "STTC + STE + TWO + STTU + QTIE + STDD + TWC",
        "CD": "WPW + 2AVB + 2AVB1 + AVB + LBBB + RBBB + 1AVB",
        "HYP": "RVH + LVH",
    }
    assert list(source) == ["NORM"]
    assert {"SR", "AQW", "PRIE", "AFIB", "VPB", "ERV", "PWC"} <= set(target)


def test_cpsc2018_and_csn():
    """CSN's wide classes are left out where it has the narrow ones; bigeminy is of ventricular premature complexes."""
    matched, (source, target) = groups("cpsc2018", "csn_clean")
    assert matched == {
        "NORM": "SR",
        "AFIB": "AFIB",
        "1AVB": "1AVB",
        "CLBBB": "LBBB",
        "CRBBB": "RBBB",
        "PAC": "APB",
        "VPC": "VB + VPB",
        "STD": "STDD",
        "STE": "STTU",
    }
    assert source == {}
    assert {code: parts for code, parts in target.items() if parts} == {
        "STTC": ("STD", "STE"),
        "STE": ("STD", "STE"),
        "AVB": ("1AVB",),
    }
    assert len(target) == 38 - 10


def test_other_tasks_of_ptb_xl():
    matched, _ = groups("ptb_xl.sub", "csn_clean")
    assert matched["AVB"] == "2AVB + 2AVB1 + AVB + 1AVB"  # one narrower than the other, by way of the middle one
    assert matched["AMI + IMI + LMI + PMI"] == "MI"
    matched, (source, target) = groups("ptb_xl.rhythm", "csn_clean")
    assert matched["SVTAC + PSVT"] == "AT + SVT"
    assert source["SVARR"] == ("AT", "APB", "AF", "SVT", "AFIB")  # only the premature beats would be left to it
    assert target["APB"] == ()


@pytest.mark.parametrize(("source", "target"), COHORTS)
def test_from_either_side_it_is_the_same(source, target):
    there, back = overlap.find(TASKS[source], TASKS[target]), overlap.find(TASKS[target], TASKS[source])
    assert set(there.groups) == {(one, other) for other, one in back.groups}
    assert there.left_out == back.left_out[::-1]
    turned = {"=": "=", "<": ">", ">": "<"}
    assert set(there.links) == {overlap.Link(x.target, turned[x.relation], x.source, x.by) for x in back.links}


@pytest.mark.parametrize(("source", "target"), COHORTS)
def test_no_class_is_used_twice(source, target):
    found = overlap.find(TASKS[source], TASKS[target])
    for side, task in enumerate((source, target)):
        used = [code for group in found.groups for code in group[side]]
        assert sorted([*used, *found.left_out[side]]) == sorted(TASKS[task])
    assert all(one and other for one, other in found.groups)


@pytest.mark.parametrize(("source", "target"), COHORTS)
def test_what_is_matched_is_related_in_the_ontology(source, target):
    """Each link rests on an entity of the narrower class which the wider one covers, or a superclass of it."""
    known = ontology.load()
    for link in overlap.find(TASKS[source], TASKS[target]).links:
        wider = TASKS[source][link.source] if link.relation == ">" else TASKS[target][link.target]
        assert link.by
        assert all({one, *known.ancestors(one)} & set(wider) for one in link.by)


def test_half_of_the_entities_is_enough_and_less_is_not():
    two = {"A": ("atrial fibrillation", "sinus rhythm")}
    three = {"A": ("atrial fibrillation", "sinus rhythm", "first degree av block")}
    one = {"B": ("atrial fibrillation",)}
    assert [link.relation for link in overlap.find(two, one).links] == ["="]
    assert [link.relation for link in overlap.find(three, one).links] == [">"]


def test_the_narrowest_class_takes_what_lies_within_several():
    wide = {"all": ("conduction disturbance",), "bundle": ("bundle branch block",)}
    narrow = {"right": ("right bundle branch block",)}
    assert overlap.find(wide, narrow).groups == ((("bundle",), ("right",)),)
    assert overlap.find(wide, narrow).left_out == ({"all": ("right",)}, {})


def test_names_that_the_ontology_does_not_have_match_nothing():
    found = overlap.find({"A": ("a secret",), "B": ("sinus rhythm",)}, {"A": ("a secret",)})
    assert found == overlap.Overlap((), (), ({"A": (), "B": ()}, {"A": ()}))


def test_an_entity_with_its_codes():
    said = "right bundle branch block (SCP CRBBB, SNOMED CT 59118001 713427006)"
    assert overlap.describe("right bundle branch block") == said
    assert overlap.describe("st-t abnormality") == "st-t abnormality"
