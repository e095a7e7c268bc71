"""What is made of a language model's answers, however they end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmerl_jax.knowledge.answers import Aside, parse_list, parse_object, parse_verdict
from kmerl_jax.knowledge.llm import Answer


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[Sinus rhythm, PVC]", ["sinus rhythm", "pvc"]),
        ('Here it is: ["Sinus  Rhythm", "PVC"].', ["sinus rhythm", "pvc"]),
        ("['a', 'b']", ["a", "b"]),
        ("[a,\nb]", ["a", "b"]),
        ("[a] [b]", ["a"]),
        ('["LBBB [complete]", "wide QRS"]', ["lbbb [complete]", "wide qrs"]),
        ("[LBBB [complete], wide QRS]", ["lbbb [complete]", "wide qrs"]),
        ('Terms [as in the list], see [1]:\n["wide QRS"]', ["wide qrs"]),
        ('[["a", "b"], ["c"]]', "malformed"),
        ("[a [b, c]", "malformed"),
        ("<think>Perhaps [a]?</think>\n```json\n[b]\n```", ["b"]),
        ('<think>Perhaps ["a"]', "malformed"),
        ("a] [b", "malformed"),
        ("[]", []),
        ("[ , ]", []),
        ("none", "malformed"),
        ("[1, 2]", "malformed"),
    ],
)
def test_parse_list(text, expected):
    assert parse_list(Answer(text, "stop")) == expected


def test_what_a_model_thinks_is_no_answer():
    assert parse_verdict(Answer("<think>No, or ...</think> Yes.", "stop")) == "YES"
    assert parse_object(Answer('<think>{"a": 1}</think>{"b": 2}', "stop")) == {"b": 2}


@given(st.text(), st.sampled_from(["stop", "length", "content_filter", "rejected"]))
def test_no_answer_makes_a_parser_fail(text, end):
    answer = Answer(text, end)
    assert isinstance(parse_list(answer), (list, str))
    assert isinstance(parse_object(answer), (dict, str))
    assert parse_verdict(answer) in {"YES", "NO", "malformed", "cut off", "refused", "rejected"}


def test_deeply_nested_json_is_malformed():
    assert parse_object(Answer('{"a":' * 100_000 + "}", "stop")) == "malformed"
    assert parse_object(Answer("{" * 1_000_000, "stop")) == "malformed"
    assert parse_list(Answer("[" * 1_000_000, "stop")) == "malformed"
    assert parse_list(Answer("[" * 100_000 + "]", "stop")) == "malformed"


def test_aside_counts_all_and_shows_a_few():
    aside = Aside()
    for n in range(7):
        aside.put("rare" if n == 3 else "frequent", f"example\n {n}" + "x" * 300)
    said = aside.as_dict()
    assert [(reason, one["count"], len(one["examples"])) for reason, one in said.items()] == [
        ("frequent", 6, 5),
        ("rare", 1, 1),
    ]
    assert said["rare"]["examples"] == [("example 3" + "x" * 300)[:200]]
    aside.put("half", "a \ud800 b")  # which no file can hold
    assert aside.examples["half"] == ["a ? b"]
