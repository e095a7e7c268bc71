"""The paper's extraction by a language model: extract, check, verify, merge, find superclasses (section 2.4)."""

import json
from collections.abc import Callable, Iterable, Sequence

import openai

from kmerl_jax import __version__
from kmerl_jax.knowledge import grammar, reading
from kmerl_jax.knowledge.answers import Aside, parse_list, parse_object, parse_verdict, plain
from kmerl_jax.knowledge.llm import Question, Server, tokens
from kmerl_jax.knowledge.reading import Reading

PROMPTS = {
    "extract": "Please extract all positive Cardiac-related Entities from the given ECG report. Output format is "
    "[Entity1, Entity2, ...]",
    "verify": "Please verify the extracted cardiac-related entities as existing and positive in the given report. "
    "Output format is YES or NO",
    "merge": "Please merge the cardiac-related entities that have the same semantics but different expressions. Here "
    "are {entities}. Output format is JSON, where the key is the original name and the value is the merged name.",
    "superclasses": "Please detect all the superclasses present in {entities}. Output format is JSON, where the key is "
    "the superclass name and the values are the cardiac-related entities that belong to this superclass.",
}
"""Word for word from the paper."""

_LIST_TOKENS, _VERDICT_TOKENS = 1024, 16
_NAMES_A_QUESTION = 400  # the paper merges 341 at once

Progress = Callable[[int, int], None]


def read(
    texts: Sequence[Sequence[str]],
    server: Server,
    progress: Callable[[str], Progress],
    merging: bool = True,
    superclass: bool = True,
) -> Reading:
    """What a language model finds in the texts of each record. Every entity it names is present; it reports no other.

    An answer that is cut off, refused, malformed, not about the text or denied on verification is counted, named in
    the provenance, and never becomes a label.

    Args:
        texts: of each of N records: its statements, or its whole report.
        server: the model.
        progress: gives, for the name of a step, where its progress goes.
        merging: whether the third step is taken; without it every name is an entity (paper, table 2b).
        superclass: whether the fourth is.

    Raises:
        ConnectionError: the server does not answer.
        ValueError: the server refuses the model.
    """
    rows = reading.rows_of(texts)
    aside = Aside()
    found = extract(list(rows), server, aside, progress)
    names = sorted({name for entities in found.values() for name in entities})
    merged = merge(names, server, aside, progress("merging")) if merging else {name: name for name in names}
    kept = sorted(set(merged.values())) if superclass else []
    members = superclasses(kept, server, aside, progress("superclasses"))
    synonyms: dict[str, list[str]] = {}
    for name, canonical in merged.items():
        if name != canonical:
            synonyms.setdefault(canonical, []).append(name)
    return reading.build(
        rows,
        {text: [(merged[name], "present") for name in entities] for text, entities in found.items()},
        ancestors(members),
        len(texts),
        {name: {"synonyms": sorted(others)} for name, others in synonyms.items()},
        {
            "extractor": "llm",
            "model": server.model,
            "base_url": server.base_url,
            "prompts": PROMPTS,
            "kmerl_jax": __version__,
            "openai": openai.__version__,
            "records": len(texts),
            "distinct_texts": len(rows),
            "texts_with_entities": sum(map(bool, found.values())),
            "entities_before_merging": len(names),
            "set_aside": aside.as_dict(),
        },
    )


def estimate(texts: Sequence[Sequence[str]], server: Server) -> list[tuple[str, int, int]]:
    """What `read` would still ask: (step, calls, tokens sent), the tokens by their usual length.

    How many texts have entities to verify is known once they are extracted; until then every text counts. The two last
    steps take a call each for every few hundred entities; one is counted, with no more tokens than the prompt.
    """
    rows = reading.rows_of(texts)
    new = server.unanswered(extraction_questions(rows))
    unread = {question.text for question in new}
    verifications = [verification_question(text, [text]) for text in unread]
    done = [text for text in rows if text not in unread]
    for text, answer in zip(done, server.ask(extraction_questions(done)), strict=True):
        entities = parse_list(answer)
        if not isinstance(entities, str) and (inside := _inside(entities, text)):
            verifications.append(verification_question(text, inside))
    steps = {
        "extract": new,
        "verify, at most": server.unanswered(verifications),
        "merge": [_about_names("merge", [])],
        "superclasses": [_about_names("superclasses", [])],
    }
    return [(step, len(questions), tokens(questions)) for step, questions in steps.items()]


def extraction_questions(texts: Iterable[str]) -> list[Question]:
    """The first question about each text."""
    return [Question(PROMPTS["extract"], text, _LIST_TOKENS) for text in texts]


