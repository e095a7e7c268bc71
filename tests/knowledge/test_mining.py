"""Readings of a store: made by the grammar when missing or outdated, read again, refused when they do not fit."""

import json

import numpy as np
import pytest

from kmerl_jax.cohorts.store import Store
from kmerl_jax.knowledge import mining, reading
from tests.conftest import link_store


@pytest.fixture
def store(demo_store, tmp_path):
    return Store(link_store(demo_store, tmp_path / "store"))


def test_what_the_grammar_does_not_understand_is_listed():
    records = [["Sinus rhythm", "Wibble wobble"], ["wibble  wobble."], ["Atrial fibrillation with zebra", ""]]
    said = mining.by_grammar([*records, ["Baseline wander", "no other finding"]]).provenance
    assert said["not_understood"] == {"wibble wobble": 2}
    assert said["understood_but_for_some_words"] == {"atrial fibrillation with zebra": 1}
    assert said["kinds"] == {"finding": 2, "quality": 1, "remark": 1, "unknown": 2}
    assert said["quality_notes"] == {"baseline": 1}
    assert (said["records"], said["statements"], said["distinct_statements"]) == (4, 6, 5)


def test_summary():
    assert mining.summary(mining.by_grammar([["Sinus rhythm", "Wibble wobble"], ["wibble  wobble."]])) == (
        "1 entities (0 superclasses) in 3 statements of 2 records, 2 distinct: "
        "33.3% finding, 0.0% quality, 0.0% remark, 66.7% unknown"
    )


def test_a_reading_carries_synonyms_and_codes():
    read = mining.by_grammar([["Atrial fibrillation"]])
    assert read.about["atrial fibrillation"]["codes"] == {"scp": ("AFIB",), "snomed": ("164889003",)}
    assert "afib" in read.about["atrial fibrillation"]["synonyms"]


def named(read, row):
    return {name for name, status in zip(read.names, read.statuses[row], strict=True) if status == reading.PRESENT}


RECORDS = [["Left bundle branch block"], ["LBBB"], ["AFib with left bundle branch block"], ["Possible LBBB"]]


def test_without_merging_each_way_to_say_it_is_an_entity():
    """Table 2b: what says the same in other words is another entity, and its superclasses are there all the same."""
    whole, apart = mining.by_grammar(RECORDS), mining.by_grammar(RECORDS, merging=False)
    assert "left bundle branch block" in named(whole, 1)
    said = [named(apart, row) & {"left bundle branch block", "lbbb", "afib", "atrial fibrillation"} for row in range(3)]
    assert said == [{"left bundle branch block"}, {"lbbb"}, {"afib", "left bundle branch block"}]
    assert apart.statuses[3, apart.names.index("lbbb")] == reading.POSSIBLE
    for row in range(3):
        assert "bundle branch block" in named(apart, row) & named(whole, row)
    assert set(apart.superclasses["bundle branch block"]) == {"lbbb", "left bundle branch block"}


def test_without_superclasses_an_entity_is_what_is_said():
    whole, flat = mining.by_grammar(RECORDS), mining.by_grammar(RECORDS, superclasses=False)
    assert named(flat, 1) == {"left bundle branch block"}
    assert named(whole, 1) > named(flat, 1)
    assert flat.superclasses == {}
    said = mining.by_grammar([["Bundle branch block"]], superclasses=False)
    assert named(said, 0) == {"bundle branch block"}  # said itself, it stays


def test_variants_lie_beside_the_whole(store):
    whole, _ = mining.open_reading(store, "grammar")
    apart, how = mining.open_reading(store, "grammar", merging=False)
    flat, _ = mining.open_reading(store, "grammar", merging=True, superclasses=False)
    assert how == "mined by the grammar"
    assert "grammar-unmerged" in mining.open_reading(store, "grammar", merging=False)[1]
    assert {path.name for path in (store.path / "knowledge").iterdir()} == {
        "grammar",
        "grammar-unmerged",
        "grammar-flat",
    }
    assert set(flat.names) < set(whole.names)
    assert not flat.superclasses
    assert len(apart.names) > len(whole.names)
    with pytest.raises(FileNotFoundError, match="llama-unmerged-flat"):
        mining.open_reading(store, "llama", False, False)


def test_the_grammars_reading_is_made_once(store):
    first, how = mining.open_reading(store, "grammar")
    assert how == "mined by the grammar"
    again, how = mining.open_reading(store, "grammar")
    assert how == f"read from {store.path / 'knowledge' / 'grammar'}"
    assert again.names == first.names
    np.testing.assert_array_equal(again.statuses, first.statuses)
    assert [path.name for path in (store.path / "knowledge").iterdir()] == ["grammar"]


def test_another_grammar_reads_again(store, monkeypatch):
    mining.open_reading(store, "grammar")
    monkeypatch.setattr(mining, "rules_digest", lambda: "other")
    assert mining.open_reading(store, "grammar")[1] == "mined by the grammar"
    head = json.loads((store.path / "knowledge" / "grammar" / "entities.json").read_text())
    assert head["provenance"]["rules"] == "other"
    assert [path.name for path in (store.path / "knowledge").iterdir()] == ["grammar"]


def test_a_reading_of_other_records_is_refused(store):
    reading.save(mining.by_grammar([["Sinus rhythm"]]), store.path / "knowledge" / "mine")
    with pytest.raises(ValueError, match="is of 1 records, the store has 150; mine it again"):
        mining.open_reading(store, "mine")


@pytest.mark.parametrize("name", ["", "..", "a/b", "/etc", ".hidden"])
def test_a_name_that_leaves_the_store_is_refused(store, name):
    with pytest.raises(ValueError, match="is no name of a reading"):
        mining.open_reading(store, name)


def test_a_name_that_was_never_mined(store):
    with pytest.raises(
        FileNotFoundError, match=r"llama-flat not found: python -m kmerl_jax\.mine .* --nosuperclasses makes"
    ):
        mining.open_reading(store, "llama", superclasses=False)
