"""Who is scored must be new to the model, and to what learns from the task's own training records."""

from collections.abc import Mapping

import numpy as np

from kmerl_jax.cohorts.store import Store
from kmerl_jax.evaluation.pretrained import Pretrained
from kmerl_jax.evaluation.task import Task


def check(run: Pretrained, tasks: Mapping[str, tuple[Store, Task]], protocol: str, learning: bool) -> list[str]:
    """Finds scored patients who are not new.

    Args:
        run: the model.
        tasks: label -> store and task.
        protocol: "strict" or "merl".
        learning: whether anything learns from the tasks' labels.

    Returns:
        Under "merl", what is to be said of tasks where some are not.

    Raises:
        ValueError: under "strict", if some are not.
    """
    notes = []
    for label, (store, task) in tasks.items():
        learnt = [task.parts[split].patients for split in ("train", "val") if split != task.split]
        twice = len(np.intersect1d(np.concatenate(learnt), task.scored.patients)) if learning else 0
        if twice and protocol == "strict":
            raise ValueError(
                f"{label}: {twice:,} of the scored patients are among those that its probes learn from; "
                "split by patient (--protocol=merl scores them all the same, and says so)"
            )
        if twice:
            notes.append(f"{label}: {twice:,} of the scored patients are among those that its probes learn from")
        if protocol == "merl" and run.patients is None:
            notes.append(f"{label}: the run does not tell whether it was pretrained on the scored patients")
            continue
        known, count = run.knows(store.population, task.scored), len(np.unique(task.scored.patients))
        if known and protocol == "strict":
            raise ValueError(
                f"{label}: {known:,} of the {count:,} scored patients were in the pretraining of {run.path} (ids of "
                "one cohort are taken for the same people); score a store whose test patients are new to it "
                "(--protocol=merl scores them all the same, and says so)"
            )
        if known:
            notes.append(f"{label}: {known:,} of the {count:,} scored patients were in the run's pretraining")
    return notes
