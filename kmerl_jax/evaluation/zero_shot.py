"""Zero-shot classification: the names of classes are put to the model (paper, appendix D.3)."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from kmerl_jax.evaluation import metrics, scoring
from kmerl_jax.evaluation.answers import Answers
from kmerl_jax.evaluation.inference import View
from kmerl_jax.evaluation.task import Part, Task

SCORES = ("query", "cosine")


def evaluate(
    answers: Answers,
    task: Task,
    view: View,
    protocol: str,
    kinds: Sequence[str],
    prompts: Mapping[str, str] | None = None,
    groups: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, dict]:
    """Scores every class of a task by its name.

    Args:
        answers: of the model.
        task: the classes and records.
        view: what is shown of the records.
        protocol: "strict" chooses thresholds on the validation records, "merl" on the scored ones: an oracle.
        kinds: "query": the logit of the class's name in the query network (the paper's way); "cosine": of the projected
            ECG and the projected name or prompt (MERL's way).
        prompts: of each class's code, for the cosine; None takes the names.
        groups: sets of class names with macros of their own.

    Returns:
        What `scoring.score` gives, for each kind, with "threshold_from".

    Raises:
        ValueError: a class without a prompt.
    """
    weights = metrics.patient_weights(task.scored.patients)
    results = {}
    for kind in kinds:
        scored, seen = scores(answers, task, task.scored, view, kind, prompts)
        cuts, origin = None, None
        if protocol == "merl":
            cuts, origin = scoring.thresholds(scored[None], task.scored.labels, seen), f"{task.split} (oracle)"
        elif task.split == "test" and len(task.parts["val"].records):
            held_out, there = scores(answers, task, task.parts["val"], view, kind, prompts)
            cuts, origin = scoring.thresholds(held_out[None], task.parts["val"].labels, there), "val"
        results[kind] = scoring.score(task, scored[None], seen, weights, cuts, groups) | {"threshold_from": origin}
    return results


def scores(
    answers: Answers, task: Task, part: Part, view: View, kind: str, prompts: Mapping[str, str] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Scores by name [R, C] of a part's records, and [R] bool: the record has any of the leads.

    Args:
        answers: of the model.
        task: the classes.
        part: the records, of the task's.
        view: what is shown of them.
        kind: of `SCORES`.
        prompts: as of `evaluate`.

    Raises:
        ValueError: a class without a prompt.
    """
    if kind == "query":
        return answers.logits(part, task.names, view)
    return answers.cosines(part, texts(task, prompts), view)


def texts(task: Task, prompts: Mapping[str, str] | None) -> list[str]:
    """What is compared with an ECG for each class: its prompt in lower case, as in MERL, or its name.

    Raises:
        ValueError: a class without a prompt.
    """
    if prompts is None:
        return list(task.names)
    check_prompts(prompts, task.codes, task.name)
    return [prompts[code].lower() for code in task.codes]


def check_prompts(prompts: Mapping[str, str], codes: Sequence[str], name: str) -> None:
    """Raises ValueError for classes of a named task without a prompt."""
    if missing := [code for code in codes if not prompts.get(code, "").strip()]:
        raise ValueError(
            f"--prompts has no prompt for {len(missing)} of {len(codes)} classes of {name}: {', '.join(missing)}"
        )


def read_prompts(path: Path) -> dict[str, str]:
    """Class code -> prompt, from a JSON object: the form of MERL's CKEPE_prompt.json.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a JSON object of texts, or a code that stands twice.
    """

    def once(pairs: list[tuple[str, object]]) -> dict:
        codes = [code for code, _ in pairs]
        if twice := [code for code in codes if codes.count(code) > 1]:
            raise ValueError(f"class {twice[0]} stands there twice")
        return dict(pairs)

    try:
        prompts = json.loads(path.read_text("utf-8"), object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"--prompts={path} is not JSON with one prompt a class: {error}") from error
    if not isinstance(prompts, dict) or not all(isinstance(text, str) for text in prompts.values()):
        raise ValueError(f"--prompts={path} is not a JSON object of class codes and texts")
    return prompts