def extract(
    texts: Sequence[str], server: Server, aside: Aside, progress: Callable[[str], Progress]
) -> dict[str, tuple[str, ...]]:
    """Text -> the entities that the model named, that stand in the text, and that it stood by when asked again."""
    named: dict[str, tuple[str, ...]] = {}
    answers = server.ask(extraction_questions(texts), progress("extracting"))
    for text, answer in zip(texts, answers, strict=True):
        entities = parse_list(answer)
        if isinstance(entities, str):
            aside.put(f"extraction {entities}", f"{text} -> {answer.text}")
            continue
        inside = _inside(entities, text)
        for name in sorted(set(entities) - set(inside)):
            aside.put("entity not in the text", f"{text} -> {name}")
        if inside:
            named[text] = inside
    asked = list(named)
    questions = [verification_question(text, named[text]) for text in asked]
    for text, answer in zip(asked, server.ask(questions, progress("verifying")), strict=True):
        verdict = parse_verdict(answer)
        if verdict != "YES":
            aside.put(f"verification {verdict}", f"{text} -> {', '.join(named[text])}")
            del named[text]
    return named


def verification_question(text: str, entities: Sequence[str]) -> Question:
    """The second question about a text."""
    return Question(PROMPTS["verify"], f"Report: {text}\nExtracted entities: [{', '.join(entities)}]", _VERDICT_TOKENS)


def merge(names: Sequence[str], server: Server, aside: Aside, progress: Progress) -> dict[str, str]:
    """Name -> the name it is merged into, itself if into none; names are only merged into names that are there."""
    merged = {name: name for name in names}
    blocks = _blocks(names)
    known = {plain(name): name for name in names}
    answers = server.ask([_about_names("merge", block) for block in blocks], progress)
    for answer in answers:
        pairs = parse_object(answer)
        if isinstance(pairs, str):
            aside.put(f"merging {pairs}", answer.text)
            continue
        for original, target in pairs.items():
            source, into = known.get(plain(original)), known.get(plain(target)) if isinstance(target, str) else None
            if source is None or into is None:
                aside.put("merging of what is no entity", f"{original} -> {target}")
            elif source != into:
                merged[source] = into
    return {name: _end(name, merged) for name in names}


def superclasses(names: Sequence[str], server: Server, aside: Aside, progress: Progress) -> dict[str, tuple[str, ...]]:
    """Superclass -> its direct members, all of them in `names`; a superclass may be a new name."""
    known = {plain(name): name for name in names}
    members: dict[str, list[str]] = {}
    for answer in server.ask([_about_names("superclasses", block) for block in _blocks(names)], progress):
        classes = parse_object(answer)
        if isinstance(classes, str):
            aside.put(f"superclasses {classes}", answer.text)
            continue
        for superclass, listed in classes.items():
            name = known.get(plain(superclass), plain(superclass))
            for member in listed if isinstance(listed, list) else [listed]:
                inside = known.get(plain(member)) if isinstance(member, str) else None
                if inside is None or not name:
                    aside.put("superclass of what is no entity", f"{superclass} > {member}")
                elif inside != name and inside not in members.setdefault(name, []):
                    members[name].append(inside)
    return {name: tuple(inside) for name, inside in members.items() if inside}


def ancestors(members: dict[str, tuple[str, ...]]) -> dict[str, frozenset[str]]:
    """Entity -> its superclasses at any height. Where superclasses go in a circle, each counts once."""
    above: dict[str, set[str]] = {}
    for superclass, inside in members.items():
        for member in inside:
            above.setdefault(member, set()).add(superclass)

    def climb(name: str) -> frozenset[str]:
        reached, waiting = set(), [name]
        while waiting:
            for higher in above.get(waiting.pop(), ()):
                if higher not in reached:
                    reached.add(higher)
                    waiting.append(higher)
        return frozenset(reached - {name})

    return {name: climb(name) for name in above}


def _inside(entities: Sequence[str], text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name in entities if stands_in(name, text)))


def stands_in(entity: str, text: str) -> bool:
    """Whether the words of an entity stand in a text one after another, spelling evened out ("PVC(s)", "PVCs")."""
    inside, around = grammar.tokenize(entity), grammar.tokenize(text)
    return bool(inside) and any(around[at : at + len(inside)] == inside for at in range(len(around) - len(inside) + 1))


def _blocks(names: Sequence[str]) -> list[Sequence[str]]:
    """Names in as many questions as they need, dealt out evenly."""
    count = -(-len(names) // _NAMES_A_QUESTION)
    return [names[part::count] for part in range(count)]


def _about_names(step: str, names: Sequence[str]) -> Question:
    """A question whose prompt stands as the paper prints it, with the names where it has them."""
    return Question(PROMPTS[step].format(entities=json.dumps(list(names))), "")


def _end(name: str, merged: dict[str, str]) -> str:
    """Where a chain of merges ends; in a circle, at its first name in the alphabet."""
    seen = [name]
    while merged[seen[-1]] not in seen:
        seen.append(merged[seen[-1]])
    return min(seen[seen.index(merged[seen[-1]]) :])
