import dataclasses

import numpy as np
import pytest

from kmerl_jax.cohorts.store import Store
from kmerl_jax.evaluation.task import Part, gather, own
from tests.evaluation.conftest import rewritten

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def store(demo_store):
    return Store(demo_store)


def test_the_mean_is_over_the_windows_that_show_something():
    part = Part(np.array(["a", "b", "c"]), np.zeros(3), np.zeros((3, 1)), np.arange(5), np.array([0, 0, 1, 1, 2]))
    values = np.array([[1.0], [3.0], [5.0], [7.0], [9.0]])
    mean, seen = part.average(values, np.array([True, True, True, False, False]))
    np.testing.assert_array_equal(mean[:, 0], [2, 5, 0])
    np.testing.assert_array_equal(seen, [True, True, False])


def test_windows_of_records_in_the_order_asked_for(store):
    table = store.table.copy()
    table.loc[5, ["record", "patient"]] = table.loc[2, ["record", "patient"]].to_numpy()
    records = table["record"].to_numpy()[[9, 2]]
    part = gather(table, records, np.array([[1], [0]]))
    assert list(part.rows) == [9, 2, 5]
    assert list(part.record) == [0, 1, 1]
    assert list(part.patients) == [table["patient"][9], table["patient"][2]]


def test_the_demo_is_scored_against_the_truth(store):
    one = own(store, ("a",), np.zeros((len(store), 1), np.int8), 2)
    assert one.split == "test"
    assert one.title == "the simulator's truth"
    np.testing.assert_array_equal(one.scored.rows, store.rows("test"))
    names = list(store.label_names.values())
    truth = store.labels()[one.scored.rows]
    assert one.names == tuple(name for n, name in enumerate(names) if 2 <= truth[:, n].sum() <= len(truth) - 2)
    for n, name in enumerate(one.names):
        np.testing.assert_array_equal(one.scored.labels[:, n], truth[:, names.index(name)])
    assert set(one.unseen) == {
        "ventricular bigeminy",
        "lateral myocardial infarction",
        "left anterior fascicular block",
    }


def test_what_is_chosen_is_chosen_by_validation_records(store):
    one = own(store, (), None, 0)
    tuning = one.tuning()
    assert tuning.split == "val"
    np.testing.assert_array_equal(tuning.scored.rows, store.rows("val"))
    np.testing.assert_array_equal(one.scored.rows, store.rows("test"))
    nothing_left = dataclasses.replace(tuning, parts=tuning.parts | {"val": tuning.parts["test"]})
    with pytest.raises(ValueError, match="no validation records to choose by"):
        nothing_left.tuning()


def test_no_report_mentions_the_unseen(store):
    words = " ".join(report.lower() for report in store.table["report"])
    for name in ("bigemin", "lateral infarct", "lateral myocardial", "fascic", "lafb", "hemiblock"):
        assert name not in words


def test_without_labels_the_mined_ones_are_scored_and_named_so(store, tmp_path):
    mined = RNG.integers(-1, 2, (len(store), 2)).astype(np.int8)
    about = {"label_names": {}, "held_out": [], "labels_title": "mined from held-out reports"}
    bare = rewritten(store.path, tmp_path / "store", store.table, **about)
    one = own(bare, ("x", "y"), mined, 2)
    assert one.names == ("x", "y")
    assert "not comparable with the paper's six tasks" in one.title
    np.testing.assert_array_equal(one.scored.labels, mined[one.scored.rows])
    with pytest.raises(ValueError, match="has no labels of its own"):
        own(bare, (), None, 2)


@pytest.mark.parametrize("text", ["statements", "german"])
def test_texts_made_from_labels_are_named_so(store, tmp_path, text):
    """If the model learnt from them: what another one was trained on is not the store's to say."""
    made = rewritten(store.path, tmp_path / "store", store.table, about={"text": text})
    said = "trained on texts made from the labels; not zero-shot in the paper's sense"
    assert own(made, (), None, 2, learnt_from=True).title.endswith(said)
    assert said not in own(made, (), None, 2).title
    assert said not in own(store, (), None, 2, learnt_from=True).title


def test_classes_without_positives_are_kept_where_they_are_to_be_counted(store):
    everything = own(store, (), None, 0)
    assert everything.names == tuple(store.label_names.values())
    assert everything.checksum == own(store, (), None, 0).checksum != own(store, (), None, 2).checksum


def test_too_few_positives_is_a_clear_error(store):
    with pytest.raises(ValueError, match="no class has 1000 positives"):
        own(store, (), None, 1000)
