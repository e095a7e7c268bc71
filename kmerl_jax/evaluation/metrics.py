"""AUROC with bootstrap intervals."""

import numpy as np
from sklearn.metrics import roc_auc_score

DRAWS = 1000


def auroc(scores: np.ndarray, labels: np.ndarray) -> float:
    """Area under the ROC curve of one class; NaN if all labels are alike.

    Args:
        scores: [N].
        labels: [N] bool.
    """
    if labels.all() or not labels.any():
        return float("nan")
    return float(roc_auc_score(labels, scores))


def auroc_draws(scores: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """AUROC under each of many weightings of the records: a bootstrap without resampling anything.

    Args:
        scores: [N].
        labels: [N] bool.
        weights: [R, N], how often each record was drawn.

    Returns:
        [R]; NaN where a draw has no positive or no negative.
    """
    order = np.argsort(scores, kind="stable")
    first_of_ties = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))
    positive = np.add.reduceat(weights[:, order] * labels[order], first_of_ties, axis=1, dtype=np.float64)
    negative = np.add.reduceat(weights[:, order] * ~labels[order], first_of_ties, axis=1, dtype=np.float64)
    # A positive beats the negatives below it, and half of those that tie with it.
    won = (positive * (np.cumsum(negative, axis=1) - negative / 2)).sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return won / (positive.sum(1) * negative.sum(1))


def patient_weights(patients: np.ndarray, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """How often each record is drawn when patients are drawn with replacement.

    Args:
        patients: [N] ids; the records of one patient are drawn together.
        draws: R.
        seed: of the draws.

    Returns:
        [R, N] int16.
    """
    names, patient = np.unique(patients, return_inverse=True)
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws)
    return counts.astype(np.int16)[:, patient]


def interval(draws: np.ndarray) -> list[float]:
    """The middle 95 % of bootstrap draws, as [low, high]; draws that are undefined do not count."""
    defined = draws[np.isfinite(draws)]
    if len(defined) == 0:
        return [float("nan"), float("nan")]
    return [float(value) for value in np.quantile(defined, [0.025, 0.975])]
