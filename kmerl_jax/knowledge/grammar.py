"""Reading one statement: which entities it names, and whether as present, possible, negated or previous.

A statement becomes tokens, tokens become lexemes (entities by the longest phrase, modifiers, hedges, negations,
connectives), and one pass over the lexemes keeps what is in force: a hedge, a negation, waiting modifiers.
"""

import dataclasses
import functools
import importlib.resources
import re
import tomllib
from typing import NamedTuple

from kmerl_jax.knowledge import ontology
from kmerl_jax.knowledge.reading import STATUSES
from kmerl_jax.knowledge.statements import normalize


class Mention(NamedTuple):
    """An entity that a statement names, and what the statement says of it (one of `STATUSES`)."""

    entity: str
    status: str


class Parsed(NamedTuple):
    """A statement read.

    Attributes:
        mentions: in the order of the statement; superclasses of a mentioned entity are not repeated.
        kind: "finding" (mentions something), "quality" (of the recording, not of the heart), "remark" (understood, says
            nothing about one entity) or "unknown" (not understood).
        unread: words without a meaning here.
        quality: what it says of the recording, which may stand beside findings ("atrial fibrillation or artifact").
    """

    mentions: tuple[Mention, ...]
    kind: str
    unread: tuple[str, ...]
    quality: tuple[str, ...]


_LEAD_RANGE = re.compile(r"\bv([1-6]) ?- ?v?([1-6])\b")  # V3-V6, v3-6
_LEAD_LIST = re.compile(r"\bv[1-6](?:, ?[1-6]\b)+")  # v5,6
_HYPHEN = re.compile(r"(?<=[a-z0-9])-(?=[a-z0-9])")
_TOKEN = re.compile(r"\d+:\d+|[a-z0-9][\w'>]*|[,.;:?+/-]")

_WALL_LEADS = {
    "inferior": {"ii", "iii", "avf"},
    "lateral": {"i", "avl", "v5", "v6"},
    "anterior": {"v3", "v4"},
    "septal": {"v1", "v2"},
}
_LEADS = frozenset().union(*_WALL_LEADS.values(), {"avr"})


@functools.lru_cache(maxsize=1)
def _vocabulary() -> dict:
    return tomllib.loads(importlib.resources.files(__package__).joinpath("grammar.toml").read_text("utf-8"))


@functools.lru_cache(maxsize=1)
def _rewrites() -> tuple[tuple[re.Pattern, str], ...]:
    return tuple((re.compile(pattern), replacement) for pattern, replacement in _vocabulary()["rewrites"])


def tokenize(statement: str) -> tuple[str, ...]:
    """Words in the singular and in one spelling, and the punctuation that separates."""
    text = normalize(statement)
    for pattern, replacement in _rewrites():
        text = pattern.sub(replacement, text)
    text = _LEAD_RANGE.sub(lambda found: " ".join(f"v{n}" for n in range(int(found[1]), int(found[2]) + 1)), text)
    text = _LEAD_LIST.sub(lambda found: " ".join(f"v{n}" for n in re.findall(r"[1-6]", found[0])), text)
    text = _HYPHEN.sub(" ", text)
    words = ontology.load().words
    tokens = []
    for token in _TOKEN.findall(text):
        single = _singular(token)
        tokens += words.get(token, words.get(single, single)).split()
    return tuple(tokens)


def _singular(word: str) -> str:
    if len(word) < 4 or not word.endswith("s") or word.endswith(("ss", "us", "is", "'s")):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-2] if word.endswith("xes") else word[:-1]


class _Lexeme(NamedTuple):
    kind: str
    value: str


def _cues() -> dict[_Lexeme, list[str]]:
    """Phrases of each hedge, negation, connective and separator."""
    table = _vocabulary()
    cues = {_Lexeme(kind, way): table[kind][way] for kind in ("hedge", "negation") for way in table[kind]}
    return cues | {_Lexeme(kind, ""): phrases for kind, phrases in table["cues"].items()}


@functools.lru_cache(maxsize=1)
def _known_words() -> frozenset[str]:
    return frozenset(_vocabulary()["words"]["known"].split())


