"""Which classes of a task a run asked for in training, and which are new to it (paper, section 3.3)."""

import numpy as np

from kmerl_jax.evaluation import classes, metrics
from kmerl_jax.evaluation.pretrained import Pretrained
from kmerl_jax.evaluation.task import Task
from kmerl_jax.knowledge import ontology

RULES = ("cosine", "ontology")
_SAME = 0.95  # the paper's threshold on the cosine of two names' text embeddings


def groups(pretrained: Pretrained, task: Task, rule: str) -> dict[str, list[str]]:
    """Names of the seen and of the unseen classes.

    Args:
        pretrained: the model.
        task: the classes.
        rule: "cosine": a training query has nearly the same text embedding (the paper's rule); "ontology": a training
            query is an entity that the class covers, or another name of one, and it was positive in training.

    Returns:
        "seen" and "unseen".

    Raises:
        ValueError: an unknown rule, a model that was trained to ask for nothing, or a task whose classes are not among
            the ontology's.
    """
    asked = pretrained.trained_on["entities"]
    if not asked:
        raise ValueError(f"{pretrained.path} was not trained on named entities, so no class is seen or unseen")
    if rule == "cosine":
        seen = metrics.cosines(*map(pretrained.encoder.embed, (task.names, asked))).max(1) > _SAME
    elif rule == "ontology":
        positives = pretrained.trained_on["positives"]
        known = ontology.load()
        positive = {known.canonical(name) for name in asked if positives.get(name, 0) > 0}
        covered = classes.covered(task.name, task.codes)
        seen = np.array([bool(positive & set(entities)) for entities in covered.values()])
    else:
        raise ValueError(f"unknown rule {rule!r}; --rule is {' or '.join(RULES)}")
    return {
        "seen": [name for name, is_seen in zip(task.names, seen, strict=True) if is_seen],
        "unseen": [name for name, is_seen in zip(task.names, seen, strict=True) if not is_seen],
    }
