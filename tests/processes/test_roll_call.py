"""The roll call between threads of this process, over real sockets."""

import json
import socket
import threading
import time

import pytest

from kmerl_jax.processes import roll_call


def free_port():
    with socket.socket() as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]


class Members:
    """Threads that answer at one address; what each got, or the line with which it ended."""

    def __init__(self, *members, timeout_s=5.0):
        """Args: members: (index, count, agreed) of each."""
        self.address, self.got = f"localhost:{free_port()}", {}
        threads = [
            threading.Thread(target=self._answer, args=(n, *member, timeout_s)) for n, member in enumerate(members)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=20)

    def _answer(self, n, index, count, agreed, timeout_s):
        try:
            self.got[n] = roll_call.answer(self.address, count, index, agreed, timeout_s)
        except ValueError as error:
            self.got[n] = str(error)


def test_all_are_there():
    members = Members(*[(n, 4, {"seed": 1}) for n in (2, 0, 3, 1)])
    calls = list(members.got.values())
    assert sorted(call.index for call in calls) == [0, 1, 2, 3]
    assert len({call.runtime for call in calls}) == 1
    assert all(call.hosts == [socket.gethostname()] * 4 for call in calls)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([(0, 3, {}), (1, 3, {}), (1, 3, {})], "two processes were started with --process_id=1"),
        ([(0, 2, {}), (1, 3, {})], "was started with --num_processes=3, process 0 with 2"),
        ([(0, 2, {"seed": 0}), (1, 2, {"seed": 1})], "was started differently: seed is 1 there, 0 on process 0"),
        ([(0, 2, {"a": (1,)}), (1, 2, {})], "a is None there, [1] on process 0"),
    ],
)
def test_whatever_does_not_fit_is_said_to_everybody(members, message):
    got = Members(*members).got
    assert len(got) == len(members)
    assert all(message in line for line in got.values())


def test_who_is_missing():
    began = time.monotonic()
    got = Members((0, 4, {}), (2, 4, {}), timeout_s=1.0).got
    assert set(got.values()) == {"of 4 processes these did not come within 1 s: 1, 3"}
    assert time.monotonic() - began < 5
    alone = Members((1, 2, {}), timeout_s=1.0)
    assert f"process 1 cannot reach process 0 at {alone.address} within 1 s" in alone.got[0]


def test_a_port_that_is_taken():
    with socket.create_server(("", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ValueError, match=f"cannot listen at port {port} .Address already in use"):
            roll_call.answer(f"localhost:{port}", 2, 0, {}, 1.0)


def test_strangers_at_the_door_are_ignored():
    port, got = free_port(), {}
    first = threading.Thread(target=lambda: got.update(call=roll_call.answer(f"localhost:{port}", 2, 0, {}, 10.0)))
    first.start()
    for words in (b"GET / HTTP/1.1\r\n\r\n", b"[1, 2]\n", b'{"process": 1}\n', b""):
        while True:
            try:
                with socket.create_connection(("localhost", port)) as stranger:
                    stranger.sendall(words)
                break
            except ConnectionRefusedError:
                time.sleep(0.05)
    second = roll_call.answer(f"localhost:{port}", 2, 1, {}, 10.0)
    first.join()
    assert second.runtime == got["call"].runtime


@pytest.fixture
def watched():
    """Three members that watch each other, and the lines with which each was alarmed."""
    calls = Members(*[(n, 3, {}) for n in range(3)]).got
    calls = {call.index: call for call in calls.values()}
    lines = {n: [] for n in calls}
    for n, call in calls.items():
        call.watch(2.0, lines[n].append)
    return calls, lines


def wait_for(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    assert condition()


def close(call):
    """As the kernel does when a process is killed."""
    call._leaving = True  # its own watch does not speak
    for peer in call._peers.values():
        peer.socket.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("victim", [0, 1])
def test_a_lost_process_is_named_to_all(watched, victim):
    calls, lines = watched
    close(calls[victim])
    others = set(calls) - {victim}
    wait_for(lambda: all(lines[n] for n in others))
    host = socket.gethostname()
    for n in others:
        assert lines[n] == [f"process {victim} ({host}) is lost: it was killed, or its host is gone"]


def test_a_silent_process_is_named_to_all(watched):
    calls, lines = watched
    calls[2]._say = lambda **message: None  # stopped: it lives, and says nothing
    wait_for(lambda: lines[0] and lines[1])
    assert lines[0] == lines[1] == [f"process 2 ({socket.gethostname()}) is lost: nothing was heard of it for 2 s"]


def test_why_a_process_ended_is_told_to_all(watched):
    calls, lines = watched
    calls[1].leave("process 1 ended: entry 17 cannot be read")
    wait_for(lambda: lines[0] and lines[2])
    assert lines == {0: [line := "process 1 ended: entry 17 cannot be read"], 1: [], 2: [line]}


def test_nobody_is_alarmed_when_all_leave(watched):
    calls, lines = watched
    for n in (1, 0, 2):
        calls[n].leave()
    for call in calls.values():
        close(call)
    time.sleep(2.5)
    assert lines == {0: [], 1: [], 2: []}


def test_what_is_said_are_lines_of_json():
    here, there = socket.socketpair()
    peer = roll_call._Peer(here, "process 1", 0.0)
    there.sendall(b'{"a": 1}\n{"b"')
    assert peer.messages() == [{"a": 1}]
    there.sendall(b": 2}\n")
    assert peer.messages() == [{"b": 2}]
    peer.send(c=[3])
    assert json.loads(there.recv(100)) == {"c": [3]}
    there.close()
    assert (peer.messages(), peer.gone) == ([], True)
    here.close()