@functools.lru_cache(maxsize=1)
def _lexicon() -> dict[str, list[tuple[tuple[str, ...], _Lexeme]]]:
    """Phrases by their first token, longest first.

    Raises:
        ValueError: two entities say the same words once spelling is evened out.
    """
    known = ontology.load()
    lexicon = {}
    for lexeme, phrases in _cues().items():
        lexicon |= {tokenize(phrase) or (phrase,): lexeme for phrase in phrases}
    for modifier in {*known.walls, *(modifier for _, modifier in known.refinements)}:
        lexicon[tokenize(modifier)] = _Lexeme("modifier", modifier)
    for entity in known.entities.values():
        if entity.name in known.refinements.values():
            continue  # read as modifier and head, so that other words may stand between them
        for phrase in (entity.name, *entity.phrases):
            lexeme = _Lexeme("head", entity.name)
            other = lexicon.setdefault(tokenize(phrase), lexeme)
            if other != lexeme:
                raise ValueError(f"ontology: {phrase!r} of {entity.name!r} already means {other.value or other.kind!r}")
    by_first = {}
    for tokens in sorted(lexicon, key=len, reverse=True):
        by_first.setdefault(tokens[0], []).append((tokens, lexicon[tokens]))
    return by_first


def _lex(tokens: tuple[str, ...]) -> list[_Lexeme]:
    """The longest phrase at each place; what no phrase covers is a lead, a known word or an unread one."""
    lexicon = _lexicon()
    lexemes, at = [], 0
    while at < len(tokens):
        token = tokens[at]
        for phrase, lexeme in lexicon.get(token, ()):
            if tokens[at : at + len(phrase)] == phrase:
                lexemes.append(lexeme)
                at += len(phrase)
                break
        else:
            known = token in _known_words() or token[0].isdigit()
            lexemes.append(_Lexeme("lead" if token in _LEADS else "known" if known else "unread", token))
            at += 1
    return lexemes


@dataclasses.dataclass
class _Finding:
    """A head on its way to become mentions."""

    head: str
    status: str
    clause: int
    piece: int
    hypothesis: bool  # offered as the explanation of what was said before
    recalled: bool = False  # "previous ...": old, unless a negation follows
    modifiers: list[tuple[str, bool]] = dataclasses.field(default_factory=list)  # (modifier, hedged)


