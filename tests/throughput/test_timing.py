import pytest

from kmerl_jax.throughput import timing
from kmerl_jax.throughput.result import Result
from kmerl_jax.throughput.timing import Contender, Timed


@pytest.fixture
def clock(monkeypatch):
    """Time that passes when it is told to."""
    now = [100.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])

    def passes(seconds):
        now[0] += seconds

    return passes


def test_contenders_take_turns_and_the_median_counts(clock):
    order = []
    # Of each turn: one to warm up, one to see how long it takes, then five repeats of one that does not count and two.
    slow_s = iter([9, 1, 70, 1, 3, 70, 1, 1, 70, 2, 2, 70, 1, 1, 70, 5, 5])

    def slow(turns):
        order.append("slow")
        clock(sum(next(slow_s) for _ in range(turns)))

    def fast(turns):
        order.append("fast")
        clock(0.25 * turns)

    first, second = timing.race([Contender("slow", 8, slow), Contender("fast", 8, fast)], repeats=5, seconds=2)
    assert order == ["slow", "slow", "fast", "fast"] * 6
    assert first.seconds == (2, 1, 2, 1, 5)
    assert (first.turn_s, first.rate, first.spread) == (2, 4, (1.6, 8))
    assert second.seconds == (0.25,) * 5
    assert second.rate == 32


def test_a_turn_longer_than_the_repeat_is_one_turn(clock):
    taken = []
    timing.race([Contender("slow", 1, lambda turns: (taken.append(turns), clock(60 * turns)))], 3, 5)
    assert taken == [1] * 8


def test_what_was_prepared_before_does_not_count(clock, monkeypatch):
    slept, ready = [], [4]
    monkeypatch.setattr(timing.time, "sleep", slept.append)

    def run(turns):
        for _ in range(turns):
            clock(0 if ready[0] else 0.5)
            ready[0] = max(ready[0] - 1, 0)

    def other(turns):
        ready[0] = 4  # meanwhile
        clock(turns)

    first, _ = timing.race([Contender("ahead", 1, run, ahead=4), Contender("other", 1, other)], 3, 2)
    assert first.seconds == (0.5,) * 3
    assert sum(slept) == 4 * 4 * 0.5


def test_all_processes_take_the_turns_of_the_first(clock, monkeypatch):
    asked, taken = [], []
    monkeypatch.setattr(timing.together, "from_first", lambda value: (asked.append(value), 3)[1])
    one = Contender("one", 1, lambda turns: (taken.append(turns), clock(turns)))
    timing.race([one], 2, seconds=7)
    timing.latencies([one], seconds=40)
    assert asked == [7, 20]
    assert taken == [1, 1, *[1, 3] * 2, 1, 1, *[1, 1] * 3]


def test_one_short_turn_says_nothing(clock):
    turn_s, taken = iter([1, 1e-6]), []
    one = Contender("one", 1, lambda turns: (taken.append(turns), clock(next(turn_s, 0.005 * turns))))
    (timed,) = timing.race([one], 2, 1)
    assert taken == [1, 1, 4, 16, *[1, 200] * 2]
    assert timed.seconds == pytest.approx((0.005, 0.005))


def test_it_says_how_long_it_will_take(clock, caplog):
    caplog.set_level("INFO", logger="kmerl_jax")
    slow, fast = (Contender(name, 1, lambda turns, s=s: clock(s * turns)) for name, s in (("slow", 12), ("fast", 2)))
    timing.race([slow, fast], 5, 5)
    assert caplog.messages == [
        "warming up 1 of 2: slow",
        "warming up 2 of 2: fast",
        "a turn: slow 12 s, fast 2 s",
        "measuring: 5 repeats, 150 s in all, about",
    ]


def test_latencies_are_of_single_turns(clock):
    half, quarter = (Contender("one", 1, lambda turns, s=s: clock(s * turns)) for s in (0.5, 0.25))
    first, second = timing.latencies([half, quarter], seconds=30)
    assert first.tolist() == [0.5] * 40
    assert second.tolist() == [0.25] * 40
    (slow,) = timing.latencies([Contender("slow", 1, lambda turns: clock(9 * turns))], seconds=20)
    assert slow.tolist() == [9] * 10


def test_a_result_is_a_table_of_ratios():
    timed = [Timed("kmerl_jax", 32, (1.0, 2.0, 4.0)), Timed("other", 32, (8.0, 8.0, 8.0))]
    said = Result("step: x", "ECG", timed, {}, ["work"]).describe().splitlines()
    assert said[0] == "step: x"
    assert said[1].split() == ["ECG/s", "slowest", "to", "fastest", "ms", "a", "turn", "ratio"]
    assert said[2].split() == ["kmerl_jax", "16", "8", "to", "32", "2000", "1.00"]
    assert said[3].split() == ["other", "4", "4", "to", "4", "8000", "0.25"]
    assert said[4] == "work"
