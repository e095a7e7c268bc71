"""A linear probe: one logistic regression a class on frozen features."""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def fit_and_score(train: np.ndarray, labels: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Scores of a logistic regression (L2, C = 1, standardised features) of each class.

    Args:
        train: [N, D] features.
        labels: [N, C] int8: 1, 0, or -1 (not known: the record is left out for that class).
        test: [M, D] features.

    Returns:
        [M, C]; NaN for a class whose training labels are all alike.
    """
    scores = np.full((len(test), labels.shape[1]), np.nan)
    for n, column in enumerate(labels.T):
        known = column >= 0
        if len(np.unique(column[known])) < 2:
            continue
        probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        scores[:, n] = probe.fit(train[known], column[known]).decision_function(test)
    return scores