class _Reader:
    """One pass over the lexemes of a statement."""

    def __init__(self, lexemes: list[_Lexeme]):
        self.lexemes = lexemes
        self.known = ontology.load()
        self.findings: list[_Finding] = []
        self.clause = self.piece = 0  # clauses end at a break, pieces at a comma too
        self.hedge = ""  # "", "word": up to a comma or a "with", "clause": up to a break
        self.negated = self.recalled = self.linked = self.placing = False
        self.waiting: list[tuple[str, bool]] = []  # modifiers whose head is not known yet
        self.leads: set[str] = set()
        self.alternative: _Finding | None = None  # what an "or" would join
        self.joining = bool(lexemes) and lexemes[0].kind == "or"

    def read(self) -> list[_Finding]:
        steps = {
            "head": self._head,
            "modifier": self._modifier,
            "lead": self.leads.add,
            "site": self._site,
            "in": self._in,
            "hedge": self._hedge,
            "link": self._link,
            "negation": self._negation,
            "recall": self._recall,
            "replaced": self._replaced,
            "normal": self._normal,
            "except": self._except,
            "or": self._or,
            "comma": self._comma,
            "with": self._with,
            "break": self._break,
        }
        for at, lexeme in enumerate(self.lexemes):
            self.at = at
            if lexeme.kind in steps:
                steps[lexeme.kind](lexeme.value)
        self._settle()
        for at, finding in enumerate(self.findings):
            if finding.hypothesis and not self._walls(finding):  # "inferior ST elevation, consider infarct"
                earlier = [self._walls(other) for other in self.findings[:at] if self._takes_walls(other)]
                finding.modifiers += next((walls for walls in reversed(earlier) if walls), [])
        return self.findings

    def _settle(self) -> None:
        """Modifiers still waiting belong to what was said before: "..., anterior leads", "... - possibly acute"."""
        if self.leads:
            self.waiting += [(wall, False) for wall in self._walls_of(self.leads)]
            self.leads.clear()
        self.placing = False
        if not self.findings:
            return
        unplaced = [finding for finding in self.findings if not self._walls(finding)]
        for modifier, hedged in self.waiting:
            for finding in unplaced if modifier in self.known.walls else self.findings:
                finding.modifiers.append((modifier, hedged))
        self.waiting = []

    def _walls(self, finding: _Finding) -> list[tuple[str, bool]]:
        return [(modifier, hedged) for modifier, hedged in finding.modifiers if modifier in self.known.walls]

    def _takes_walls(self, finding: _Finding) -> bool:
        return any(self.known.refine(finding.head, modifier) for modifier, _ in self._walls(finding))

    def _walls_of(self, leads: set[str]) -> list[str]:
        """The wall that leads look at; it takes two leads of a wall to name it."""
        walls = {wall for wall, group in _WALL_LEADS.items() if len(leads & group) > 1}
        whole = [wall for wall, parts in self.known.walls.items() if parts and set(parts) == walls]
        return whole or sorted(walls)

    def _ahead(self, *kinds: str) -> bool:
        """Whether one of the kinds follows before the phrase ends."""
        for lexeme in self.lexemes[self.at + 1 :]:
            if lexeme.kind in kinds:
                return True
            if lexeme.kind in ("break", "comma", "with"):
                return False
        return False

    def _before(self) -> list[_Finding]:
        """What a cue that follows its findings covers: the piece, or else the clause, or else all before."""
        for scope in (lambda f: f.piece == self.piece, lambda f: f.clause == self.clause, lambda f: True):
            found = [finding for finding in self.findings if scope(finding)]
            if found:
                return found
        return []

    def _head(self, name: str) -> None:
        if self.findings and (self.leads or self.placing):
            self._settle()
        if self.negated:
            status = "negated"
        else:
            status = "possible" if self.hedge or (self.joining and not self.alternative) else "present"
        finding = _Finding(name, status, self.clause, self.piece, bool(self.hedge) or self.linked)
        finding.modifiers, self.waiting = self.waiting, []
        if self.recalled:
            finding.recalled = True
            if self.known.refine(name, "old"):
                finding.modifiers.append(("old", False))
            elif status == "present":
                finding.status = "previous"
        if self.joining and self.alternative and self.alternative.head != name and not self.negated:
            for one in (self.alternative, finding):
                one.status = min(one.status, "possible", key=STATUSES.index)
        self.joining = self.placing = False
        self.alternative = finding
        self.findings.append(finding)

    def _modifier(self, name: str) -> None:
        hedged = bool(self.hedge) and name not in self.known.walls  # "possible ischemia, anterior leads"
        self.waiting.append((name, hedged))

    def _site(self, value: str) -> None:
        if self.findings:
            self._settle()

    def _in(self, value: str) -> None:
        self.placing = True

    def _hedge(self, direction: str) -> None:
        if direction == "condition":
            self._mark("possible", [finding for finding in self.findings if finding.clause == self.clause])
        if direction in ("forward", "condition"):
            self._settle()
            self.hedge, self.alternative = "clause", None
        elif direction in ("either", "word") and self._ahead("head", "modifier", "link"):
            self._settle()
            self.hedge = self.hedge or "word"
        elif direction == "backward":
            self._mark("possible", self._before())
        elif direction == "either":
            self._mark("possible", [finding for finding in self.findings if finding.piece == self.piece])

    def _link(self, value: str) -> None:
        self._settle()
        self.linked, self.alternative = True, None
        if self.hedge:
            self.hedge = "clause"

    def _negation(self, direction: str) -> None:
        here = [finding for finding in self.findings if finding.piece == self.piece]
        if direction == "forward" or (direction == "either" and not here and self._ahead("head")):
            self._settle()
            self.negated = True
        else:
            self._mark("negated", self._before())

    def _mark(self, status: str, findings: list[_Finding]) -> None:
        """Weakens findings to a status; a recalled one that is gone was there before."""
        for finding in findings:
            new = "previous" if status == "negated" and finding.recalled else status
            finding.status = min(finding.status, new, key=STATUSES.index)

    def _recall(self, value: str) -> None:
        self.recalled = True

    def _replaced(self, value: str) -> None:
        """ "Atrial fibrillation replaced by sinus rhythm": what stands before is gone."""
        self._mark("previous", self._before())

    def _normal(self, value: str) -> None:
        if not self._ahead("head"):
            self._mark("possible", [finding for finding in self.findings if finding.piece == self.piece])

    def _except(self, value: str) -> None:
        self._mark("negated", [finding for finding in self.findings if finding.head == "normal ecg"])

    def _or(self, value: str) -> None:
        """Between two findings either is possible; "inferior or lateral" and "V1 or V2" join none."""
        if self.alternative and not self.waiting and not self.leads:
            self.joining = True

    def _comma(self, value: str) -> None:
        around = self.lexemes[max(self.at - 1, 0) : self.at + 2]
        if [lexeme.kind for lexeme in around] == ["lead", "comma", "lead"]:
            return
        self.piece += 1
        self.alternative, self.joining, self.recalled = None, False, False
        if self.hedge == "word":
            self.hedge = ""
        listed = [lexeme.kind for lexeme in self.lexemes[self.at :]]
        if self.negated and "or" not in listed[: listed.index("break") if "break" in listed else None]:
            self.negated = False

    def _with(self, value: str) -> None:
        self._settle()
        self.alternative, self.joining, self.negated, self.recalled = None, False, False, False
        if self.hedge == "word":
            self.hedge = ""

    def _break(self, value: str) -> None:
        self._settle()
        self.clause += 1
        self.piece += 1
        self.alternative, self.hedge = None, ""
        self.joining = self.negated = self.recalled = self.linked = self.placing = False


