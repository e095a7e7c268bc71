"""Linear probes: a linear layer on frozen features, trained as in the paper (table 4), on device."""

import dataclasses
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.stats
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from kmerl_jax.evaluation import metrics, scoring
from kmerl_jax.evaluation.answers import Answers
from kmerl_jax.evaluation.inference import View
from kmerl_jax.evaluation.task import Task

NOBODY = {"records": 0, "epochs": [], "threshold_from": None}
"""Of a probe that no record showed any of the leads."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a probe is trained; the defaults are the paper's.

    Attributes:
        learning_rate: of AdamW, at its peak.
        batch_size: records of a step.
        epochs: passes over the records.
        warmup_steps: linear, before the cosine decay to zero.
    """

    learning_rate: float = 1e-3
    batch_size: int = 16
    epochs: int = 100
    warmup_steps: int = 5


@dataclasses.dataclass(frozen=True)
class Probes:
    """What was learnt from a share of the training records, by probes that differ in their seed alone.

    Attributes:
        heads: [S, epochs, D + 1, C], the weights after each epoch.
        epochs: which of them, counted from 0, was the best on validation records, of each of S.
        records: that each learnt from.
    """

    heads: np.ndarray
    epochs: tuple[int, ...]
    records: int

    @property
    def best(self) -> np.ndarray:
        """[S, D + 1, C], the weights after the best epoch."""
        return self.heads[np.arange(len(self.heads)), self.epochs]


def fit(
    features: np.ndarray, labels: np.ndarray, subsets: np.ndarray, seeds: np.ndarray, settings: Settings
) -> np.ndarray:
    """Trains one probe on each of several subsets of the training records, side by side.

    Args:
        features: [N, D].
        labels: [N, C] int8: 1, 0, -1 (not known: no loss).
        subsets: [S, n] indices of each probe's records.
        seeds: [S], of each probe's weights and order.
        settings: of the training.

    Returns:
        [S, epochs, D + 1, C], the weights of each probe after each epoch; the last row is the bias.
    """
    keys = jax.vmap(jax.random.key)(jnp.asarray(seeds, jnp.uint32))
    return np.asarray(_fit(jnp.asarray(features, jnp.float32), jnp.asarray(labels), subsets, keys, settings))


@functools.partial(jax.jit, static_argnames="settings")
def _fit(features, labels, subsets, keys, settings: Settings):
    return jax.vmap(lambda subset, key: _fit_one(features, labels, settings, subset, key))(subsets, keys)


