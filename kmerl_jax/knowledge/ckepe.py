"""Clinical Knowledge Enhanced Prompt Engineering: a prompt for each class of which every term stands in a source.

The procedure is of MERL (arXiv 2403.06659): a language model names subtypes and attributes of a class, and what a
database of clinical experts does not have is dropped. Here it chooses from the source's terms near the class's name,
and names the findings by which the class is recognised; both answers are looked up in the source, and a prompt is the
class's name and the terms found, as the source spells them. The wording of the questions is ours: MERL publishes the
prompts that came of its own, not the questions.
"""

import dataclasses
import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import openai

from kmerl_jax import __version__
from kmerl_jax.knowledge.answers import Aside, parse_list
from kmerl_jax.knowledge.llm import Question, Server
from kmerl_jax.knowledge.source import Source, words

QUESTIONS = {
    "choose": "Here are the names of a class of ECGs, and terms of a clinical vocabulary: an entry a line, the ways to "
    "say it separated by |. Please choose the terms that mean the class itself or a subtype of it, and no term that is "
    "broader or means something else. Copy each term as it stands. Output format is a JSON list of texts, "
    '["term", "term", ...], or [] if no term fits.',
    "describe": "Here are the names of a class of ECGs. Please name the findings of rhythm, waves, intervals and axis "
    "by which the class is recognised in an ECG, each as a standard term of electrocardiography of a few words. Output "
    'format is a JSON list of texts, ["term", "term", ...], or [] if there are none.',
}
"""What the language model is asked about each class."""

_SAID = {"choose": "chosen", "describe": "described"}
_CANDIDATES = 40
_TERMS = 20  # of a prompt: some 100 tokens, where text encoders read 256
_LIST_TOKENS = 1024


@dataclasses.dataclass(frozen=True)
class Prompts:
    """What came of the procedure.

    Attributes:
        texts: code of each class -> its prompt.
        provenance: model, questions, source, what was kept of each class, the codes whose prompt is the class's own
            names, and what was dropped.
    """

    texts: dict[str, str]
    provenance: dict


def questions(classes: Mapping[str, Sequence[str]], source: Source) -> dict[tuple[str, str], Question]:
    """(code, step) -> what is asked; nothing is chosen for a class that nothing in the source is near to.

    Args:
        classes: code -> names of each class.
        source: of terms.
    """
    asked = {}
    for code, names in classes.items():
        near, about = source.near(names, _CANDIDATES), f"Class: {'; '.join(names)}"
        if near:
            lines = "\n".join(" | ".join(entry.texts) for entry in near)
            asked[code, "choose"] = Question(QUESTIONS["choose"], f"{about}\nTerms:\n{lines}", _LIST_TOKENS)
        asked[code, "describe"] = Question(QUESTIONS["describe"], about, _LIST_TOKENS)
    return asked


def write(
    classes: Mapping[str, Sequence[str]],
    source: Source,
    server: Server,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Prompts:
    """The prompts of classes, in their order: "name, term, term.", terms as the model ranks them.

    An answer that is cut off, refused or malformed, and a term that is not in the source, are counted and never become
    part of a prompt.

    Args:
        classes: code -> names of each class, the one that it is mostly called by first.
        source: of terms.
        server: the model.
        progress: called with the number answered and the number to answer.

    Raises:
        ConnectionError: the server does not answer.
        ValueError: the server refuses the model, or rejects every question, or none of its answers is a list.
    """
    asked = questions(classes, source)
    answers = dict(zip(asked, server.ask(list(asked.values()), progress), strict=True))
    listed = {where: parse_list(answer) for where, answer in answers.items()}
    if all(isinstance(terms, str) for terms in listed.values()):
        reasons = ", ".join(f"{n} {defect}" for defect, n in Counter(listed.values()).most_common())
        raise ValueError(
            f"none of the {len(listed)} answers of {server.model} is a list of terms: {reasons}. A model that thinks "
            "before it answers needs --llm.thinking; malformed answers are kept beside --out in .answers.sqlite, to be "
            "removed"
        )
    aside, texts, about, alone = Aside(), {}, {}, []
    for code, names in classes.items():
        kept = {
            said: _kept(listed[code, step], answers[code, step].text, code, said, source, aside)
            if (code, step) in answers
            else []
            for step, said in _SAID.items()
        }
        terms: dict[tuple[str, ...], str] = {}
        for text in (*names, *itertools.chain(*kept.values())):
            terms.setdefault(words(text), text)
        own = len(set(map(words, names)))
        held = list(terms.values())
        for term in held[own + _TERMS :]:
            aside.put(f"terms beyond the first {_TERMS} of a prompt", f"{code} -> {term}")
        texts[code] = ", ".join(held[: own + _TERMS]) + "."
        about[code] = {"names": list(names), **kept}
        if len(held) == own:
            alone.append(code)
    provenance = {
        "procedure": "CKEPE",
        "model": server.model,
        "base_url": server.base_url,
        "questions": QUESTIONS,
        "source": {"name": source.name, "sha256": source.digest, "entries": len(source.entries)},
        "kmerl_jax": __version__,
        "openai": openai.__version__,
        "classes": about,
        "own_names_alone": alone,
        "set_aside": aside.as_dict(),
    }
    return Prompts(texts, provenance)


def _kept(listed: list[str] | str, text: str, code: str, said: str, source: Source, aside: Aside) -> list[str]:
    """The terms of an answer, or the word for its defect, as the source spells them."""
    if isinstance(listed, str):
        aside.put(f"answers with {said} terms that are {listed}", f"{code} -> {text}")
        return []
    found = {term: source.find(term) for term in dict.fromkeys(listed)}
    for term, there in found.items():
        if there is None:
            aside.put(f"{said} terms that are not in the source", f"{code} -> {term}")
    return list(dict.fromkeys(filter(None, found.values())))
