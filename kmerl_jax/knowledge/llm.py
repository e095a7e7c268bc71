"""Questions to an OpenAI-compatible server: many at a time, every answer kept in SQLite."""

import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

import openai

STOP = "stop"
"""How an answer ends that the model ended itself; other ends are "length", "content_filter", "refusal", "rejected"."""

_RETRIES = 6  # with exponential back-off up to 8 s, or as the server's Retry-After says
_AHEAD = 32  # questions per connection that are made ready at a time
_REJECTIONS = (400, 413, 422)
_RETRIED = (408, 409, 429)  # by the client, as what is 500 or more
_CHARACTERS_A_TOKEN = 4  # of English, roughly, with any tokenizer


class Question(NamedTuple):
    """A prompt, what it is about, and the most tokens of an answer (None: the server decides)."""

    prompt: str
    text: str
    most_tokens: int | None = None

    @property
    def content(self) -> str:
        """The message that is sent."""
        return f"{self.prompt}\n\n{self.text}".strip()


def tokens(questions: Iterable[Question]) -> int:
    """Tokens that questions send, estimated by their length."""
    return sum(len(question.content) for question in questions) // _CHARACTERS_A_TOKEN


class Answer(NamedTuple):
    """What a model said, and how the answer ended."""

    text: str
    end: str


