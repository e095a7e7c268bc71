"""What a language model's answers say, and what of them is not used."""

import json
import re
from collections import Counter

from kmerl_jax.knowledge.llm import STOP, Answer, whole_characters

_EXAMPLES = 5
_BRACKETS = 100  # that may open a list, of an answer of a few


class Aside:
    """What was not used, counted by reason, with a few examples of each."""

    def __init__(self):
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, list[str]] = {}

    def put(self, reason: str, example: str) -> None:
        """Counts something that is not used."""
        self.counts[reason] += 1
        shown = self.examples.setdefault(reason, [])
        if len(shown) < _EXAMPLES:
            shown.append(whole_characters(" ".join(example.split())[:200]))

    def as_dict(self) -> dict:
        """Reason -> its count and examples, the most frequent first."""
        return {reason: {"count": n, "examples": self.examples[reason]} for reason, n in self.counts.most_common()}


def parse_list(answer: Answer) -> list[str] | str:
    """Names of a list, normalised, in lower case; or why there are none: a word for the answer's defect.

    The first JSON list of texts counts, else what stands in the first brackets: "[a, b]".
    """
    if answer.end != STOP:
        return _defect(answer)
    text = _after_reasoning(answer)
    listed = _json_texts(text)
    if listed is None:
        listed = _bracketed(text)
    if listed is None:
        return "malformed"
    return [name for name in (plain(name.strip().strip("\"'")) for name in listed) if name]


def _json_texts(text: str) -> list[str] | None:
    """The first JSON list of texts; other lists are passed over."""
    start = text.find("[")
    for _ in range(_BRACKETS):
        if start < 0:
            break
        listed, end = _json_list(text, start)
        if listed is not None and all(isinstance(name, str) for name in listed):
            return listed
        start = text.find("[", end)
    return None


def _bracketed(text: str) -> list[str] | None:
    """What stands between the first bracket and the one that closes it, if it is words."""
    start, depth = text.find("["), 0
    if start < 0 or _json_list(text, start)[0] is not None:
        return None
    for bracket in re.finditer(r"[\[\]]", text[start:]):
        depth += 1 if bracket[0] == "[" else -1
        if not depth:
            return text[start + 1 : start + bracket.start()].replace("\n", ",").split(",")
    return None


def _json_list(text: str, start: int) -> tuple[list | None, int]:
    """The JSON list that begins at a bracket, if there is one, and where to look on."""
    try:
        return json.JSONDecoder().raw_decode(text, start)
    except (ValueError, RecursionError):
        return None, start + 1


def parse_verdict(answer: Answer) -> str:
    """ "YES", "NO", or a word for the answer's defect."""
    first = re.match(r"\W*(yes|no)\b", _after_reasoning(answer), re.IGNORECASE)
    return first[1].upper() if first else _defect(answer)


def parse_object(answer: Answer) -> dict | str:
    """The JSON object in an answer, or a word for the answer's defect."""
    if answer.end != STOP:
        return _defect(answer)
    text = _after_reasoning(answer)
    try:
        content = json.loads(text[text.find("{") : text.rfind("}") + 1])
    except (ValueError, RecursionError):
        content = None
    return content if isinstance(content, dict) else "malformed"


def plain(name: str) -> str:
    """A name in lower case, its white space evened out."""
    return " ".join(str(name).lower().split())


def _after_reasoning(answer: Answer) -> str:
    """What a model says when it has thought: servers that do not part the two send its thoughts in front.

    Thoughts that do not end are no answer.
    """
    return answer.text.rpartition("</think>")[2].partition("<think>")[0]


def _defect(answer: Answer) -> str:
    return {STOP: "malformed", "length": "cut off", "rejected": "rejected"}.get(answer.end, "refused")
