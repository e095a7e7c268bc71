"""Fine-tuning: the whole encoder and a linear layer learn from labels, from pretrained or from random weights."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

from kmerl_jax.evaluation import inference, linear_probe, metrics, scoring
from kmerl_jax.evaluation.inference import View
from kmerl_jax.evaluation.pretrained import Pretrained
from kmerl_jax.evaluation.task import Part, Task
from kmerl_jax.models import tokens
from kmerl_jax.models.classifier import Classifier
from kmerl_jax.signals.leads import lead_ids
from kmerl_jax.training import loop, sharding
from kmerl_jax.training.classification import ClassificationObjective
from kmerl_jax.training.stream import Examples

STARTS = ("fine_tuned", "supervised")
"""The pretrained encoder, and one of the same shape that begins with random weights."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """How an encoder is trained on labels.

    Attributes:
        learning_rate: of AdamW, at its peak.
        batch_size: records of a step, rounded up to a multiple of the devices.
        epochs: passes over the records.
    """

    learning_rate: float = 2e-4
    batch_size: int = 32
    epochs: int = 20


def evaluate(
    pretrained: Pretrained,
    task: Task,
    view: View,
    protocol: str,
    starts: Sequence[str],
    ratios: Sequence[float],
    settings: Settings,
    folder: Path,
    **how,
) -> dict[str, dict[str, dict]]:
    """Trains on shares of the training records and scores the last step on the test records. Nothing is chosen.

    Args:
        pretrained: the model whose encoder begins, or gives its shape.
        task: classes and records.
        view: what is shown of the records, in training too.
        protocol: "strict" chooses thresholds on the validation records, "merl" on the test records (an oracle).
        starts: "fine_tuned", "supervised".
        ratios: shares of the training records, the same ones as the linear probe's of its first seed.
        settings: of the training.
        folder: where each training keeps its metrics and checkpoints; it goes on from the last one.
        **how: `batch_size` and `progress` of the scoring.

    Returns:
        Start -> share -> what `scoring.score` gives, with "records", "steps" and "threshold_from".

    Raises:
        ValueError: no training, validation or test record; or the loss became infinite or NaN.
    """
    task.check_learnable()
    train, val, test = (task.parts[split] for split in ("train", "val", "test"))
    weights = metrics.patient_weights(test.patients)
    model = Classifier(pretrained.model.encoder, len(task.names))
    results: dict[str, dict[str, dict]] = {start: {} for start in starts}
    for start in starts:
        for ratio in ratios:
            chosen = linear_probe.subset(len(train.records), ratio, 0, protocol)
            params, steps = learn(pretrained, model, task, view, start, chosen, settings, folder)
            scores, seen = score(pretrained, model, params, test, view, **how)
            if protocol == "merl":
                cuts = scoring.thresholds(scores[None], test.labels, seen)
            else:
                held_out, there = score(pretrained, model, params, val, view, **how)
                cuts = scoring.thresholds(held_out[None], val.labels, there)
            results[start][linear_probe.share(ratio)] = scoring.score(task, scores[None], seen, weights, cuts) | {
                "records": len(chosen),
                "steps": steps,
                "threshold_from": "test (oracle)" if protocol == "merl" else "val",
            }
    return results


def learn(
    pretrained: Pretrained,
    model: Classifier,
    task: Task,
    view: View,
    start: str,
    chosen: np.ndarray,
    settings: Settings,
    folder: Path,
) -> tuple[dict, int]:
    """Trains an encoder and a head on records, and gives the parameters and the number of steps.

    Args:
        pretrained: the model whose encoder begins, or gives its shape.
        model: that encoder with a head.
        task: classes and records.
        view: what is shown of the records.
        start: of `STARTS`.
        chosen: indices of the training records.
        settings: of the training.
        folder: where the training keeps its metrics and checkpoints.

    Raises:
        ValueError: the loss became infinite or NaN.
    """
    train, val = task.parts["train"], task.parts["val"]
    rows = np.isin(train.record, chosen)
    config = _config(pretrained, settings, int(rows.sum()))
    objective = ClassificationObjective(
        model,
        pretrained.form,
        lead_ids(view.leads),
        view.derive,
        view.samples,
        pretrained.params["encoder"] if start == "fine_tuned" else {},
    )
    # A training goes on from its last checkpoint, so its folder tells everything that it depends on.
    about = [pretrained.checksum, view.about(), dataclasses.asdict(settings), train.rows[rows].tolist()]
    digest = hashlib.sha256(json.dumps(about).encode()).hexdigest()[:12]
    every = np.ones(len(val.rows), bool)
    state = loop.fit(
        objective,
        _examples(train, rows, view),
        _examples(val, every, view),
        config,
        config.train.steps,
        folder / f"{task.name}-{start}-{digest}",
        pretrained.mesh,
    )
    return state["params"], config.train.steps


def score(
    pretrained: Pretrained, model: Classifier, params: dict, part: Part, view: View, **how
) -> tuple[np.ndarray, np.ndarray]:
    """Logits [R, C] of a part's records, and [R] bool: it has any of the leads."""

    def forward(params: dict, bag: tokens.Tokens) -> dict[str, jax.Array]:
        return {"logits": model.apply({"params": params}, bag)}

    out = inference.apply(forward, params, pretrained.form, pretrained.mesh, view=view, rows=part.rows, **how)
    return part.average(out["logits"], out["seen"])


def _examples(part: Part, rows: np.ndarray, view: View) -> Examples:
    """A part's windows with their labels; there are no texts."""
    none = np.zeros(int(rows.sum()), np.int32)
    return Examples(view.store.entries, part.rows[rows], {}, none, part.labels[part.record[rows]])


def _config(pretrained: Pretrained, settings: Settings, windows: int) -> ConfigDict:
    """The run's config with what training on labels changes."""
    config = pretrained.config.copy_and_resolve_references()
    devices = pretrained.mesh.size
    size = -(-min(settings.batch_size, windows) // devices) * devices
    config.train.batch_size = size
    config.train.microbatches = 1
    config.train.steps = max(1, settings.epochs * -(-windows // size))
    config.train.validate_every = config.train.steps
    config.train.log_every = max(1, config.train.steps // 5)
    config.checkpoint.every = config.train.steps
    config.checkpoint.keep = 1
    config.optimizer.update(name="adamw", learning_rate=settings.learning_rate, decay="cosine", b2=0.999)
    config.optimizer.warmup_steps = config.train.steps // 20
    sharding.check_batch_size(size, pretrained.mesh)
    return config
