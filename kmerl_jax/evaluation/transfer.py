"""Domain transfer: a linear probe learns on one data set and is scored on the classes that another shares with it.

As in MERL (arXiv 2403.06659): which classes are shared, `overlap` tells. Beside it stand, for the same classes and
records, the scores by name, which saw no labels (MERL's share of 0 %), and the probe of the target's own training
records. Nothing learns from the target for the sake of the transferred probe: its epoch and, unless "merl" takes the
test records, its thresholds are chosen on the source's validation records.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from kmerl_jax.evaluation import classes, downstream, linear_probe, metrics, overlap, scoring, zero_shot
from kmerl_jax.evaluation.answers import Answers
from kmerl_jax.evaluation.inference import View
from kmerl_jax.evaluation.linear_probe import Probes, Settings
from kmerl_jax.evaluation.overlap import Overlap
from kmerl_jax.evaluation.task import Task

Groups = tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]
Columns = Sequence[Sequence[int]]
_ORACLE = "test (oracle)"


@dataclasses.dataclass(frozen=True)
class Pair:
    """A data set to learn from, and one to be scored on.

    Attributes:
        source: label of the one.
        target: label of the other.
        overlap: what they share.
        groups: of the overlap, without the source's classes that no training record has.
        task: the target with one class for each group: its names are the codes of the target's classes, its codes those
            of the source's.
    """

    source: str
    target: str
    overlap: Overlap
    groups: Groups
    task: Task


@dataclasses.dataclass(frozen=True, eq=False)
class Domain:
    """A data set seen with some leads. What its probes learn is learnt once, whatever they are scored on.

    Attributes:
        answers: of the model, with the entries of all splits.
        task: classes and records.
        view: what is shown of the scored records.
        train_view: what is shown of the training and validation records.
        protocol: "strict" or "merl".
        seeds: probes of each share below 1.
        settings: of the probes.
    """

    answers: Answers
    task: Task
    view: View
    train_view: View
    protocol: str
    seeds: int
    settings: Settings
    _learnt: dict[tuple[str, float], Probes | None] = dataclasses.field(default_factory=dict)

    def probes(self, encoder: str, ratio: float) -> Probes | None:
        """Probes of a share of the training records; None if no record to learn from has any of the leads."""
        if (encoder, ratio) not in self._learnt:
            train, val = (self._seen(split, encoder) for split in ("train", "val"))
            how = {"seeds": self.seeds, "protocol": self.protocol, "settings": self.settings}
            enough = len(train[0]) and len(val[0])
            self._learnt[encoder, ratio] = linear_probe.learn(train, val, ratio, **how) if enough else None
        return self._learnt[encoder, ratio]

    def _seen(self, split: str, encoder: str) -> tuple[np.ndarray, np.ndarray]:
        """Features and labels of the records of a split that have any of the leads."""
        part = self.task.parts[split]
        features, there = self.answers.features(part, encoder, self.train_view)
        return features[there], part.labels[there]

    def thresholds(self, probes: Probes, encoder: str, columns: Columns) -> np.ndarray:
        """[S, G], of groups of this data set's classes, chosen on its validation records."""
        features, labels = self._seen("val", encoder)
        scores = highest(linear_probe.predict(probes.best, features), columns)
        return scoring.thresholds(scores, any_of(labels, columns), np.ones(len(labels), bool))


def highest(scores: np.ndarray, columns: Columns) -> np.ndarray:
    """Scores [..., G] of groups of classes, given [..., C] of the classes and the columns of each group."""
    return np.stack([scores[..., list(group)].max(-1) for group in columns], axis=-1)


def any_of(labels: np.ndarray, columns: Columns) -> np.ndarray:
    """Labels [R, G] int8 of groups of classes, given [R, C]: 1 if any is, else -1 (not known) if any is, else 0."""
    parts = [labels[:, list(group)] for group in columns]
    return np.stack([np.where((part == 1).any(1), 1, part.min(1)) for part in parts], axis=1).astype(np.int8)


