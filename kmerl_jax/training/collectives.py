"""What the devices of a compiled program say to each other, read from its optimised HLO, and how long that takes."""

import dataclasses
import functools
import math
import re

import numpy as np

from kmerl_jax.training.hardware import Hardware

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")

_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.-]+) \(.*\{$")
# Asynchronous ones are a -start, which is counted, and a -done.
_COLLECTIVE = re.compile(rf" = (?P<shape>.*?) (?P<kind>{'|'.join(KINDS)})(?P<start>-start)?\((?P<rest>.*)")
_CALL = re.compile(r"(body|condition|to_apply|calls|branch_computations|async_computation)=(\{[^}]*\}|%?[\w.-]+)")
_TURNS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_ARRAY = re.compile(r"\b(pred|[a-z]+(\d+)\w*)\[([\d,]*)\]")
_DEVICES = r"\[([\d,]+)\](?:T\(([\d,]+)\))?"


@dataclasses.dataclass(frozen=True, eq=False)
class Collective:
    """A collective operation of a step.

    Attributes:
        kind: one of `KINDS`.
        payload: bytes; of the whole array that is reduced, gathered, or reduced and scattered; of what one device has
            to give, in an all-to-all or a permutation.
        groups: [G, N] device numbers: each row talks among itself. Of a permutation: [N, 2], from and to.
        times: how often in a step.
    """

    kind: str
    payload: int
    groups: np.ndarray
    times: int = 1

    def sent(self, node: int) -> tuple[float, float]:
        """Bytes that a device sends to others of its node, and to other nodes, in one step.

        Rings: of N devices each sends (N - 1) / N of the payload, and twice that to reduce and hand back the result.
        Where K of the N are on a node, the K first share out the payload among themselves, and each then talks to its
        like on the other N / K nodes with a K-th of it: (K - 1) / K within, (1 / K - 1 / N) without.

        Args:
            node: devices of a node; device numbers follow one another on it.
        """
        nodes = self.groups // node
        if self.kind == "collective-permute":
            crossing = bool((nodes[:, 0] != nodes[:, 1]).any())
            within, without = (0, self.payload) if crossing else (self.payload, 0)
            return within * self.times, without * self.times
        size = self.groups.shape[1]
        near = size / max(len(set(row)) for row in nodes.tolist())
        if self.kind == "all-to-all":
            within, without = (near - 1) / size, (size - near) / size
        else:
            within, without = (near - 1) / near, 1 / near - 1 / size
        amount = self.payload * self.times * (2 if self.kind == "all-reduce" else 1)
        return amount * within, amount * without

    def seconds(self, hardware: Hardware) -> float:
        """How long it takes at the full bandwidth of both kinds of links, one after the other; latency is nothing."""
        within, without = self.sent(hardware.node)
        return within / hardware.node_bandwidth + without / hardware.network_bandwidth


def read(hlo: str) -> list[Collective]:
    """The collectives of a program.

    What an all-reduce sums in 16 bits the CPU compiler widens to 32, as CPUs have no such addition, and says so in the
    name of the sum: here it counts with its 16 bits, as accelerators send it.

    Args:
        hlo: of a compiled program, as `compiled.as_text()`.

    Raises:
        ValueError: collectives in a loop of unknown length, or groups in an unknown notation.
    """
    devices = int(re.search(r"num_partitions=(\d+)", hlo)[1]) if "num_partitions=" in hlo else 1
    computations: dict[str, list[str]] = {}
    lines: list[str] = []
    entry = ""
    for line in hlo.splitlines():
        if head := _COMPUTATION.match(line):
            lines = computations.setdefault(head[2], [])
            entry = head[2] if head[1] else entry
        else:
            lines.append(line)

    @functools.cache
    def of(name: str) -> tuple[Collective, ...]:
        found = []
        for line in computations.get(name, ()):
            if op := _COLLECTIVE.search(line):
                found.append(_read_one(op, line, devices))
                continue
            called = [one for _, names in _CALL.findall(line) for one in re.findall(r"[\w.-]+", names)]
            inside = [collective for one in called for collective in of(one)]
            turns = 1
            if inside and " while(" in line:
                if not (known := _TURNS.search(line)):
                    raise ValueError("a loop of unknown length holds collectives: their bytes cannot be counted")
                turns = int(known[1])
            found += [dataclasses.replace(one, times=one.times * turns) for one in inside]
        return tuple(found)

    return list(of(entry))


def _read_one(op: re.Match, line: str, devices: int) -> Collective:
    kind = op["kind"]
    groups = _pairs(line) if kind == "collective-permute" else _groups(line, devices)
    size = sum(_bytes(*array) for array in _ARRAY.findall(op["shape"]))
    if op["start"]:  # what it yields has what it was given in front, but for an all-reduce
        operands = sum(_bytes(*array) for array in _ARRAY.findall(op["rest"].partition(")")[0]))
        size = size if kind == "all-reduce" else size - operands
    if kind == "reduce-scatter":
        size *= groups.shape[1]
    if re.search(r"to_apply=%?[\w.-]*promoted", line):
        size //= 2
    return Collective(kind, size, groups)


def _bytes(dtype: str, bits: str, shape: str) -> int:
    return (
        math.prod(int(n) for n in shape.split(",") if n) * (1 if dtype == "pred" else int(bits)) // (8 if bits else 1)
    )


def _pairs(line: str) -> np.ndarray:
    return np.array(re.findall(r"\{(\d+),(\d+)\}", line.partition("source_target_pairs=")[2]), int)


def _groups(line: str, devices: int) -> np.ndarray:
    """[G, N] devices, from any of the notations of HLO: lists, a reshaped range, or axes of a mesh."""
    text = line.partition("replica_groups=")[2]
    if text.startswith("{}"):
        return np.arange(devices)[None]
    if listed := re.match(r"\{(\{[\d,{}]+\})\}", text):
        return np.array([row.split(",") for row in re.findall(r"[\d,]*\d", listed[1].replace("},{", ";"))], int)
    if ranged := re.match(rf"\[(\d+),(\d+)\]<={_DEVICES}", text):
        return _range(*ranged.groups()[2:]).reshape(int(ranged[1]), int(ranged[2]))
    if mesh := re.match(rf"mesh\[([^\]]*)\](?:, device_ids=\({_DEVICES}\))? \{{([^}}]*)\}}", text):
        axes = {name: int(size) for name, size in re.findall(r"'(\w+)'=(\d+)", mesh[1])}
        among = re.findall(r"'(\w+)'", mesh[4])
        if ":" not in mesh[4]:
            ids = (_range(*mesh.groups()[1:3]) if mesh[2] else np.arange(devices)).reshape(*axes.values())
            ids = np.moveaxis(ids, [list(axes).index(name) for name in among], range(-len(among), 0))
            return ids.reshape(-1, math.prod(axes[name] for name in among))
    raise ValueError(f"groups of a collective in an unknown notation: {text[:80]}")


def _range(shape: str, order: str | None) -> np.ndarray:
    dims = [int(n) for n in shape.split(",")]
    ids = np.arange(math.prod(dims)).reshape(dims)
    return (ids.transpose([int(n) for n in order.split(",")]) if order else ids).reshape(-1)
