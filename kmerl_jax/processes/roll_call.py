"""Processes say that they are there, before JAX's runtime starts and as long as it runs.

JAX's runtime ends a process with pages of C++ when a number of processes is wrong, one is missing, or one dies; it
seldom says which. So process 0 takes a roll call first, over plain TCP: who is there, and whether all were started
alike. The connections stay open: one that breaks, or is silent for too long, is a process that is lost, and all others
are told its name.
"""

import dataclasses
import json
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable


@dataclasses.dataclass
class _Peer:
    """A connection to another process."""

    socket: socket.socket
    name: str
    heard: float
    unread: bytes = b""
    gone: bool = False

    def send(self, **message) -> None:
        try:
            self.socket.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            self.gone = True  # what it sent before is still read

    def messages(self) -> list[dict]:
        """What has come since; `gone` is set at the end of the connection."""
        try:
            received = self.socket.recv(1 << 20)
        except OSError:
            received = b""
        self.gone |= not received
        self.heard = time.monotonic()
        *lines, self.unread = (self.unread + received).split(b"\n")
        return [json.loads(line) for line in lines]


class RollCall:
    """The connections of one process.

    Attributes:
        index: of this process.
        hosts: of all processes.
        runtime: address at which JAX's runtime of process 0 is to be.
    """

    def __init__(self, index: int, peers: dict[int, _Peer], hosts: list[str], runtime: str):
        self.index, self._peers, self.hosts, self.runtime = index, peers, hosts, runtime
        self._sending = threading.Lock()
        self._leaving = False

    def watch(self, silence_s: float, lost: Callable[[str], None]) -> None:
        """Watches the others in a thread.

        Args:
            silence_s: after which a process counts as lost.
            lost: called with one line that names the process that was lost, or repeats what a process said when it
                ended; at most once.
        """
        threading.Thread(target=self._watch, args=(silence_s, lost), name="roll call", daemon=True).start()

    def _watch(self, silence_s: float, lost: Callable[[str], None]) -> None:
        selector = selectors.DefaultSelector()
        now = time.monotonic()
        for peer in self._peers.values():
            peer.heard = now
            selector.register(peer.socket, selectors.EVENT_READ, peer)
        spoken = now
        while self._peers and not self._leaving:
            for key, _ in selector.select(timeout=min(1.0, silence_s / 4)):
                for message in key.data.messages():
                    if "ended" in message:
                        return self._tell(message["ended"], lost)
                    if "done" in message:
                        selector.unregister(key.fileobj)
                        self._peers = {n: peer for n, peer in self._peers.items() if peer is not key.data}
            now = time.monotonic()
            for peer in self._peers.values():
                if peer.gone:
                    return self._tell(f"{peer.name} is lost: it was killed, or its host is gone", lost)
                if now - peer.heard > silence_s:
                    return self._tell(f"{peer.name} is lost: nothing was heard of it for {silence_s:.0f} s", lost)
            if now - spoken > silence_s / 4:
                spoken = now
                self._say(here=True)
        return None

    def _tell(self, line: str, lost: Callable[[str], None]) -> None:
        if self._leaving:
            return
        self._leaving = True
        self._say(ended=line)
        lost(line)

    def _say(self, **message) -> None:
        with self._sending:
            for peer in self._peers.values():
                peer.send(**message)

    def leave(self, why: str | None = None) -> None:
        """Takes leave, so that nobody is alarmed; with a reason, the others are told it and end too."""
        if self._leaving:
            return
        self._leaving = True
        self._say(**({"done": True} if why is None else {"ended": why}))


def answer(coordinator: str, count: int, index: int, agreed: dict, timeout_s: float) -> RollCall:
    """Joins the roll call, and returns when all processes are there and were started alike.

    Args:
        coordinator: HOST:PORT of process 0.
        count: number of processes.
        index: of this one.
        agreed: what must be the same for all: flat, JSON values.
        timeout_s: the longest wait.

    Raises:
        ValueError: somebody is missing, came twice or was started differently; or process 0 cannot be reached.
    """
    agreed = json.loads(json.dumps(agreed))  # as it arrives at the others
    deadline = time.monotonic() + timeout_s
    host, port = coordinator.rsplit(":", 1)
    if index == 0:
        return _take(int(port), count, agreed, deadline, timeout_s, host)
    return _report(host, int(port), count, index, agreed, deadline, timeout_s)