class Server:
    """One model on one server, with the answers it gave so far.

    Use it as a context manager: it holds the file of answers open.
    """

    def __init__(
        self, base_url: str, model: str, answers: Path, connections: int = 8, timeout: float = 120.0, thinking: int = 0
    ):
        """Args:
            base_url: such as http://localhost:8000/v1. The key is read from OPENAI_API_KEY; local servers need none.
            model: as the server calls it.
            answers: the SQLite file, made if it is missing.
            connections: most questions at a time.
            timeout: seconds without a byte of the server after which a question is asked again.
            thinking: tokens that the model may think with, beside those of an answer.

        Raises:
            OSError: the file of answers cannot be made.
            ValueError: it is damaged, or the address is none.
        """
        if not base_url.startswith(("http://", "https://")):
            raise ValueError(f"--llm.base_url={base_url} does not begin with http:// or https://")
        self._thinking = thinking
        self.base_url, self.model, self.connections = base_url, model, connections
        key = os.environ.get("OPENAI_API_KEY") or "none"
        self._client = openai.OpenAI(base_url=base_url, api_key=key, timeout=timeout, max_retries=_RETRIES)
        self._answers = _open(answers)

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        self._client.close()
        self._answers.close()

    def unanswered(self, questions: Sequence[Question]) -> list[Question]:
        """The distinct questions that would have to be asked."""
        return [question for question in dict.fromkeys(questions) if self._known(question) is None]

    def ask(
        self, questions: Sequence[Question], progress: Callable[[int, int], None] = lambda done, total: None
    ) -> list[Answer]:
        """The answers, those given before from the file, the others asked now and kept at once.

        A question that the server rejects as such (it is too long, say) has the answer ("", "rejected"). That is not
        kept, nor is an answer that was cut off or refused: the next time they are asked again.

        Args:
            questions: what to ask; a question that stands twice is asked once.
            progress: called with the number answered and the number to answer.

        Raises:
            ConnectionError: the server cannot be reached, or went on failing through all retries.
            ValueError: the server refuses the key or does not know the model, or rejects every question.
        """
        new = self.unanswered(questions)
        rejected: list[str] = []
        unkept: dict[Question, Answer] = {}
        failure = None
        for done, (question, result) in enumerate(self._ask(new), start=1):
            if isinstance(result, Exception):
                failure = failure or result
                continue
            if isinstance(result, Answer):
                if result.end == STOP:
                    self._keep(question, result)
                else:
                    unkept[question] = result
            else:
                rejected.append(result)
            progress(done, len(new))
        if failure:
            raise failure
        if new and len(rejected) == len(new):
            raise ValueError(f"the LLM server at {self.base_url} rejects every question: {rejected[0]}")
        return [self._known(question) or unkept.get(question, Answer("", "rejected")) for question in questions]

    def _ask(self, questions: Sequence[Question]) -> Iterator[tuple[Question, Answer | str | Exception]]:
        """Questions as they are answered; a text says why one was rejected, an exception ends the asking."""
        failed = threading.Event()

        def one(question: Question) -> Answer | str | Exception | None:
            if failed.is_set():
                return None
            try:
                return self._one(question)
            except (ConnectionError, ValueError) as error:
                failed.set()
                return error

        ahead = _AHEAD * self.connections
        with ThreadPoolExecutor(self.connections) as pool:
            try:
                for start in range(0, len(questions), ahead):
                    futures = {pool.submit(one, question): question for question in questions[start : start + ahead]}
                    for future in as_completed(futures):
                        if future.result() is not None:
                            yield futures[future], future.result()
                    if failed.is_set():
                        return
            finally:
                failed.set()  # interrupted: what waits in the pool is not asked any more

    def _one(self, question: Question) -> Answer | str:
        limit = {} if question.most_tokens is None else {"max_tokens": question.most_tokens + self._thinking}
        messages = [{"role": "user", "content": question.content}]
        try:
            reply = self._client.chat.completions.create(model=self.model, messages=messages, temperature=0, **limit)
            choice = reply.choices[0]
            text, refused = choice.message.content or "", getattr(choice.message, "refusal", None)
            if not isinstance(text, str):
                raise TypeError(f"content is a {type(text).__name__}, not a text")
            return Answer(whole_characters(text), "refusal" if refused else str(choice.finish_reason or STOP))
        except (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError) as error:
            raise ValueError(
                f"the LLM server at {self.base_url} refuses model {self.model!r}: {_said(error)}. Check --llm.model, "
                "--llm.base_url and OPENAI_API_KEY"
            ) from error
        except openai.OpenAIError as error:
            status = getattr(error, "status_code", None)
            if status in _REJECTIONS:
                return _said(error)
            retried = f" after {_RETRIES} retries" * (status is None or status in _RETRIED or status >= 500)
            raise ConnectionError(
                f"the LLM server at {self.base_url} does not answer ({type(error).__name__}: {_said(error)}){retried}. "
                "The answers so far are kept: the same command goes on from there"
            ) from error
        except (AttributeError, IndexError, TypeError, ValueError) as error:
            return f"the reply is not of the OpenAI protocol ({type(error).__name__}: {_said(error)})"

    def _known(self, question: Question) -> Answer | None:
        row = self._answers.execute(
            "SELECT answer, ending FROM answers WHERE model = ? AND prompt = ? AND text = ?",
            (self.model, question.prompt, question.text),
        ).fetchone()
        return Answer(*row) if row else None

    def _keep(self, question: Question, answer: Answer) -> None:
        with self._answers:
            self._answers.execute(
                "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?)",
                (self.model, question.prompt, question.text, answer.text, answer.end),
            )


def kept_in(path: Path, dry_run: bool) -> Path:
    """Where a command keeps its answers; a dry run reads what is there, and makes no file."""
    return Path(":memory:") if dry_run and not path.exists() else path


def whole_characters(text: str) -> str:
    """The text with "?" for halves of characters, which JSON can name (its surrogates) and no file can hold."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _open(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        connection = sqlite3.connect(path, timeout=60)
    except sqlite3.OperationalError as error:
        raise OSError(f"{path} cannot be written, where answers are kept: {error}") from error
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS answers (model TEXT, prompt TEXT, text TEXT, answer TEXT NOT NULL,"
            " ending TEXT NOT NULL, PRIMARY KEY (model, prompt, text)) WITHOUT ROWID"
        )
    except sqlite3.DatabaseError as error:
        connection.close()
        raise ValueError(f"{path} is damaged ({error}); remove it, and the server is asked again") from error
    return connection
