import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, average_precision_score, f1_score, roc_auc_score

from kmerl_jax.evaluation import metrics

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("metric", [metrics.auroc, metrics.auprc, metrics.best_threshold])
def test_of_one_class_nothing_is_defined(metric):
    assert np.isnan(metric(np.arange(3.0), np.zeros(3, bool)))
    assert np.isnan(metric(np.arange(3.0), np.ones(3, bool)))


def test_a_perfect_ranking():
    scores, labels = np.arange(4.0), np.array([0, 0, 1, 1], bool)
    assert metrics.auroc(scores, labels) == metrics.auprc(scores, labels) == 1
    assert metrics.best_threshold(scores, labels) == 2


@hypothesis.given(st.integers(2, 60), st.integers(1, 30), st.integers(0, 2**32 - 1))
@hypothesis.settings(max_examples=60, deadline=None)
def test_ranking_draws_equal_scikit_learn(count, levels, seed):
    """With and without ties, records that were never drawn, and classes of any frequency."""
    rng = np.random.default_rng(seed)
    scores, labels = rng.integers(0, levels, count).astype(float), rng.random(count) < rng.random()
    weights = rng.integers(0, 3, (count, 9))
    area, average = metrics.ranking_draws(scores, labels, weights)
    for draw, column in enumerate(weights.T):
        drawn = np.repeat(np.arange(count), column)
        if labels[drawn].all() or not labels[drawn].any():
            assert np.isnan(area[draw])
            assert np.isnan(average[draw])
            continue
        assert area[draw] == pytest.approx(roc_auc_score(labels[drawn], scores[drawn]), abs=1e-12)
        assert average[draw] == pytest.approx(average_precision_score(labels[drawn], scores[drawn]), abs=1e-12)


def test_draws_are_the_same_however_many_are_asked_for():
    scores, labels = RNG.normal(size=50), RNG.random(50) < 0.3
    weights = RNG.integers(0, 3, (50, 300))
    area, average = metrics.ranking_draws(scores, labels, weights)
    for some in (slice(0, 1), slice(100, 160), slice(299, 300)):
        part = metrics.ranking_draws(scores, labels, weights[:, some])
        np.testing.assert_array_equal(part[0], area[some])
        np.testing.assert_array_equal(part[1], average[some])


def test_decision_draws_equal_scikit_learn():
    called, labels = RNG.random(60) < 0.5, RNG.random(60) < 0.3
    weights = RNG.integers(0, 4, (60, 20))
    f1, accuracy = metrics.decision_draws(called, labels, weights)
    expected = [f1_score(labels, called, sample_weight=column) for column in weights.T]
    np.testing.assert_allclose(f1, expected, atol=1e-12)
    expected = [accuracy_score(labels, called, sample_weight=column) for column in weights.T]
    np.testing.assert_allclose(accuracy, expected, atol=1e-12)
    assert np.isnan(metrics.decision_draws(called, np.zeros(60, bool), weights)[0]).all()


@hypothesis.given(st.integers(2, 40), st.integers(0, 2**32 - 1))
@hypothesis.settings(max_examples=40, deadline=None)
def test_no_threshold_has_a_larger_f1(count, seed):
    rng = np.random.default_rng(seed)
    scores, labels = rng.integers(0, 8, count).astype(float), rng.random(count) < 0.4
    hypothesis.assume(0 < labels.sum() < count)
    best = f1_score(labels, scores >= metrics.best_threshold(scores, labels))
    assert best == pytest.approx(max(f1_score(labels, scores >= cut) for cut in scores))


def test_a_draw_without_positives_is_undefined():
    draws, _ = metrics.ranking_draws(np.arange(3.0), np.array([True, False, False]), np.array([[0, 1], [1, 1], [1, 1]]))
    assert np.isnan(draws[0])
    assert draws[1] == 0
    assert metrics.interval(draws) == [0, 0]
    assert all(np.isnan(metrics.interval(draws[:1])))


def test_the_records_of_a_patient_are_drawn_together():
    patients = np.array(["a", "b", "a", "c", "b"])
    weights = metrics.patient_weights(patients, 500, seed=1)
    assert weights.shape == (5, 500)
    assert (weights[0] == weights[2]).all()
    assert (weights[1] == weights[4]).all()
    assert (weights[[0, 1, 3]].sum(0) == 3).all()
    np.testing.assert_array_equal(weights, metrics.patient_weights(patients, 500, seed=1))
    alone = metrics.patient_weights(np.array(["a", "a", "a"]), 9)
    assert np.isnan(metrics.ranking_draws(np.arange(3.0), np.array([True, False, True]), alone)[0]).all()


def test_cosines():
    a, b = np.array([[3.0, 4.0], [0.0, 0.0]]), np.array([[4.0, 3.0], [-3.0, -4.0], [0.0, 2.0]])
    np.testing.assert_allclose(metrics.cosines(a, b), [[0.96, -1, 0.8], [0, 0, 0]])


def test_the_interval_covers():
    """95 % intervals of a normal shift's AUROC hold the true value in about 95 of 100 cohorts."""
    hits = 0
    for n in range(100):
        rng = np.random.default_rng(n)
        labels = rng.random(150) < 0.4
        scores = rng.normal(size=150) + labels
        draws, _ = metrics.ranking_draws(scores, labels, metrics.patient_weights(np.arange(150), 400, n))
        low, high = metrics.interval(draws)
        hits += low <= 0.7602 <= high  # Phi(1 / sqrt 2)
    assert 88 <= hits <= 99
