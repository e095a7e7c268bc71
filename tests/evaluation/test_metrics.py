import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from kmerl_jax.evaluation import metrics

RNG = np.random.default_rng(0)


def test_auroc_of_one_class_is_undefined():
    assert np.isnan(metrics.auroc(np.arange(3.0), np.zeros(3, bool)))
    assert np.isnan(metrics.auroc(np.arange(3.0), np.ones(3, bool)))
    assert metrics.auroc(np.arange(4.0), np.array([0, 0, 1, 1], bool)) == 1


@pytest.mark.parametrize("ties", [False, True])
def test_weighted_draws_equal_scikit_learn(ties):
    scores = RNG.integers(0, 6, 80).astype(float) if ties else RNG.normal(size=80)
    labels = RNG.random(80) < 0.3
    weights = RNG.integers(0, 4, (30, 80))
    expected = [roc_auc_score(labels, scores, sample_weight=row) for row in weights]
    np.testing.assert_allclose(metrics.auroc_draws(scores, labels, weights), expected, atol=1e-12)
    whole = metrics.auroc_draws(scores, labels, np.ones((1, 80), int))[0]
    np.testing.assert_allclose(whole, metrics.auroc(scores, labels), atol=1e-12)


def test_a_draw_without_positives_is_undefined():
    draws = metrics.auroc_draws(np.arange(3.0), np.array([True, False, False]), np.array([[0, 1, 1], [1, 1, 1]]))
    assert np.isnan(draws[0])
    assert draws[1] == 0
    assert metrics.interval(draws) == [0, 0]
    assert all(np.isnan(metrics.interval(draws[:1])))


def test_the_records_of_a_patient_are_drawn_together():
    patients = np.array(["a", "b", "a", "c", "b"])
    weights = metrics.patient_weights(patients, 500, seed=1)
    assert (weights[:, 0] == weights[:, 2]).all()
    assert (weights[:, 1] == weights[:, 4]).all()
    assert (weights[:, [0, 1, 3]].sum(1) == 3).all()
    np.testing.assert_array_equal(weights, metrics.patient_weights(patients, 500, seed=1))


def test_the_interval_covers():
    """95 % intervals of a normal shift's AUROC hold the true value in about 95 of 100 cohorts."""
    hits = 0
    for n in range(100):
        rng = np.random.default_rng(n)
        labels = rng.random(150) < 0.4
        scores = rng.normal(size=150) + labels
        draws = metrics.auroc_draws(scores, labels, metrics.patient_weights(np.arange(150), 400, n))
        low, high = metrics.interval(draws)
        hits += low <= 0.7602 <= high  # Phi(1 / sqrt 2)
    assert 88 <= hits <= 99