def _columns(task: Task, groups: Sequence[Sequence[str]]) -> Columns:
    return [[task.codes.index(code) for code in group] for group in groups]


def pairs(tasks: Mapping[str, Task]) -> tuple[dict[str, Pair], list[str]]:
    """Every ordered pair of tasks of different cohorts that share a class which the one can teach.

    Args:
        tasks: label -> task.

    Returns:
        "SOURCE-to-TARGET" -> pair, and what is to be said of what was left out.

    Raises:
        ValueError: there is none.
    """
    found, notes = {}, []
    covered = {label: classes.covered(task.name, task.codes) for label, task in tasks.items()}
    for one, other in itertools.combinations(tasks, 2):
        if downstream.cohort_of(one) == downstream.cohort_of(other):
            notes.append(f"no transfer between {one} and {other}: one cohort, the same people")
            continue
        if not overlap.find(covered[one], covered[other]).groups:
            notes.append(f"no transfer between {one} and {other}: by the ontology they share no class")
            continue
        for source, target in ((one, other), (other, one)):
            if missing := _missing(tasks, source, target):
                notes.append(f"no transfer from {source} to {target}: {missing}")
                continue
            shared = overlap.find(covered[source], covered[target])
            taught, untaught = _taught(tasks[source], shared)
            if untaught:
                notes.append(f"{source} to {target}: left out, as no training record has them: {', '.join(untaught)}")
            if taught:
                task = _united(source, tasks[target], taught)
                found[f"{source}-to-{target}"] = Pair(source, target, shared, taught, task)
    if not found:
        said = "; ".join(notes) or f"{', '.join(tasks)} alone has nothing to be transferred to"
        raise ValueError(f"{said}. --labels and --store name data sets of two cohorts or more that share classes")
    return found, notes


def _missing(tasks: Mapping[str, Task], source: str, target: str) -> str:
    """Why the one cannot teach or the other not be scored; "" if both can."""
    if not tasks[source].teaches:
        return f"{source} has no records to learn from and to choose by: {tasks[source].counts}"
    if not len(tasks[target].parts["test"].records):
        return f"{target} has no records to be scored on: {tasks[target].counts}"
    return ""


def _taught(source: Task, shared: Overlap) -> tuple[Groups, list[str]]:
    """The groups without the source's classes that no training record has; and the codes of these."""
    there = dict(zip(source.codes, (source.parts["train"].labels == 1).any(0), strict=True))
    groups = [(tuple(code for code in codes if there[code]), others) for codes, others in shared.groups]
    untaught = [code for codes, _ in shared.groups for code in codes if not there[code]]
    return tuple((codes, others) for codes, others in groups if codes), untaught


def _united(source: str, target: Task, groups: Groups) -> Task:
    """The target with one class for each group."""
    columns = _columns(target, [codes for _, codes in groups])
    parts = {
        split: dataclasses.replace(part, labels=any_of(part.labels, columns)) for split, part in target.parts.items()
    }
    return Task(
        name=f"{source}-to-{target.name}",
        title=f"probes learn on {source} and are scored on {target.title}",
        names=tuple(" + ".join(codes) for _, codes in groups),
        codes=tuple(" + ".join(codes) for codes, _ in groups),
        parts=parts,
    )


def describe(pair: Pair, source: Task, target: Task) -> dict:
    """What is matched with what, in words, for `results.json`.

    Args:
        pair: the two.
        source: task of its source.
        target: task of its target.

    Returns:
        "source", "target": labels; "names": of both, code -> name; "links", "groups" and "left_out" of the overlap;
        "learnt_positives": of each class of the pair's task, the records that teach it.
    """
    columns = _columns(source, [codes for codes, _ in pair.groups])
    positives = (any_of(source.parts["train"].labels, columns) == 1).sum(0)
    sides = (pair.source, source), (pair.target, target)
    return {
        "source": pair.source,
        "target": pair.target,
        "names": {label: dict(zip(task.codes, task.names, strict=True)) for label, task in sides},
        "links": [dataclasses.asdict(link) for link in pair.overlap.links],
        "groups": pair.overlap.groups,
        "left_out": {label: codes for (label, _), codes in zip(sides, pair.overlap.left_out, strict=True)},
        "learnt_positives": dict(zip(pair.task.names, positives.tolist(), strict=True)),
    }


