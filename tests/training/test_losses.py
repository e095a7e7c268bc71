import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kmerl_jax.training import losses

RNG = np.random.default_rng(0)


def log_softmax(x, axis):
    x = x - x.max(axis, keepdims=True)
    return x - np.log(np.exp(x).sum(axis, keepdims=True))


def reference(ecg, text, text_id, temperature, direction):
    """Loops, in float64."""
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (ecg.astype(np.float64), text.astype(np.float64)))
    logits, total = a @ b.T / temperature, {"e2t": 0.0, "t2e": 0.0}
    for name, matrix in (("e2t", logits), ("t2e", logits.T)):
        for i in range(len(a)):
            positives = [j for j in range(len(a)) if text_id[j] == text_id[i]]
            total[name] -= np.mean([log_softmax(matrix[i], 0)[j] for j in positives]) / len(a)
    return total["e2t"] if direction == "e2t" else (total["e2t"] + total["t2e"]) / 2


@pytest.mark.parametrize("direction", losses.DIRECTIONS)
@pytest.mark.parametrize("duplicates", [False, True])
def test_contrast_against_loops(direction, duplicates):
    ecg, text = RNG.normal(size=(2, 12, 8)).astype(np.float32)
    text_id = np.array([0, 1, 2, 0, 4, 5, 1, 7, 8, 0, 10, 11] if duplicates else range(12), np.int32)
    value = losses.contrast(ecg, text, jnp.asarray(text_id) if duplicates else None, 0.07, direction)
    np.testing.assert_allclose(value, reference(ecg, text, text_id, 0.07, direction), rtol=1e-5)


def test_contrast_in_closed_form():
    batch, eye = 6, np.eye(6, dtype=np.float32)
    # Every pair matches and is orthogonal to the others.
    expected = np.log(1 + (batch - 1) * np.exp(-1 / 0.07))
    np.testing.assert_allclose(losses.contrast(3 * eye, 5 * eye, None), expected, atol=1e-6)
    # All alike: no better than chance, whichever the positives.
    ones = np.ones((batch, 4), np.float32)
    for text_id in (None, jnp.zeros(batch, jnp.int32), jnp.arange(batch)):
        np.testing.assert_allclose(losses.contrast(ones, ones, text_id), np.log(batch), rtol=1e-6)


def test_identical_reports_are_not_pushed_apart():
    ecg = np.eye(4, dtype=np.float32)
    text = ecg[[0, 0, 2, 3]]
    text_id = jnp.array([0, 0, 2, 3])
    # ECGs 0 and 1 have one report. Being equally near to it is right with shared targets, wrong without.
    shared = np.array(ecg)
    shared[1] = shared[0]
    gradient = jax.grad(lambda e: losses.contrast(e, text, text_id))(jnp.asarray(shared))
    assert np.abs(gradient).max() < 1e-4
    assert losses.contrast(shared, text, text_id) < losses.contrast(ecg, text, text_id)


def test_entity_loss_against_numpy():
    logits = RNG.normal(0, 3, (7, 5)).astype(np.float32)
    labels = RNG.integers(-1, 2, (7, 5)).astype(np.int8)
    p = 1 / (1 + np.exp(-logits.astype(np.float64)))
    known = labels >= 0
    expected = -np.where(labels == 1, np.log(p), np.log(1 - p))[known].mean()
    np.testing.assert_allclose(losses.entity_presence(logits, labels), expected, rtol=1e-5)


def test_entity_loss_in_closed_form():
    labels = np.array([[1, 0, -1]], np.int8)
    np.testing.assert_allclose(losses.entity_presence(np.zeros((1, 3), np.float32), labels), np.log(2), rtol=1e-6)
    sure = np.array([[100.0, -100.0, 1e6]], np.float32)
    np.testing.assert_allclose(losses.entity_presence(sure, labels), 0, atol=1e-6)
    np.testing.assert_allclose(losses.entity_presence(-sure, labels), 100, rtol=1e-6)
    assert losses.entity_presence(sure, np.full((1, 3), -1, np.int8)) == 0
    gradient = jax.grad(losses.entity_presence)(jnp.zeros((1, 3)), jnp.asarray(labels))
    np.testing.assert_allclose(gradient, [[-0.25, 0.25, 0]])


def test_retrieval():
    ecg, text = np.eye(4, dtype=np.float32), np.eye(4, dtype=np.float32)[[0, 1, 3, 2]]
    assert losses.retrieval(ecg, text, jnp.arange(4)) == 0.5
    assert losses.retrieval(ecg, text, jnp.array([0, 1, 2, 2])) == 1.0
