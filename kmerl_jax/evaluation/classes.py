"""The classes of the six downstream tasks in terms of the ontology. Neither mining nor training reads this."""

import functools
import importlib.resources
import tomllib

from kmerl_jax.knowledge import ontology


@functools.lru_cache(maxsize=1)
def load() -> dict[str, dict[str, tuple[str, ...]]]:
    """Task -> class -> the entities that the class covers, from `classes.toml`.

    Raises:
        ValueError: a class that covers what is no entity.
    """
    table = tomllib.loads(importlib.resources.files(__package__).joinpath("classes.toml").read_text("utf-8"))
    known = ontology.load().entities
    for task, classes in table.items():
        for name, entities in classes.items():
            if missing := [entity for entity in entities if entity not in known]:
                raise ValueError(f"classes.toml: class {name} of {task} covers {missing[0]!r}, which is no entity")
    return {task: {name: tuple(entities) for name, entities in classes.items()} for task, classes in table.items()}
