"""The mine command as users run it: in processes of its own, with a language model on this machine."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.commands.forks import REPOSITORY, run
from tests.conftest import link_store
from tests.knowledge.llm_server import serving


@pytest.fixture(scope="module")
def served():
    with serving() as running:
        yield running


@pytest.fixture(scope="module")
def store(demo_store, tmp_path_factory):
    return link_store(demo_store, tmp_path_factory.mktemp("mine") / "store")


def command(store, *flags):
    return [sys.executable, "-m", "kmerl_jax.mine", f"--store={store}", *flags]


def mine(store, *flags):
    done = run(f"--store={store}", *flags, module="mine")
    return done.returncode, done.stdout, done.stderr


def llm(served, *flags, model="tiny", url=None):
    return ["--extractor=llm", f"--llm.base_url={url or served.url}", f"--llm.model={model}", *flags]


def test_the_grammar(store):
    status, said, _ = mine(store)
    assert status == 0
    assert f"{store}/knowledge/grammar, mined by the grammar" in said
    assert "sinus rhythm" in said
    head = json.loads((store / "knowledge" / "grammar" / "entities.json").read_text())
    names = [entity["name"] for entity in head["entities"]]
    statuses = np.load(store / "knowledge" / "grammar" / "statuses.npy")
    assert statuses.shape == (150, len(names))
    member, above = names.index("atrial fibrillation"), names.index("arrhythmia")
    assert (statuses[statuses[:, member] == 4, above] == 4).all()
    assert head["entities"][member]["records"]["present"] == (statuses[:, member] == 4).sum() > 0
    assert "read from" in mine(store)[1]


def test_the_language_model_and_what_both_say(store, served):
    status, said, _ = mine(store, *llm(served, "--dry_run"))
    assert status == 0
    calls = {line.split()[0]: int(line.split()[-2].replace(",", "")) for line in said.splitlines()[1:5]}
    assert served.asked.total() == 0
    status, said, error = mine(store, *llm(served, "--compare=grammar"))
    assert status == 0, error
    assert calls["extract"] + 2 < served.asked.total() <= sum(calls.values())
    assert "entities (" in said
    assert "by tiny in" in said
    assert "only tiny" in " ".join(said.split())
    assert "mean kappa of" in said
    before = served.asked.total()
    status, said, _ = mine(store, *llm(served))
    assert "read from" in said
    assert served.asked.total() == before
    assert "by tiny in" in mine(store, "--name=tiny", "--compare=grammar")[1]
    status, _, error = mine(store, *llm(served, "--llm.per=report"))
    assert status == 1
    assert "choose another --name" in error


def test_killed_and_started_again_no_answered_question_is_asked_twice(store, served):
    served.asked.clear()
    served.delay = 0.05
    flags = llm(served, "--llm.per=report", "--name=reports", "--llm.connections=2")
    process = subprocess.Popen(command(store, *flags), cwd=REPOSITORY, stdout=subprocess.DEVNULL)
    for _ in range(600):
        if served.asked.total() >= 30:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    time.sleep(0.3)
    asked = served.asked.copy()
    served.delay = 0.0
    status, _, error = mine(store, *flags)
    assert status == 0, error
    twice = [content for content, count in served.asked.items() if count > 1]
    assert len(twice) <= 2  # those that were under way
    assert set(twice) <= set(asked)
    assert (store / "knowledge" / "reports" / "statuses.npy").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--extractor=llm"], "--llm.base_url is missing"),
        (["--extractor=llm", "--llm.base_url=http://x/v1"], "--llm.model is missing"),
        (["--extractor=gpt"], "gpt"),
        (["--name=llama", "--compare=grammar"], "knowledge/llama not found: python -m kmerl_jax.mine --store="),
        (["--compare=llama"], "knowledge/llama not found: python -m kmerl_jax.mine --store="),
        (["--name=../../etc"], "no name of a reading"),
        (["--extractor=llm", "--llm.base_url=http://x/v1", "--llm.model=m", "--name=grammar"], "is the grammar's"),
    ],
)
def test_mistakes_end_in_one_line(store, flags, message):
    status, _, error = mine(store, *flags)
    assert status in (1, 2)
    assert error.startswith("error: ")
    assert len(error.splitlines()) == 1, error
    assert message in error


def test_an_unknown_model_and_a_missing_store(store, served, tmp_path):
    status, _, error = mine(store, *llm(served, model="huge"))
    assert status == 1
    assert "refuses model 'huge'" in error
    assert "no store at" in mine(tmp_path / "nowhere")[2]


def test_help():
    done = run("--help", module="mine")
    assert done.returncode == 0
    for flag in ("--store", "--extractor", "--llm.base_url", "--llm.model", "--compare", "--dry_run"):
        assert flag in done.stdout
