import logging

import numpy as np
import pytest

from kmerl_jax.cohorts.store import Store
from kmerl_jax.text.lexical import LexicalEncoder
from kmerl_jax.training import pairs
from tests.conftest import link_store


@pytest.fixture
def load(small_config, demo_store, tmp_path):
    """Loads the pairs of a store of its own."""
    folder = link_store(demo_store, tmp_path / "store")

    def run(**changes):
        small_config.update_from_flattened_dict(changes)
        return pairs.load(Store(folder), LexicalEncoder(), small_config)

    return folder, run


def test_what_was_mined_lies_beside_the_store_and_is_read_again(load, caplog):
    folder, run = load
    caplog.set_level(logging.INFO)
    first, train, val = run()
    assert "knowledge 'grammar', mined by the grammar" in caplog.text
    assert [path.name for path in (folder / "knowledge").iterdir()] == ["grammar"]
    again, *_ = run()
    assert "read from" in caplog.text
    assert (again.entities, again.superclasses, again.counts) == (first.entities, first.superclasses, first.counts)
    np.testing.assert_array_equal(again.labels, first.labels)
    np.testing.assert_array_equal(train.labels, first.labels[train.rows])
    assert set(train.rows).isdisjoint(val.rows)


def test_one_reading_serves_any_choice_of_queries(load):
    folder, run = load
    few, many = run(**{"data.min_positives": 20})[0], run(**{"data.min_positives": 5})[0]
    assert set(few.entities) < set(many.entities)
    assert [path.name for path in (folder / "knowledge").iterdir()] == ["grammar"]


def test_another_reading_by_its_name(load):
    folder, run = load
    run()
    (folder / "knowledge" / "grammar").rename(folder / "knowledge" / "mine")
    run(**{"data.knowledge": "mine"})
    assert not (folder / "knowledge" / "grammar").exists()
    with pytest.raises(FileNotFoundError, match=r"llama not found: python -m kmerl_jax\.mine .* --name=llama makes it"):
        run(**{"data.knowledge": "llama"})


def test_damaged_knowledge_is_named(load):
    folder, run = load
    run()
    (head,) = (folder / "knowledge").glob("*/entities.json")
    head.write_text("{")
    with pytest.raises(ValueError, match="remove the folder and mine the store again"):
        run()


def test_no_training_record_with_a_report(load):
    with pytest.raises(ValueError, match="no training record with a report"):
        load[1](**{"data.min_report_words": 1000})
