from types import SimpleNamespace

import numpy as np
import pytest

from kmerl_jax.evaluation import downstream, seen_unseen


class Encoder:
    """Texts as the points of a circle: their cosine is that of the angle between them."""

    def __init__(self, degrees):
        self.degrees = degrees

    def embed(self, texts):
        angles = np.radians([self.degrees[text] for text in texts])
        return np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32) * 7


def run_of(positives, degrees=None):
    trained_on = {"entities": list(positives), "positives": positives}
    return SimpleNamespace(path="runs/merl", trained_on=trained_on, encoder=Encoder(degrees))


def test_a_cosine_above_95_percent():
    task = SimpleNamespace(names=("near", "far"), codes=("a", "b"), name="x")
    run = run_of({"asked": 10}, {"near": 18.0, "far": -18.4, "asked": 0.0})  # cos 18.2 degrees is 0.95
    assert seen_unseen.groups(run, task, "cosine") == {"seen": ["near"], "unseen": ["far"]}


def test_an_entity_that_the_class_covers(rhythm_store):
    task = downstream.make(rhythm_store, "ptb_xl.rhythm")
    run = run_of({"atrial fibrillation": 10, "sinus bradycardia": 0, "aflutter": 3, "heart": 5})
    groups = seen_unseen.groups(run, task, "ontology")
    assert set(groups["seen"]) == {"atrial fibrillation", "atrial flutter"}
    assert set(groups["seen"]) | set(groups["unseen"]) == set(task.names)


def test_an_unknown_rule():
    with pytest.raises(ValueError, match="unknown rule 'luck'"):
        seen_unseen.groups(run_of({"asked": 1}), None, "luck")


def test_a_model_that_was_trained_to_ask_for_nothing():
    for rule in seen_unseen.RULES:
        with pytest.raises(ValueError, match="runs/merl was not trained on named entities"):
            seen_unseen.groups(run_of({}), None, rule)
