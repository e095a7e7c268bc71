"""What a model is asked: in words of one's own, as the classes of a task, or as it was trained."""

import dataclasses
from collections.abc import Sequence

from kmerl_jax.evaluation import classes, downstream
from kmerl_jax.knowledge import ontology


@dataclasses.dataclass(frozen=True)
class Name:
    """What is asked for.

    Attributes:
        text: in words.
        task: that it is a class of; "": of none.
        code: of that class.
    """

    text: str
    task: str = ""
    code: str = ""


def wanted(entities: Sequence[str], asked: Sequence[str], labels: str | None) -> list[Name]:
    """What is asked of each recording.

    Args:
        entities: that a model was trained to ask for.
        asked: in words of one's own.
        labels: a task, whose classes are asked for too; with neither, all entities.

    Raises:
        ValueError: no such task, an empty name, or nothing to ask for.
    """
    if any(not text.strip() for text in asked):
        raise ValueError("--finding is empty; it is a name in words")
    named = [Name(" ".join(text.split())) for text in asked]
    if labels:
        if labels not in downstream.TASKS:
            raise ValueError(f"unknown labels {labels!r}; --labels are {', '.join(downstream.TASKS)}")
        named += [Name(one.name or one.covers[0], labels, one.code) for one in classes.load()[labels].values()]
    if not named:
        named = [Name(entity) for entity in entities]
    first: dict[str, Name] = {}
    for one in named:  # in the order asked; of one that is asked twice, what is known of it as a class
        if one.text not in first or (one.task and not first[one.text].task):
            first[one.text] = one
    if not first:
        raise ValueError("the model was trained to ask for nothing in particular; give --finding or --labels")
    return list(first.values())


def worth_knowing(entities: Sequence[str]) -> list[str]:
    """Names whose embeddings go with an exported model, so that they need no text encoder.

    Those that it was trained to ask for, the classes of all tasks, and the entities of the ontology.
    """
    names = [*entities, *ontology.load().entities]
    for task in classes.load().values():
        names += [name for one in task.values() for name in (one.name, one.covers[0]) if name]
    return list(dict.fromkeys(names))
