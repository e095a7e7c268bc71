"""What a table's columns say of one run, with bootstrap draws that are of the same patients for every run."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh

import kmerl_jax
from kmerl_jax.cohorts.store import Store
from kmerl_jax.evaluation import (
    experiment,
    fine_tune,
    inference,
    leakage,
    linear_probe,
    metrics,
    pretrained,
    scoring,
    seen_unseen,
    zero_shot,
)
from kmerl_jax.evaluation.answers import Answers
from kmerl_jax.evaluation.inference import View
from kmerl_jax.evaluation.task import Task
from kmerl_jax.models.classifier import Classifier
from kmerl_jax.reproduction.table import Measure, Row
from kmerl_jax.signals.leads import PROGRESSIVE, parse_leads


@dataclasses.dataclass(frozen=True)
class Score:
    """A macro of one or several models.

    Attributes:
        seeds: [S], of each seed of pretraining.
        draws: [W], means over the seeds.
    """

    seeds: np.ndarray
    draws: np.ndarray

    @property
    def value(self) -> float:
        """The mean over seeds."""
        return float(self.seeds.mean())

    @property
    def deviation(self) -> float | None:
        """Of the seeds; None of one."""
        return float(self.seeds.std(ddof=1)) if len(self.seeds) > 1 else None

    @property
    def ci95(self) -> list[float]:
        """Over patients."""
        return metrics.interval(self.draws)


def mean(scores: Sequence[Score]) -> Score:
    """Of several tasks: the mean of each seed and of each draw; tasks where there is nothing to score do not count."""
    scores = [one for one in scores if np.isfinite(one.value)] or scores
    return Score(np.mean([one.seeds for one in scores], axis=0), np.mean([one.draws for one in scores], axis=0))


def over_seeds(scores: Sequence[Score]) -> Score:
    """Of runs that differ in their seed alone."""
    return Score(np.concatenate([one.seeds for one in scores]), np.mean([one.draws for one in scores], axis=0))


def less(one: Score, other: Score) -> tuple[float, list[float]]:
    """A difference of two models, and its 95 % interval: draw by draw, of the same patients."""
    return one.value - other.value, metrics.interval(one.draws - other.draws)


@dataclasses.dataclass(frozen=True)
class Scorer:
    """How runs are scored.

    Attributes:
        tasks: label -> store and task.
        prompts: of each class's code, or None.
        probe_seeds: probes of each share below 1.
        supervised: how an encoder learns from labels alone.
        mesh: the devices.
        progress: makes, of what is done, a function of the ECGs done and the number in all.
        asking: folder of the run whose queries tell which classes are "seen", for all rows: else rows that read names
            otherwise would be scored on other classes.
    """

    tasks: Mapping[str, tuple[Store, Task]]
    prompts: Mapping[str, str] | None
    probe_seeds: int
    supervised: fine_tune.Settings
    mesh: Mesh
    progress: Callable[[str], Callable[[int, int], None]]
    asking: Path

    def of(self, row: Row, folder: Path, seed: int, columns: Sequence[Measure]) -> dict[tuple[Measure, str], Score]:
        """Column and label -> what they say of a run; columns that cannot be asked of a row are left out.

        Args:
            row: of a table.
            folder: of one of its runs.
            seed: of that run.
            columns: of the table.

        Raises:
            ValueError: scored patients were in the pretraining, or a task lacks what a column needs.
        """
        asked = [column for column in columns if _applies(row, column)]
        if not asked:
            return {}
        run = pretrained.load(folder, self.mesh)
        asked = [column for column in asked if column.kind != "zero_shot" or run.model.scores]
        learning = any(column.kind == "linear_probe" for column in asked)
        leakage.check(run, self.tasks, "strict", learning)
        for _, task in self.tasks.values():
            if learning:
                task.check_learnable()
        groups = self._groups(run) if any(column.group for column in asked) else {}
        size = run.config.evaluation.batch_size
        # Most of a data set are records that are not scored: what is shown of these is what something is learnt from.
        beside: dict[tuple[str, ...], frozenset[str]] = {}
        for column in asked:
            beside[leads_of(column)] = beside.get(leads_of(column), frozenset()) | _beside(column)
        answers = {
            splits: experiment.open_answers(run, self.tasks, splits, size, seed, self.progress)
            for splits in set(beside.values())
        }
        return {
            (column, label): self._one(
                row,
                run,
                answers[beside[leads_of(column)]][store.path],
                label,
                column,
                groups[label][column.group] if column.group else None,
            )
            for column in asked  # outside, so that all tasks of a store share what is said of it
            for label, (store, _) in self.tasks.items()
        }

    def _groups(self, run) -> dict[str, dict[str, list[str]]]:
        asking = run if run.path == self.asking else pretrained.load(self.asking, self.mesh)
        return {label: seen_unseen.groups(asking, task, "cosine") for label, (_, task) in self.tasks.items()}

    def _one(self, row: Row, run, answers: Answers, label: str, column: Measure, names: list[str] | None) -> Score:
        store, task = self.tasks[label]
        view = View(store, leads_of(column))
        prompts = self.prompts if row.prompts else None

        def compute() -> dict[str, np.ndarray]:
            weights = self._weights(store, task)
            if column.kind == "zero_shot":
                values = self._zero_shot(row, run, answers, task, view, prompts, column, names, weights)
            elif row.encoder == "supervised":
                scores, seen = self._supervised(run, label, task, view, column)
                values = scoring.macro(task, scores[None], seen, weights)
            else:
                values = self._probed(answers, row.encoder, task, view, column, weights)
            seeds, draws = values
            return {"seeds": seeds.mean(keepdims=True), "draws": draws}  # probes of one encoder are one model here

        about = {
            "what": "score of a table",
            "model": run.checksum,
            "row": [row.encoder, row.scores, sorted(prompts.items()) if prompts else None],
            "column": dataclasses.asdict(column) | {"name": ""},
            "classes": names,
            "task": task.checksum,
            "view": view.about(),
            "settings": [answers.seed, self.probe_seeds, dataclasses.asdict(self.supervised)],
            "probe": dataclasses.asdict(linear_probe.Settings()),
            "reader": run.encoder.fingerprint if run.model.scores else "",
            "drawn among": sorted([store.checksum, one.checksum] for store, one in self.tasks.values()),
            "precision": [run.config.train.dtype, jax.default_backend()],
            "versions": [kmerl_jax.__version__, metrics.DRAWS],
        }
        return Score(**inference.cached(run.path / "features", about, compute)[0])

    def _weights(self, store: Store, task: Task) -> np.ndarray:
        """Bootstrap weights of a task's records: of a patient the same in all tasks of one store."""
        stores = sorted({one.checksum for one, _ in self.tasks.values()})
        patients = [one.scored.patients for of, one in self.tasks.values() if of.checksum == store.checksum]
        distinct = np.unique(np.concatenate(patients))
        drawn = metrics.patient_weights(distinct, seed=stores.index(store.checksum))
        return drawn[np.searchsorted(distinct, task.scored.patients)]

    def _zero_shot(self, row, run, answers: Answers, task: Task, view: View, prompts, column: Measure, names, weights):
        kind = row.scores or run.model.scores[0]
        scored, seen = zero_shot.scores(answers, task, task.scored, view, kind, prompts)
        cuts = None
        if column.statistic == "f1":
            task.check_decidable()
            held_out, there = zero_shot.scores(answers, task, task.parts["val"], view, kind, prompts)
            cuts = scoring.thresholds(held_out[None], task.parts["val"].labels, there)
        return scoring.macro(task, scored[None], seen, weights, cuts, names, column.statistic)

    def _probed(self, answers: Answers, encoder: str, task: Task, view: View, column: Measure, weights):
        train, val, test = (
            (part, *answers.features(part, encoder, view)) for part in (task.parts[s] for s in ("train", "val", "test"))
        )
        if not all(there.any() for _, _, there in (train, val, test)):  # nobody has these leads
            return scoring.macro(task, np.full((1, *task.scored.labels.shape), np.nan), test[2], weights)
        learnt, chosen = ((features[there], part.labels[there]) for part, features, there in (train, val))
        settings = linear_probe.Settings()
        probes = linear_probe.learn(learnt, chosen, column.ratio, self.probe_seeds, "strict", settings)
        return scoring.macro(task, linear_probe.predict(probes.best, test[1]), test[2], weights)

    def _supervised(self, run, label: str, task: Task, view: View, column: Measure) -> tuple[np.ndarray, np.ndarray]:
        model = Classifier(run.model.encoder, len(task.names))
        chosen = linear_probe.subset(len(task.parts["train"].records), column.ratio, 0, "strict")
        how = task, view, "supervised", chosen, self.supervised, run.path / "evaluation" / "supervised"
        params, _ = fine_tune.learn(run, model, *how)
        size = run.config.evaluation.batch_size
        return fine_tune.score(
            run, model, params, task.scored, view, batch_size=size, progress=self.progress(f"supervised, {label}")
        )


def _beside(column: Measure) -> frozenset[str]:
    """Splits that a column needs beside the one that is scored."""
    if column.kind == "linear_probe":
        return frozenset({"train", "val"})
    return frozenset({"val"} if column.statistic == "f1" else ())


def leads_of(column: Measure) -> tuple[str, ...]:
    """The leads that are seen; "first 3" are the first three in the order in which the paper adds them."""
    first = column.leads.removeprefix("first ")
    return parse_leads(",".join(PROGRESSIVE[: int(first)])) if first != column.leads else parse_leads(column.leads)


def _applies(row: Row, column: Measure) -> bool:
    """Whether a column can be asked of a row: what has learnt nothing, or from labels alone, knows no names."""
    return row.encoder == "pretrained" or column.kind == "linear_probe"