@functools.lru_cache(maxsize=65536)
def parse(statement: str) -> Parsed:
    """What a statement says; the same for any casing, decoration and white space."""
    lexemes = _lex(tokenize(statement))
    strongest = {}
    for finding in _Reader(lexemes).read():
        for name, status in _mentions(finding):
            strongest[name] = max(status, strongest.get(name, status), key=STATUSES.index)
    mentions = _most_specific(strongest)
    unread = tuple(lexeme.value for lexeme in lexemes if lexeme.kind == "unread")
    quality = _about("quality", statement)
    if mentions:
        kind = "finding"
    elif quality:
        kind = "quality"
    elif _about("remark", statement) or (lexemes and not unread):
        kind = "remark"
    else:
        kind = "unknown"
    return Parsed(mentions, kind, unread, quality)


def _about(subject: str, statement: str) -> tuple[str, ...]:
    """What of a statement is about the recording, or is one of the known remarks."""
    text = normalize(statement)
    found = (re.search(pattern, text) for pattern in _vocabulary()[subject])
    return tuple(match[0] for match in found if match)


def extract(statement: str) -> tuple[Mention, ...]:
    """Entities that a statement mentions, each with its status."""
    return parse(statement).mentions


def said_as(name: str, statement: str) -> str:
    """The longest of an entity's names that a normalised statement has word for word; the first of them if none."""
    entity = ontology.load().entities[name]
    said = [phrase for phrase in (name, *entity.phrases) if re.search(rf"\b{re.escape(phrase)}\b", statement)]
    return max(said, key=len, default=name)


def _mentions(finding: _Finding) -> list[tuple[str, str]]:
    """The head refined by its modifiers, and the bare head unless a certain refinement implies it."""
    known = ontology.load()
    refined, replaced = [], False
    for modifier, hedged in finding.modifiers:
        for name in known.refine(finding.head, modifier):
            status = min(finding.status, "possible", key=STATUSES.index) if hedged else finding.status
            refined.append((name, status))
            replaced |= not hedged and finding.head in known.ancestors(name)
    if finding.recalled and finding.status == "previous":
        return [(name, "previous") for name, _ in refined] or [(finding.head, "previous")]
    return refined if replaced else [(finding.head, finding.status), *refined]


def _most_specific(strongest: dict[str, str]) -> tuple[Mention, ...]:
    """Mentions without those that follow from another: a superclass of one with at least the same status."""
    known = ontology.load()
    implied = {
        above
        for name, status in strongest.items()
        if status in ("possible", "present")
        for above in known.ancestors(name)
        if above in strongest and STATUSES.index(strongest[above]) <= STATUSES.index(status)
    }
    return tuple(Mention(name, status) for name, status in strongest.items() if name not in implied)
