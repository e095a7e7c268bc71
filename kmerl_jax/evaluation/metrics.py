"""Metrics of one class, with bootstrap draws of all records at once instead of one resampled set after another."""

import numpy as np
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

DRAWS = 1000
_DRAWS_AT_A_TIME = 128  # what a core's cache holds


def auroc(scores: np.ndarray, labels: np.ndarray) -> float:
    """Area under the ROC curve of one class; NaN if all labels are alike.

    Args:
        scores: [N].
        labels: [N] bool.
    """
    return float(roc_auc_score(labels, scores)) if _both(labels) else float("nan")


def auprc(scores: np.ndarray, labels: np.ndarray) -> float:
    """Area under the precision-recall curve of one class (average precision); NaN if all labels are alike.

    Args:
        scores: [N].
        labels: [N] bool.
    """
    return float(average_precision_score(labels, scores)) if _both(labels) else float("nan")


def best_threshold(scores: np.ndarray, labels: np.ndarray) -> float:
    """The threshold with the largest F1; what scores at least as much is called positive. NaN if all labels are alike.

    Args:
        scores: [N].
        labels: [N] bool.
    """
    if not _both(labels):
        return float("nan")
    precision, recall, thresholds = precision_recall_curve(labels, scores)
    total = (precision + recall)[:-1]
    f1 = np.divide(2 * (precision * recall)[:-1], total, out=np.zeros_like(total), where=total > 0)
    return float(thresholds[np.argmax(f1)])


def _both(labels: np.ndarray) -> bool:
    return bool(labels.any() and not labels.all())


def patient_weights(patients: np.ndarray, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """How often each record is drawn when patients are drawn with replacement.

    Args:
        patients: [N] ids; the records of one patient are drawn together.
        draws: R.
        seed: of the draws.

    Returns:
        [N, R] int16; zero, so that nothing is defined, if there is one patient only.
    """
    names, patient = np.unique(patients, return_inverse=True)
    if len(names) < 2:
        return np.zeros((len(patients), draws), np.int16)
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws)
    return counts.astype(np.int16).T[patient]


def ranking_draws(scores: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AUROC and average precision under each of many weightings of the records: a bootstrap that sorts once.

    Only places with a positive matter to either, so the counts of what lies between two of them are summed first: in
    integers, for many draws side by side.

    Args:
        scores: [N].
        labels: [N] bool.
        weights: [N, R] integers, how often each record was drawn.

    Returns:
        AUROC [R] and average precision [R]; NaN where a draw has no positive or no negative.
    """
    draws = weights.shape[1]
    if not _both(labels):
        return np.full(draws, np.nan), np.full(draws, np.nan)
    order = np.argsort(-scores, kind="stable")
    scores, labels = scores[order], labels[order]
    starts = np.flatnonzero(np.diff(scores, prepend=np.inf))  # of each run of equal scores
    stops = np.append(starts[1:], len(scores))
    with_positive = np.logical_or.reduceat(labels, starts)
    first, last = starts[with_positive], stops[with_positive]
    # Segments: what lies above a run with positives, then the run itself; an empty one would not sum to zero.
    edges = np.unique(np.concatenate([[0], first, last[last < len(scores)]]))
    run = np.searchsorted(edges, first)
    places = np.flatnonzero(labels)
    positives, runs_of_positives = order[places], np.searchsorted(places, first)

    def some(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        counts = np.add.reduceat(weights[order], edges, axis=0, dtype=np.int32)
        positive = np.add.reduceat(weights[positives], runs_of_positives, axis=0, dtype=np.int32)
        drawn = np.cumsum(counts, axis=0, dtype=np.int32)
        hits = np.cumsum(positive, axis=0, dtype=np.int32)
        all_positive, all_negative = hits[-1].astype(float), (drawn[-1] - hits[-1]).astype(float)
        seen, tied = drawn[run], counts[run] - positive
        # A positive beats the negatives below its run, and half of those within.
        beaten = all_positive * all_negative - _dot(positive, seen - hits) + _dot(positive, tied) / 2
        precision = hits / np.maximum(seen, 1)
        with np.errstate(invalid="ignore", divide="ignore"):
            area = beaten / (all_positive * all_negative)
            average = np.where(all_negative > 0, np.einsum("pr,pr->r", positive, precision) / all_positive, np.nan)
        return area, average

    parts = [some(weights[:, start : start + _DRAWS_AT_A_TIME]) for start in range(0, draws, _DRAWS_AT_A_TIME)]
    area, average = (np.concatenate(part) for part in zip(*parts, strict=True))
    return area, average


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.einsum("pr,pr->r", a, b, dtype=np.int64, casting="unsafe")


def decision_draws(called: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """F1 and accuracy under each of many weightings of the records.

    Args:
        called: [N] bool, which records a threshold calls positive.
        labels: [N] bool.
        weights: [N, R] integers, how often each record was drawn.

    Returns:
        F1 [R] and accuracy [R]; F1 is NaN where a draw has no positive.
    """
    drawn = weights.sum(0, dtype=float)
    hits = weights[called & labels].sum(0, dtype=float)
    positive = weights[labels].sum(0, dtype=float)
    named = weights[called].sum(0, dtype=float)
    with np.errstate(invalid="ignore", divide="ignore"):
        f1 = np.where(positive > 0, 2 * hits / (positive + named), np.nan)
        accuracy = (drawn - positive - named + 2 * hits) / drawn
    return f1, accuracy


def interval(draws: np.ndarray) -> list[float]:
    """The middle 95 % of bootstrap draws, as [low, high]; draws that are undefined do not count."""
    defined = draws[np.isfinite(draws)]
    if len(defined) == 0:
        return [float("nan"), float("nan")]
    return [float(value) for value in np.quantile(defined, [0.025, 0.975])]


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cosines [N, M] of the rows of a [N, E] and b [M, E]; 0 with a row of zeros."""
    a, b = (x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12) for x in (a, b))
    return a @ b.T
