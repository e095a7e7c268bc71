import dataclasses

import jax
import numpy as np
import optax
import pytest
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split

from kmerl_jax.evaluation import linear_probe
from kmerl_jax.evaluation.linear_probe import Settings
from kmerl_jax.evaluation.task import Part, Task

RNG = np.random.default_rng(0)


def one_by_one(features, labels, subset, seed, settings):
    """The same training, written as a plain loop."""
    weight_key, order_key = jax.random.split(jax.random.key(np.uint32(seed)))
    bound = features.shape[1] ** -0.5
    weights = jax.random.uniform(weight_key, (features.shape[1] + 1, labels.shape[1]), minval=-bound, maxval=bound)
    batches = -(-len(subset) // settings.batch_size)
    steps = batches * settings.epochs
    rate = optax.warmup_cosine_decay_schedule(0.0, settings.learning_rate, settings.warmup_steps, steps)
    tx = optax.adamw(rate)
    state, after = tx.init(weights), []
    for epoch in range(settings.epochs):
        order = subset[np.asarray(jax.random.permutation(jax.random.fold_in(order_key, epoch), len(subset)))]
        for n in range(batches):
            rows = order[n * settings.batch_size : (n + 1) * settings.batch_size]

            def loss(weights, rows=rows):
                logits, known = features[rows] @ weights[:-1] + weights[-1:], labels[rows] >= 0
                each = optax.sigmoid_binary_cross_entropy(logits, np.maximum(labels[rows], 0))
                return (each * known).sum() / known.sum()

            updates, state = tx.update(jax.grad(loss)(weights), state, weights)
            weights = optax.apply_updates(weights, updates)
        after.append(weights)
    return np.stack(after)


def test_probes_side_by_side_are_the_loop_that_the_paper_describes():
    """AdamW, cosine, 5 warm-up steps; the last batch of an epoch is smaller, and unknown labels have no loss."""
    features = RNG.normal(size=(50, 4)).astype(np.float32)
    labels = (features[:, :3] > 0).astype(np.int8)
    labels[:7, 1] = -1
    subsets = np.stack([np.arange(0, 37), np.arange(13, 50)])
    settings = Settings(learning_rate=0.02, epochs=4)
    fitted = linear_probe.fit(features, labels, subsets, np.array([5, 6]), settings)
    assert fitted.shape == (2, 4, 5, 3)
    for subset, seed, weights in zip(subsets, (5, 6), fitted, strict=True):
        expected = one_by_one(features, labels.astype(np.float32), subset, seed, settings)
        np.testing.assert_allclose(weights, expected, atol=2e-5)


def test_a_probe_learns():
    features = RNG.normal(size=(600, 5)).astype(np.float32)
    labels = np.stack([features[:, 0] > 0, features @ np.ones(5) > 1], 1).astype(np.int8)
    weights = linear_probe.fit(features[:400], labels[:400], np.arange(400)[None], np.array([0]), Settings())
    scores = linear_probe.predict(weights[0], features[400:])
    assert scores.shape == (100, 200, 2)
    assert linear_probe.macro_auroc(scores, labels[400:])[-1] > 0.97


def test_macro_auroc_equals_scikit_learn():
    """With ties, unknown labels, and a class whose labels are all alike."""
    scores, labels = RNG.integers(0, 6, (3, 40, 4)).astype(float), (RNG.random((40, 4)) < 0.4).astype(np.int8)
    labels[:, 2] = 0
    labels[:5, 3] = -1
    for found, one in zip(linear_probe.macro_auroc(scores, labels), scores, strict=True):
        each = [roc_auc_score(labels[:, n], one[:, n]) for n in (0, 1)]
        each.append(roc_auc_score(labels[5:, 3], one[5:, 3]))
        assert found == pytest.approx(np.mean(each), abs=1e-12)
    assert np.isnan(linear_probe.macro_auroc(scores, np.zeros((40, 4), np.int8))).all()


def test_shares():
    assert len(linear_probe.subset(1000, 0.01, 0, "strict")) == 10
    small, large = (set(linear_probe.subset(1000, ratio, 3, "strict")) for ratio in (0.01, 0.1))
    assert small < large
    assert small != set(linear_probe.subset(1000, 0.01, 4, "strict"))
    np.testing.assert_array_equal(linear_probe.subset(1000, 1, 0, "strict"), np.arange(1000))
    assert len(linear_probe.subset(30, 0.01, 0, "strict")) == 1
    assert len(linear_probe.subset(30, 0.01, 0, "merl")) == 1
    merl, _ = train_test_split(np.arange(1000), train_size=0.01, random_state=42)
    for seed in range(2):
        np.testing.assert_array_equal(linear_probe.subset(1000, 0.01, seed, "merl"), np.sort(merl))


class Answers:
    """Features of records, the pretrained ones of some use and the random ones of none."""

    def __init__(self, features):
        self.values, self.asked = features, []

    def features(self, part, encoder, view):
        self.asked.append((encoder, view))
        values = self.values[part.rows] if encoder == "pretrained" else RNG.normal(size=(len(part.rows), 4))
        return values.astype(np.float32), np.ones(len(part.rows), bool)


@pytest.fixture
def task():
    features = RNG.normal(size=(300, 4))
    labels = np.stack([features[:, 0] + 0.3 * RNG.normal(size=300) > 0, np.zeros(300)], 1).astype(np.int8)
    parts = {}
    for split, rows in (("train", np.arange(150)), ("val", np.arange(150, 200)), ("test", np.arange(200, 300))):
        parts[split] = Part(rows.astype(str), rows, labels[rows], rows, np.arange(len(rows)))
    return Task("x", "truth", ("one", "never"), ("1", "2"), parts), features


def evaluate(task, features, protocol="strict", **changes):
    how = {"encoders": ("pretrained", "random"), "ratios": (0.1, 1.0), "seeds": 3, "settings": Settings(0.02, epochs=6)}
    return linear_probe.evaluate(Answers(features), task, "seen", protocol, **how | changes)


def test_probes_of_both_encoders(task):
    results = evaluate(*task)
    assert list(results) == ["pretrained", "random"]
    assert list(results["pretrained"]) == ["10 %", "100 %"]
    some, whole = results["pretrained"].values()
    assert (some["records"], whole["records"], len(some["epochs"]), len(whole["epochs"])) == (15, 150, 3, 1)
    assert len(some["macro_auroc_seeds"]) == 3
    assert some["macro_auroc"] == pytest.approx(np.mean(some["macro_auroc_seeds"]))
    assert whole["macro_auroc"] > 0.9 > 0.7 > results["random"]["100 %"]["macro_auroc"]
    assert whole["undefined"] == ["never"]
    assert whole["threshold_from"] == "val"
    assert 0.7 < whole["macro_f1"] <= 1
    assert "maximum_over_test_epochs" not in whole


def test_test_labels_choose_nothing_unless_as_merl_does(task):
    """Under strict, other test labels change the score and neither the epoch nor the threshold."""
    one, features = task
    test = dataclasses.replace(one.parts["test"], labels=1 - one.parts["test"].labels)
    flipped = dataclasses.replace(one, parts=one.parts | {"test": test})
    for part in ("10 %", "100 %"):
        a, b = (evaluate(each, features)["pretrained"][part] for each in (one, flipped))
        assert a["epochs"] == b["epochs"]
        assert a["per_class"]["one"]["threshold"] == b["per_class"]["one"]["threshold"]
        assert a["macro_auroc"] == pytest.approx(1 - b["per_class"]["one"]["auroc"])
    merl = evaluate(one, features, "merl")["pretrained"]["100 %"]
    assert merl["threshold_from"] == "test (oracle)"
    assert max(merl["maximum_over_test_epochs"]) >= merl["macro_auroc"]


def test_probes_may_learn_from_other_leads(task):
    answers = Answers(task[1])
    how = {"encoders": ("pretrained",), "ratios": (1.0,), "seeds": 1, "settings": Settings(epochs=1)}
    linear_probe.evaluate(answers, task[0], "I", "strict", **how, train_view="12")
    assert answers.asked == [("pretrained", "12"), ("pretrained", "12"), ("pretrained", "I")]


def test_a_split_without_records_is_a_clear_error(task):
    one, features = task
    nothing = {name: values[:0] for name, values in vars(one.parts["val"]).items()}
    with pytest.raises(ValueError, match="this store has 150 / 0 / 100"):
        evaluate(Task("x", "", one.names, one.codes, one.parts | {"val": Part(**nothing)}), features)


def test_logistic_regression():
    train, test = RNG.normal(size=(400, 6)), RNG.normal(size=(200, 6))
    labels = np.stack([train[:, 0] > 0, train[:, 1] > 1, np.ones(400)], 1).astype(np.int8)
    labels[:50, 1] = -1
    scores = linear_probe.logistic_regression(train, labels, test)
    assert np.corrcoef(scores[:, 0], test[:, 0])[0, 1] > 0.95
    assert np.corrcoef(scores[:, 1], test[:, 1])[0, 1] > 0.9
    assert np.isnan(scores[:, 2]).all()
