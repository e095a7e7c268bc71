"""Asking a server that fails in every way a server fails."""

import pytest

from kmerl_jax.knowledge import llm
from kmerl_jax.knowledge.llm import Answer, Question, Server
from tests.knowledge.llm_server import serving

HELLO = [Question("say", "hello"), Question("say", "goodbye")]


@pytest.fixture
def served():
    with serving() as running:
        running.answers = {"hello": "HELLO", "goodbye": "GOODBYE"}
        yield running


@pytest.fixture
def connect(served, tmp_path):
    """Makes clients of the server that share one file of answers."""

    def make(model="tiny", url=None, **options):
        return Server(url or served.url, model, tmp_path / "knowledge" / "answers.sqlite", **options)

    return make


def test_every_question_is_asked_once(served, connect):
    seen = []
    with connect() as server:
        answers = server.ask(HELLO + HELLO, lambda done, total: seen.append((done, total)))
    assert answers == [Answer("HELLO", "stop"), Answer("GOODBYE", "stop")] * 2
    assert served.asked == {"say\n\nhello": 1, "say\n\ngoodbye": 1}
    assert seen == [(1, 2), (2, 2)]


def test_answers_are_kept_by_model_prompt_and_text(served, connect):
    with connect() as server:
        server.ask(HELLO)
    with connect() as server:
        assert server.unanswered([*HELLO, Question("shout", "hello"), Question("say", "hello!")]) == [
            Question("shout", "hello"),
            Question("say", "hello!"),
        ]
        server.ask(HELLO)
    assert served.asked.total() == 2
    with connect("large") as server:
        assert server.unanswered(HELLO) == HELLO


@pytest.mark.parametrize("failures", [[429], [500], [503, 429, 500], ["slow"], [408]])
def test_what_passes_is_asked_again(served, connect, failures):
    served.failures = list(failures)
    with connect(timeout=0.5) as server:
        assert server.ask(HELLO[:1]) == [Answer("HELLO", "stop")]
    assert served.asked["say\n\nhello"] == 1 + len(failures)


def test_no_more_questions_than_connections(served, connect):
    served.delay = 0.02
    with connect(connections=3) as server:
        server.ask([Question("say", f"hello {n}") for n in range(20)])
    assert 2 <= served.most <= 3


def test_a_server_that_stays_broken_ends_in_one_line_and_loses_nothing(served, connect, monkeypatch):
    monkeypatch.setattr(llm, "_RETRIES", 1)
    questions = [Question("say", f"hello {n}") for n in range(10)]
    with connect(connections=1) as server:
        server.ask(questions[:4])
        served.failures = [500] * 100
        with pytest.raises(ConnectionError, match=r"does not answer .*The answers so far are kept"):
            server.ask(questions)
    served.failures = []
    with connect() as server:
        assert len(server.unanswered(questions)) == 6
        assert len(server.ask(questions)) == 10


def test_no_server(connect, monkeypatch):
    monkeypatch.setattr(llm, "_RETRIES", 0)
    with (
        connect(url="http://127.0.0.1:9/v1") as server,
        pytest.raises(ConnectionError, match=r"127.0.0.1:9/v1 does not"),
    ):
        server.ask(HELLO)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_named_at_once(served, connect, status):
    served.failures = [status] * 100
    with connect() as server, pytest.raises(ValueError, match=r"refuses model 'tiny'.*Check --llm.model"):
        server.ask(HELLO)
    assert served.asked.total() <= 2


def test_an_unknown_model_is_named(connect):
    with connect("huge") as server, pytest.raises(ValueError, match=r"refuses model 'huge': .* does not exist"):
        server.ask(HELLO)


@pytest.mark.parametrize("failure", [400, 422, "garbage"])
def test_one_rejected_question_is_set_aside_and_asked_again_next_time(served, connect, failure):
    served.failures = [failure]
    with connect(connections=1) as server:
        assert server.ask(HELLO) == [Answer("", "rejected"), Answer("GOODBYE", "stop")]
        assert server.ask(HELLO) == [Answer("HELLO", "stop"), Answer("GOODBYE", "stop")]


def test_a_reply_in_parts_is_set_aside_and_half_a_character_is_a_question_mark(served, connect):
    served.answers = {"hello": [{"type": "text", "text": "HELLO"}], "goodbye": "a \ud800 b"}
    with connect(connections=1) as server:
        assert server.ask(HELLO) == [Answer("", "rejected"), Answer("a ? b", "stop")]


@pytest.mark.parametrize(("failure", "message"), [(400, "failure 400"), ("garbage", "not of the OpenAI protocol")])
def test_a_server_that_rejects_everything(served, connect, failure, message):
    served.failures = [failure] * 100
    with connect() as server, pytest.raises(ValueError, match=f"rejects every question: .*{message}"):
        server.ask(HELLO)


def test_what_the_model_did_not_end_is_asked_again(served, connect):
    served.answers = {"hello": ("HEL", "length"), "goodbye": ("", "content_filter")}
    for n in range(1, 3):
        with connect() as server:
            assert server.ask(HELLO) == [Answer("HEL", "length"), Answer("", "content_filter")]
        assert served.asked.total() == 2 * n


def test_a_model_may_think_beside_what_it_answers(served, connect):
    limited = [Question("say", word, most_tokens=16) for word in ("hello", "goodbye")]
    with connect() as server:
        server.ask(limited[:1])
    with connect(thinking=1000) as server:
        server.ask(limited[1:])
        server.ask([Question("shout", "hello")])
    assert served.limits == [16, 1016, None]


def test_an_address_without_its_scheme(connect):
    with pytest.raises(ValueError, match=r"--llm\.base_url=localhost:8000/v1 does not begin with http:// or https://"):
        connect(url="localhost:8000/v1")


def test_a_damaged_file_of_answers(connect, tmp_path):
    (tmp_path / "knowledge").mkdir()
    (tmp_path / "knowledge" / "answers.sqlite").write_bytes(b"no database " * 1000)
    with pytest.raises(ValueError, match=r"answers\.sqlite is damaged .*remove it"):
        connect()
