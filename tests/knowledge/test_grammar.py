"""What the grammar reads, held against a table written by hand, and against real statements where they are at hand."""

import os
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmerl_jax.knowledge import grammar, ontology
from kmerl_jax.knowledge.grammar import Mention, extract, parse

SIGNS = {"?": "possible", "!": "negated", "~": "previous"}
TABLE = [
    tuple(line.split("\t"))
    for line in Path(__file__).with_name("statements.tsv").read_text("utf-8").splitlines()
    if line and not line.startswith("#")
]
QUALITY = (
    "Lead(s) unsuitable for analysis: I II aVR V1",
    "LEAD(S) UNSUITABLE FOR ANALYSIS: V6",
    "Artifact in lead(s) I,II,aVR,V1 and baseline wander in lead(s) V2",
    "Baseline wander in lead(s) II,III,aVF",
    "Missing lead(s): V1,V2",
    "*** arm lead reversal - only aVF, V1 - V6 analyzed ***",
    "Right and left arm electrode reversal, interpretation assumes no reversal",
    "--- Pediatric criteria used ---",
    "Possible sequence error: V3,V4 omitted.",
    "** INTERPRETATION MADE WITHOUT KNOWING PATIENT'S GENDER/AGE **",
    "Warning: Data quality may affect computer interpretation!!",
    "Faulty V2 - omitted from analysis",
)
REMARKS = (
    "NO OTHER FINDING",
    "Otherwise normal ECG",
    "MAY BE NORMAL VARIANT IF NO CLINICAL ABNORMALITY FOUND",
    "IF RHYTHM IS CONFIRMED, THE FOLLOWING REPORT MAY NOT BE VALID",
    "Compared with previous tracing: no significant change",
    "Lateral leads are also involved",
    "Summary: NONE AVAILABLE",
)


def expected(text: str) -> set[Mention]:
    names = [name for name in text.split(", ") if name]
    return {Mention(name.lstrip("?!~"), SIGNS.get(name[0], "present")) for name in names}


@pytest.mark.parametrize(("statement", "mentions"), TABLE)
def test_statement_is_read_as_a_cardiologist_reads_it(statement, mentions):
    assert set(extract(statement)) == expected(mentions)
    assert len(extract(statement)) == len(expected(mentions))
    assert parse(statement).kind == "finding"


def test_table_covers_the_families():
    known = ontology.load()
    named = {mention.entity for statement, _ in TABLE for mention in extract(statement)}
    assert len(TABLE) >= 300
    assert {known.entities[name].family for name in named} == {entity.family for entity in known.entities.values()}


@pytest.mark.parametrize("statement", QUALITY)
def test_notes_on_the_recording_are_no_findings(statement):
    assert (parse(statement).kind, extract(statement)) == ("quality", ())


@pytest.mark.parametrize("statement", REMARKS)
def test_remarks_are_understood_and_mention_nothing(statement):
    assert (parse(statement).kind, extract(statement)) == ("remark", ())


@pytest.mark.parametrize(
    "statement", ["", " . ", "qwerty uiop", "Low maximum QRS spatial velocity", "patient fell asleep"]
)
def test_what_is_not_understood_says_so(statement):
    assert (parse(statement).kind, extract(statement)) == ("unknown", ())


def test_quality_stands_beside_findings():
    assert parse("Atrial fibrillation or artifact").quality == ("artifact",)
    assert parse("Artifact in lead(s) V1 and baseline wander in lead(s) V2").quality == ("artifact", "baseline")
    assert parse("Sinus rhythm").quality == ()


def test_unread_words_are_named():
    assert parse("Sinus rhythm with zebra").unread == ("zebra",)
    assert parse("Sinus rhythm with PVCs").unread == ()


@pytest.mark.parametrize(("statement", "_"), TABLE)
def test_casing_decoration_and_full_stop_do_not_matter(statement, _):
    for variant in (statement.upper(), statement.lower(), f"*** {statement} ***", f" {statement}. "):
        assert extract(variant) == extract(statement)


def test_every_name_of_the_ontology_is_read_as_itself():
    known = ontology.load()
    for name in known.entities:
        assert extract(name) == (Mention(name, "present"),), name


def test_every_phrase_of_the_ontology_is_read_as_its_entity():
    for entity in ontology.load().entities.values():
        for phrase in entity.phrases:
            assert entity.name in {mention.entity for mention in extract(phrase)}, phrase


def test_hedge_and_negation_reach_every_entity():
    for name in ontology.load().entities:
        assert {mention.status for mention in extract(f"possible {name}")} == {"possible"}, name
        assert {mention.status for mention in extract(f"{name} cannot be excluded")} == {"possible"}, name
        assert {mention.status for mention in extract(f"no evidence of {name}")} == {"negated"}, name
        assert {mention.status for mention in extract(f"{name} is no longer present")} == {"negated"}, name


WORDS = sorted(
    {word for statement, _ in TABLE for word in statement.split()} | {"no", "or", "with", "possible", ",", "-"}
)


@given(st.lists(st.sampled_from(WORDS), max_size=14).map(" ".join))
def test_any_run_of_words_is_read_without_failing(statement):
    known = ontology.load()
    parsed = parse(statement)
    assert len({mention.entity for mention in parsed.mentions}) == len(parsed.mentions)
    assert all(mention.entity in known.entities for mention in parsed.mentions)
    assert all(mention.status in grammar.STATUSES for mention in parsed.mentions)
    assert (parsed.kind == "finding") == bool(parsed.mentions)


@given(st.text(max_size=60))
def test_any_text_is_read_without_failing(statement):
    assert parse(statement).kind in {"finding", "quality", "remark", "unknown"}


def real_statements() -> list[str]:
    root = Path(os.environ.get("KMERL_REAL_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))
    path = root / "mimic_iv_ecg" / "machine_statements_sample.txt"
    if not path.is_file():
        pytest.skip(f"no real statements at {path}; set KMERL_REAL_DATA")
    return path.read_text("utf-8").splitlines()


def test_nearly_all_real_statements_are_understood():
    statements = real_statements()
    kinds = Counter(parse(statement).kind for statement in statements)
    assert kinds["unknown"] <= 0.01 * len(statements)
    assert kinds["finding"] >= 0.7 * len(statements)


def test_nearly_every_word_of_real_findings_is_read():
    findings = [parsed for parsed in map(parse, real_statements()) if parsed.kind == "finding"]
    assert sum(bool(parsed.unread) for parsed in findings) <= 0.01 * len(findings)


def test_real_notes_on_the_recording_are_no_findings():
    notes = [text for text in real_statements() if text.lower().startswith(("lead(s) ", "missing lead", "baseline"))]
    assert len(notes) > 300
    assert {parse(text).kind for text in notes} == {"quality"}