def _fit_one(features: jax.Array, labels: jax.Array, settings: Settings, subset: jax.Array, key: jax.Array):
    size = settings.batch_size
    batches = -(-len(subset) // size)
    steps = batches * settings.epochs
    rate = optax.warmup_cosine_decay_schedule(0.0, settings.learning_rate, min(settings.warmup_steps, steps - 1), steps)
    tx = optax.adamw(rate)
    weight_key, order_key = jax.random.split(key)
    bound = 1 / jnp.sqrt(features.shape[1])  # as torch.nn.Linear begins, and with it MERL's probe
    weights = jax.random.uniform(weight_key, (features.shape[1] + 1, labels.shape[1]), minval=-bound, maxval=bound)
    x, y = features[subset], labels[subset].astype(jnp.float32)

    def loss(weights, rows, real):
        logits = x[rows] @ weights[:-1] + weights[-1:]
        known = (y[rows] >= 0) & real[:, None]
        each = optax.sigmoid_binary_cross_entropy(logits, jnp.maximum(y[rows], 0))
        return (each * known).sum() / jnp.maximum(known.sum(), 1)

    def step(carry, batch):
        weights, state = carry
        updates, state = tx.update(jax.grad(loss)(weights, *batch), state, weights)
        return (optax.apply_updates(weights, updates), state), None

    def epoch(carry, number):
        order = jax.random.permutation(jax.random.fold_in(order_key, number), len(subset))
        # The last batch is smaller: what fills it up has no loss.
        rows = jnp.resize(order, batches * size).reshape(batches, size)
        real = (jnp.arange(batches * size) < len(subset)).reshape(batches, size)
        carry, _ = jax.lax.scan(step, carry, (rows, real))
        return carry, carry[0]

    _, after_each = jax.lax.scan(epoch, (weights, tx.init(weights)), jnp.arange(settings.epochs))
    return after_each


def predict(weights: np.ndarray, features: np.ndarray) -> np.ndarray:
    """Logits [..., N, C] of features [N, D] under weights [..., D + 1, C]."""
    return features @ weights[..., :-1, :] + weights[..., -1:, :]


def macro_auroc(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Macro AUROC of each of several scorings of the same records; classes whose labels are all alike are left out.

    Args:
        scores: [E, N, C].
        labels: [N, C] int8; -1 is left out.

    Returns:
        [E]; NaN if no class is left.
    """
    each = []
    for n, column in enumerate(labels.T):
        known = column >= 0
        positive = column[known] == 1
        wins, pairs = positive.sum(), positive.sum() * (~positive).sum()
        if pairs:
            ranks = scipy.stats.rankdata(scores[:, known, n], axis=1)[:, positive].sum(1)
            each.append((ranks - wins * (wins + 1) / 2) / pairs)
    return np.mean(each, axis=0) if each else np.full(len(scores), np.nan)


def subset(count: int, ratio: float, seed: int, protocol: str) -> np.ndarray:
    """Which training records a probe is given, ascending.

    Args:
        count: N, of the training records.
        ratio: of them, at most 1.
        seed: of the draw; a smaller share is a part of a larger one.
        protocol: "merl" draws as its code does, the same share for every seed (scikit-learn, random_state=42).
    """
    chosen = max(1, round(ratio * count))
    if protocol == "merl" and chosen < count:
        size = max(1, int(ratio * count))
        return np.sort(train_test_split(np.arange(count), train_size=size, random_state=42)[0])
    return np.sort(np.random.default_rng(seed).permutation(count)[:chosen])


def learn(
    train: tuple[np.ndarray, np.ndarray],
    val: tuple[np.ndarray, np.ndarray],
    ratio: float,
    seeds: int,
    protocol: str,
    settings: Settings,
) -> Probes:
    """Trains probes on a share of the training records, and chooses the epoch of each.

    Args:
        train: features [N, D] and labels [N, C] of the training records.
        val: the same of the validation records.
        ratio: of the training records.
        seeds: how many probes of a share below 1; of the whole there is one.
        protocol: as of `subset`.
        settings: of the training.
    """
    count = 1 if ratio == 1 else seeds
    subsets = np.stack([subset(len(train[0]), ratio, seed, protocol) for seed in range(count)])
    heads = fit(*train, subsets, np.arange(count), settings)
    curves = [macro_auroc(predict(head, val[0]), val[1]) for head in heads]
    # Without a class to choose by, the last epoch it is.
    epochs = tuple(int(np.nanargmax(curve)) if np.isfinite(curve).any() else len(curve) - 1 for curve in curves)
    return Probes(heads, epochs, subsets.shape[1])


def evaluate(
    answers: Answers,
    task: Task,
    view: View,
    protocol: str,
    encoders: Sequence[str],
    ratios: Sequence[float],
    seeds: int,
    settings: Settings,
    train_view: View | None = None,
) -> dict[str, dict[str, dict]]:
    """Probes on several shares of the training records; which epoch is scored is chosen on the validation records.

    Args:
        answers: of the model, with the entries of all splits.
        task: classes and records.
        view: what is shown of the scored records.
        protocol: "strict"; "merl" reports the maximum over test epochs too, and chooses thresholds on the test records.
        encoders: "pretrained", "random".
        ratios: shares of the training records.
        seeds: how many probes of a share below 1; of the whole there is one.
        settings: of the training.
        train_view: what is shown of the training and validation records; the same by default.

    Returns:
        Encoder -> share ("1 %") -> what `scoring.score` gives, with "records", "epochs" (chosen, of each seed),
        "threshold_from", and under "merl" "maximum_over_test_epochs".

    Raises:
        ValueError: no training or no validation record.
    """
    task.check_learnable()
    train, val, test = (task.parts[split] for split in ("train", "val", "test"))
    weights = metrics.patient_weights(test.patients)
    how = {"seeds": seeds, "protocol": protocol, "settings": settings}
    results = {}
    for encoder in encoders:
        learnt, there = answers.features(train, encoder, train_view or view)
        chosen, chosen_there = answers.features(val, encoder, train_view or view)
        scored, seen = answers.features(test, encoder, view)
        features, labels = learnt[there], train.labels[there]
        results[encoder] = {}
        for ratio in ratios:
            if not (there.any() and chosen_there.any() and seen.any()):
                nothing = np.full((1, *test.labels.shape), np.nan)
                results[encoder][share(ratio)] = scoring.score(task, nothing, seen, weights) | NOBODY
                continue
            probes = learn((features, labels), (chosen[chosen_there], val.labels[chosen_there]), ratio, **how)
            scores = predict(probes.best, scored)
            if protocol == "merl":
                cuts = scoring.thresholds(scores, test.labels, seen)
            else:
                cuts = scoring.thresholds(predict(probes.best, chosen), val.labels, chosen_there)
            result = scoring.score(task, scores, seen, weights, cuts)
            result |= {"records": probes.records, "epochs": [epoch + 1 for epoch in probes.epochs]}
            result["threshold_from"] = "test (oracle)" if protocol == "merl" else "val"
            if protocol == "merl":
                on_test = [macro_auroc(predict(head, scored[seen]), test.labels[seen]) for head in probes.heads]
                result["maximum_over_test_epochs"] = [float(np.nanmax(curve)) for curve in on_test]
            results[encoder][share(ratio)] = result
    return results


def share(ratio: float) -> str:
    """A share of the training records, as it is printed."""
    return f"{100 * ratio:g} %"


def logistic_regression(train: np.ndarray, labels: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Scores of a logistic regression (L2, C = 1, standardised features) of each class: what few records allow at best.

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
