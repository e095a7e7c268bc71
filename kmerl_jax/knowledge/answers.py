"""What a language model's answers say, and what of them is not used."""

import json
import re
from collections import Counter

from kmerl_jax.knowledge.llm import STOP, Answer, whole_characters

_EXAMPLES = 5


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
    """Names of "[a, b]", normalised, in lower case; or why there are none: a word for the answer's defect."""
    if answer.end != STOP:
        return _defect(answer)
    text = _after_reasoning(answer)
    start = text.find("[")
    end = text.find("]", start)
    if start < 0 or end < 0:
        return "malformed"
    try:
        listed = json.loads(text[start : end + 1])
    except (ValueError, RecursionError):
        listed = text[start + 1 : end].replace("\n", ",").split(",")
    if not all(isinstance(name, str) for name in listed):
        return "malformed"
    return [name for name in (plain(name.strip().strip("\"'")) for name in listed) if name]


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
    """What a model says when it has thought: servers that do not part the two send its thoughts in front."""
    return answer.text.rpartition("</think>")[2]


def _defect(answer: Answer) -> str:
    return {STOP: "malformed", "length": "cut off", "rejected": "rejected"}.get(answer.end, "refused")
