"""Cardiac entities in standard terminology: names, other ways to say them, superclasses, modifiers. No cohort, no task.

The content is `ontology.toml`, written to be read and corrected by cardiologists; this module reads and checks it.
"""

import dataclasses
import functools
import importlib.resources
import tomllib
from collections.abc import Mapping

VOCABULARIES = ("scp", "snomed")
_RULES = ("refinements", "walls", "words", "codes")  # sections of the file that are not families of entities


@dataclasses.dataclass(frozen=True)
class Entity:
    """A thing that an ECG report can name.

    Attributes:
        name: canonical, lower case.
        family: section of the file it stands in ("rhythm", "conduction", ...).
        parents: its superclasses, one step up.
        phrases: other ways to say it; `name` itself is not among them.
        codes: vocabulary ("scp", "snomed") -> its codes for the entity.
    """

    name: str
    family: str
    parents: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()
    codes: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Ontology:
    """All entities, and what the grammar needs to combine words into them.

    Attributes:
        entities: by name.
        refinements: (head, modifier) -> entity, such as ("st elevation", "inferior").
        walls: wall -> the simpler walls it consists of; empty for a simple one.
        words: word of a report -> the word or words it stands for.
    """

    entities: Mapping[str, Entity]
    refinements: Mapping[tuple[str, str], str]
    walls: Mapping[str, tuple[str, ...]]
    words: Mapping[str, str]

    @functools.cached_property
    def superclasses(self) -> frozenset[str]:
        """Names that some entity has as a parent."""
        return frozenset(parent for entity in self.entities.values() for parent in entity.parents)

    @functools.cached_property
    def _ancestors(self) -> dict[str, frozenset[str]]:
        found = {}

        def visit(name, path):
            if name in path:
                raise ValueError(f"ontology: {' > '.join((*path, name))} goes in a circle")
            if name not in found:
                above = [visit(parent, (*path, name)) | {parent} for parent in self.entities[name].parents]
                found[name] = frozenset().union(*above)
            return found[name]

        for name in self.entities:
            visit(name, ())
        return found

    @functools.cached_property
    def _names(self) -> dict[str, str]:
        said = {phrase: entity.name for entity in self.entities.values() for phrase in entity.phrases}
        return said | {name: name for name in self.entities}

    def canonical(self, name: str) -> str:
        """The entity that a name or another way to say it stands for; the name itself if there is none."""
        return self._names.get(name.lower(), name)

    def ancestors(self, name: str) -> frozenset[str]:
        """Every superclass of an entity, at any height.

        Raises:
            KeyError: the ontology has no such entity.
        """
        return self._ancestors[name]

    def refine(self, head: str, modifier: str) -> tuple[str, ...]:
        """What "MODIFIER HEAD" names; empty if nothing fits.

        A wall that the head does not take is read as its parts, and a head that does not take the modifier as its
        superclass: "lateral t wave flattening" is a lateral t wave abnormality.
        """
        for modifiers in ((modifier,), self.walls.get(modifier, ())):
            names = tuple(self.refinements[head, part] for part in modifiers if (head, part) in self.refinements)
            if names:
                return names
        above = (self.refine(parent, modifier) for parent in self.entities[head].parents)
        return next(filter(None, above), ())


def read(text: str) -> Ontology:
    """An ontology from the text of a file like `ontology.toml`.

    Raises:
        ValueError: an entity or phrase twice, a superclass or head that does not exist, superclasses in a circle.
    """
    table = tomllib.loads(text)
    rules = {name: table.pop(name, {}) for name in _RULES}
    found = [
        Entity(name, family, tuple(entry.get("is", ())), tuple(entry.get("said", ())))
        for family, entries in table.items()
        for name, entry in entries.items()
    ]
    family_of = {entity.name: entity.family for entity in found}
    refinements = {}
    for head, modifiers in rules["refinements"].items():
        if head not in family_of:
            raise ValueError(f"ontology: {head!r} takes modifiers but is no entity")
        for modifier in modifiers:
            refinements[head, modifier] = f"{modifier} {head}"
            found.append(Entity(f"{modifier} {head}", family_of[head], (head,)))
    _check(found)
    codes = _codes(rules["codes"], {entity.name for entity in found})
    found = [dataclasses.replace(entity, codes=codes.get(entity.name, {})) for entity in found]
    ontology = Ontology(
        entities={entity.name: entity for entity in found},
        refinements=refinements,
        walls={wall: tuple(parts) for wall, parts in rules["walls"].items()},
        words=dict(rules["words"]),
    )
    for entity in found:
        ontology.ancestors(entity.name)  # finds a circle now rather than at the first use
    return ontology


def _check(found: list[Entity]) -> None:
    """Raises ValueError at the first name or phrase that stands twice, or parent that does not exist."""
    owner = {}
    for entity in found:
        for phrase in (entity.name, *entity.phrases):
            if phrase != phrase.lower().strip():
                raise ValueError(f"ontology: {phrase!r} of {entity.name!r} is not plain lower case")
            if phrase in owner:
                raise ValueError(f"ontology: {phrase!r} stands for {owner[phrase]!r} and for {entity.name!r}")
            owner[phrase] = entity.name
    names = {entity.name for entity in found}
    for entity in found:
        missing = [parent for parent in entity.parents if parent not in names]
        if missing:
            raise ValueError(f"ontology: superclass {missing[0]!r} of {entity.name!r} is no entity")


def _codes(table: dict, names: set[str]) -> dict[str, dict[str, tuple[str, ...]]]:
    """Codes by entity; raises ValueError for a code that stands twice, or for what is no entity or vocabulary."""
    owner = {}
    for name, vocabularies in table.items():
        if name not in names:
            raise ValueError(f"ontology: {name!r} has codes but is no entity")
        if unknown := set(vocabularies) - set(VOCABULARIES):
            raise ValueError(f"ontology: {unknown.pop()!r} of {name!r} is not one of {', '.join(VOCABULARIES)}")
        for vocabulary, codes in vocabularies.items():
            for code in codes:
                if (vocabulary, code) in owner:
                    other = owner[vocabulary, code]
                    raise ValueError(f"ontology: {vocabulary} code {code!r} stands for {other!r} and for {name!r}")
                owner[vocabulary, code] = name
    return {name: {key: tuple(codes) for key, codes in entry.items()} for name, entry in table.items()}


@functools.lru_cache(maxsize=1)
def load() -> Ontology:
    """The ontology of this package."""
    return read(importlib.resources.files(__package__).joinpath("ontology.toml").read_text("utf-8"))
