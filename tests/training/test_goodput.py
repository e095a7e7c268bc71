import json
import logging
import time

import pytest

from kmerl_jax.training import goodput
from kmerl_jax.training.goodput import Goodput


@pytest.fixture
def clock(monkeypatch):
    """Time that passes when it is told to."""
    now = [100.0]
    monkeypatch.setattr(goodput.time, "monotonic", lambda: now[0])
    return lambda seconds: now.__setitem__(0, now[0] + seconds)


def test_each_second_is_counted_once(tmp_path, clock):
    seconds = Goodput(tmp_path)
    clock(1)
    with seconds.during("step"):
        clock(2)
        with seconds.during("compile"):
            clock(4)
        clock(8)
    with seconds.during("input"):
        clock(16)
    clock(32)
    seconds.save()
    kept = json.loads((tmp_path / "goodput.json").read_text())
    assert kept["starts"] == 1
    assert {name: s for name, s in kept["seconds"].items() if s} == {"start": 33, "step": 10, "compile": 4, "input": 16}
    assert seconds.summary() == "time: 63 s in 1 start(s): start 52.4 %, compile 6.3 %, input 25.4 %, step 15.9 %"


def test_seconds_outlive_a_start_and_steps_taken_again_are_lost(tmp_path, clock):
    first = Goodput(tmp_path)
    with first.during("step"):
        clock(10)
    first.save()
    second = Goodput(tmp_path)
    second.lose(kept=7.0)
    with second.during("step"):
        clock(1)
    assert second.starts == 2
    assert second.seconds["step"] == 8
    assert second.seconds["lost"] == 3


def test_a_stage_that_lasts_is_warned_about(tmp_path, caplog):
    seconds = Goodput(tmp_path)
    with (
        caplog.at_level(logging.WARNING),
        seconds.watched(0.2, {"input": lambda: "reading entry 7"}),
        seconds.during("input"),
    ):
        time.sleep(1.2)
    lines = [record.message for record in caplog.records]
    assert lines[0].startswith("process 0: input has taken 0 s: reading entry 7")
    assert 2 <= len(lines) <= 4  # again when it has lasted twice as long, and no more often


def test_short_stages_are_not(tmp_path, caplog):
    seconds = Goodput(tmp_path)
    with caplog.at_level(logging.WARNING), seconds.watched(0.3, {}):
        for _ in range(10):
            with seconds.during("step"):
                time.sleep(0.05)
    assert not caplog.records