def _take(port: int, count: int, agreed: dict, deadline: float, timeout_s: float, host: str) -> RollCall:
    peers: dict[int, _Peer] = {}
    hosts = [socket.gethostname()] + [""] * (count - 1)
    try:
        door = socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=count)
    except (OSError, ValueError):  # no IPv6 here, or the port is taken
        try:
            door = socket.create_server(("", port), backlog=count)
        except OSError as error:
            raise ValueError(
                f"process 0 cannot listen at port {port} ({os.strerror(error.errno)}): another program is there; "
                "choose another port, or wait until the job before has ended"
            ) from error

    def refuse(line: str, *others: _Peer) -> None:
        for peer in (*peers.values(), *others):
            peer.send(refused=line)
        raise ValueError(line)

    with door:
        while len(peers) < count - 1:
            door.settimeout(max(deadline - time.monotonic(), 0.01))
            try:
                connection, _ = door.accept()
                connection.settimeout(5)
                hello = json.loads(connection.makefile().readline(1 << 20))
                n, of, where, theirs = (hello[field] for field in ("process", "count", "host", "agreed"))
            except TimeoutError:
                if time.monotonic() < deadline:
                    continue  # a caller that said nothing
                missing = [str(n) for n in range(1, count) if n not in peers]
                named = ", ".join(missing[:10]) + (f" and {len(missing) - 10} more" if len(missing) > 10 else "")
                refuse(f"of {count} processes these did not come within {timeout_s:.0f} s: {named}")
            except (OSError, ValueError, TypeError, KeyError):
                continue  # not one of us
            name = f"process {n} ({where})"
            peer = _Peer(connection, name, time.monotonic())
            if of != count:
                refuse(f"{name} was started with --num_processes={of}, process 0 with {count}", peer)
            if n in peers or n == 0:
                first = hosts[n]
                refuse(f"two processes were started with --process_id={n}: on {first} and on {where}", peer)
            differing = [
                f"{field} is {theirs.get(field)!r} there, {agreed.get(field)!r} on process 0"
                for field in sorted({*agreed, *theirs})
                if theirs.get(field) != agreed.get(field)
            ]
            if differing:
                refuse(f"{name} was started differently: {'; '.join(differing[:5])}", peer)
            peers[n], hosts[n] = peer, where
    runtime = f"{host}:{_free_port()}"
    for peer in peers.values():
        peer.socket.settimeout(None)
        peer.send(go=runtime, hosts=hosts)
    return RollCall(0, peers, hosts, runtime)


def _report(host: str, port: int, count: int, index: int, agreed: dict, deadline: float, timeout_s: float) -> RollCall:
    while True:
        try:
            connection = socket.create_connection((host, port), timeout=max(deadline - time.monotonic(), 0.01))
            break
        except OSError as error:
            if time.monotonic() + 0.2 > deadline:
                raise ValueError(
                    f"process {index} cannot reach process 0 at {host}:{port} within {timeout_s:.0f} s ({error}): it "
                    "was not started, has ended, or a firewall is between"
                ) from error
            time.sleep(0.2)  # it may not have begun to listen
    peer = _Peer(connection, f"process 0 ({host})", time.monotonic())
    peer.send(process=index, count=count, host=socket.gethostname(), agreed=agreed)
    connection.settimeout(max(deadline - time.monotonic(), 0.01) + 5)  # process 0 is to say who is missing
    answers: list[dict] = []
    while not answers:
        answers = peer.messages()
        if peer.gone and not answers:
            raise ValueError(
                f"process {index} had no answer from process 0 at {host}:{port} within {timeout_s:.0f} s: it has "
                "ended, or is not of this run"
            )
    if "refused" in answers[0]:
        raise ValueError(answers[0]["refused"])
    connection.settimeout(None)
    hosts = answers[0]["hosts"]
    peer.name = f"process 0 ({hosts[0]})"
    return RollCall(index, {0: peer}, hosts, answers[0]["go"])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]