def evaluate(
    pair: Pair,
    source: Domain,
    target: Domain,
    kinds: Sequence[str],
    prompts: Mapping[str, str] | None,
    encoders: Sequence[str],
    ratios: Sequence[float],
) -> dict[str, dict]:
    """Scores the shared classes on the target's test records.

    Args:
        pair: what is learnt and scored.
        source: its source.
        target: its target.
        kinds: of scores by name, see `zero_shot.evaluate`; the highest of a group's names counts.
        prompts: see `zero_shot.evaluate`.
        encoders: "pretrained", "random".
        ratios: shares of the training records.

    Returns:
        Each kind -> what `scoring.score` gives, with "threshold_from"; "transfer" and, if the target has records to
        learn from, "in_domain" -> encoder -> share -> the same, with "records" and "epochs" of the probe.
    """
    weights = metrics.patient_weights(pair.task.parts["test"].patients)
    results: dict[str, dict] = {kind: _by_name(pair, target, kind, prompts, weights) for kind in kinds}
    for name, learnt in (("transfer", source), ("in_domain", target)):
        if not learnt.task.teaches:
            continue
        results[name] = {
            encoder: {
                linear_probe.share(ratio): _probed(pair, learnt, target, encoder, ratio, weights) for ratio in ratios
            }
            for encoder in encoders
        }
    return results


def _by_name(pair: Pair, target: Domain, kind: str, prompts: Mapping[str, str] | None, weights: np.ndarray) -> dict:
    columns, scored = _columns(target.task, [codes for _, codes in pair.groups]), {}
    chosen, origin = ("test", _ORACLE) if target.protocol == "merl" else ("val", "val")
    if not len(target.task.parts[chosen].records):
        chosen, origin = None, None
    for split in {"test", chosen} - {None}:
        part = target.task.parts[split]
        scores, seen = zero_shot.scores(target.answers, target.task, part, target.view, kind, prompts)
        scored[split] = highest(scores, columns)[None], seen
    cuts = scoring.thresholds(scored[chosen][0], pair.task.parts[chosen].labels, scored[chosen][1]) if chosen else None
    return scoring.score(pair.task, *scored["test"], weights, cuts) | {"threshold_from": origin}


def _probed(pair: Pair, learnt: Domain, target: Domain, encoder: str, ratio: float, weights: np.ndarray) -> dict:
    """What probes of one of the two data sets reach on the target's test records."""
    test, own = pair.task.parts["test"], learnt is target
    features, seen = target.answers.features(test, encoder, target.view)
    probes = learnt.probes(encoder, ratio)
    if probes is None or not seen.any():
        nothing = np.full((1, *test.labels.shape), np.nan)
        return scoring.score(pair.task, nothing, seen, weights) | linear_probe.NOBODY
    columns = _columns(learnt.task, [of_target if own else of_source for of_source, of_target in pair.groups])
    scores, origin = highest(linear_probe.predict(probes.best, features), columns), "val" if own else "source's val"
    if target.protocol == "merl":
        cuts, origin = scoring.thresholds(scores, test.labels, seen), _ORACLE
    else:
        cuts = learnt.thresholds(probes, encoder, columns)
    result = scoring.score(pair.task, scores, seen, weights, cuts)
    return result | {
        "records": probes.records,
        "epochs": [epoch + 1 for epoch in probes.epochs],
        "threshold_from": origin,
    }
