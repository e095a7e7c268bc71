"""A source of clinical terms: the ontology, or a table of one's own (SCP-ECG statements, SNOMED CT concepts)."""

import csv
import dataclasses
import functools
import hashlib
import importlib.resources
import io
import re
from collections.abc import Sequence
from pathlib import Path

from kmerl_jax.knowledge import grammar, ontology
from kmerl_jax.knowledge.answers import plain

_LAYOUTS = (
    ("code", "name", ("synonyms", "description")),
    ("", "description", ("SCP-ECG Statement Description",)),  # PTB-XL's scp_statements.csv
    ("Acronym Name", "Full Name", ()),  # Chapman-Shaoxing-Ningbo's ConditionNames_SNOMED-CT.csv
    ("SNOMEDCTCode", "Dx", ()),  # the diagnoses of the PhysioNet/CinC Challenge 2021
    ("SNOMED CT Code", "Dx", ()),  # and 2020
)
"""Columns of the tables that are read: of the code, of the name, and those of other texts if they are there."""
_SIGN = re.compile(r"[↑↓<>≤≥+]|(?<=\w)-(?!\w)")  # "ST↑" is no "ST↓", "T+" no "T-"


@dataclasses.dataclass(frozen=True)
class Entry:
    """An entry of a source.

    Attributes:
        code: in the source; "" if it has none.
        texts: its name, then other ways to say it and descriptions of it.
    """

    code: str
    texts: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Source:
    """Terms that experts have verified.

    Attributes:
        name: of the source.
        digest: SHA-256 of its file.
        entries: in its order.
    """

    name: str
    digest: str
    entries: tuple[Entry, ...]

    @functools.cached_property
    def _index(self) -> tuple[dict[str, str], dict[tuple[str, ...], str], dict[str, str]]:
        """The texts by their letters, by their words, and by the entity of the ontology; names before other texts."""
        names = [entry.texts[0] for entry in self.entries]
        written, spelled, meant = {}, {}, {}
        for text in [*names, *(text for entry in self.entries for text in entry.texts[1:])]:
            written.setdefault(plain(text), text)
            if key := words(text):
                spelled.setdefault(key, text)
                meant.setdefault(_meanings().get(key), text)
        meant.pop(None, None)
        return written, spelled, meant

    @functools.cached_property
    def _entities(self) -> list[frozenset[str]]:
        """What the grammar reads in the name of each entry."""
        return [_read(entry.texts[0]) for entry in self.entries]

    @functools.cached_property
    def _words(self) -> list[list[frozenset[str]]]:
        return [[frozenset(words(text)) for text in entry.texts] for entry in self.entries]

    def find(self, text: str) -> str | None:
        """A text as it stands in the source, or what stands there for the same entity of the ontology; None if nothing.

        Case, plurals and the abbreviations of reports make no difference ("PVCs", "ventricular premature beat").
        """
        written, spelled, meant = self._index
        key = words(text)
        return written.get(plain(text)) or spelled.get(key) or meant.get(_meanings().get(key))

    def near(self, names: Sequence[str], most: int) -> list[Entry]:
        """The entries nearest to something that has these names.

        First those that the grammar reads as the same entity, then those that the ontology counts below it, then those
        that share words with a name; in each group by the share of words that they have in common. What the ontology
        counts above it is near by its words alone: it is a name of other things too.

        Args:
            names: of the same thing.
            most: how many entries.
        """
        wanted, said = frozenset().union(*map(_read, names)), [frozenset(words(name)) for name in names]
        known = ontology.load()
        ranked = []
        for entry, entities, texts in zip(self.entries, self._entities, self._words, strict=True):
            same, below = bool(entities & wanted), any(known.ancestors(entity) & wanted for entity in entities)
            common = max(len(one & other) / max(len(one | other), 1) for one in texts for other in said)
            if same or below or common:
                ranked.append(((same, below, common), entry))
        return [entry for _, entry in sorted(ranked, key=lambda pair: pair[0], reverse=True)[:most]]


def words(text: str) -> tuple[str, ...]:
    """The words of a text in one spelling and its signs, without punctuation: equal for texts that differ in neither.

    Of a text without Latin letters they are its words as they stand.
    """
    read = *(token for token in grammar.tokenize(text) if token[0].isalnum()), *_SIGN.findall(text)
    return read or tuple(plain(text).split())


def _read(name: str) -> frozenset[str]:
    return frozenset(mention.entity for mention in grammar.extract(name) if mention.status == "present")


@functools.lru_cache(maxsize=1)
def _meanings() -> dict[tuple[str, ...], str]:
    entities = ontology.load().entities.values()
    return {words(text): entity.name for entity in entities for text in (entity.name, *entity.phrases)}


def of_ontology() -> Source:
    """The ontology of this package."""
    text = importlib.resources.files(__package__).joinpath("ontology.toml").read_bytes()
    entries = tuple(Entry("", (entity.name, *entity.phrases)) for entity in ontology.load().entities.values())
    return Source("the ontology", hashlib.sha256(text).hexdigest(), entries)


def of_table(path: Path) -> Source:
    """The source in a CSV with the columns of one of `_LAYOUTS`; other columns are not read.

    Synonyms are separated by "|". A text that is a part of the entry's name says less than it and is left out ("in
    inferior leads" of "ischemic in inferior leads").

    Raises:
        FileNotFoundError: no such file.
        ValueError: no CSV in UTF-8, without such columns or with one twice, a row without a name, or no row.
    """
    try:
        content = path.read_bytes()
        reader = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        code, name, others = _layout(path, reader.fieldnames or [])
        entries = []
        for line in reader:
            if None in line or None in line.values() or not line[name].strip():
                raise ValueError(f"{path}, line {reader.line_num}: no {name!r}, or not as many cells as columns")
            said = [text for column in others for text in line.get(column, "").split("|")]
            entries.append(_entry(line[code], line[name], said))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is no CSV in UTF-8: {error}") from error
    if not entries:
        raise ValueError(f"{path} has no row under its columns")
    return Source(str(path), hashlib.sha256(content).hexdigest(), tuple(entries))


def _layout(path: Path, columns: Sequence[str]) -> tuple[str, str, tuple[str, ...]]:
    for layout in _LAYOUTS:
        if twice := [column for column in (*layout[:2], *layout[2]) if columns.count(column) > 1]:
            raise ValueError(f"{path} has the column {twice[0]!r} twice")
        if {layout[0], layout[1]} <= set(columns):
            return layout
    raise ValueError(
        f"{path} has no columns 'code' and 'name' ('synonyms' and 'description' are optional), nor those of PTB-XL's "
        "scp_statements.csv, Chapman-Shaoxing-Ningbo's ConditionNames_SNOMED-CT.csv or the PhysioNet Challenge's Dx "
        f"tables; it has {', '.join(map(repr, columns)) or 'none'}"
    )


def _entry(code: str, name: str, others: Sequence[str]) -> Entry:
    name, *others = (" ".join(text.split()) for text in (name, *others))
    more = [text for text in others if plain(text) not in plain(name)]
    return Entry(code.strip(), tuple(dict.fromkeys([name, *more])))
