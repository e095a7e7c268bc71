"""Accelerators that a run may be planned for, and what their vendors say of them (`hardware.toml`)."""

import dataclasses
import importlib.resources
import tomllib


@dataclasses.dataclass(frozen=True)
class Hardware:
    """A kind of accelerator, and how it is usually connected.

    Attributes:
        name: in words.
        bfloat16: FLOP/s of dense bfloat16 products.
        memory: bytes.
        memory_bandwidth: bytes/s.
        node: devices that are connected by the fast links.
        node_bandwidth: bytes/s that a device sends to the others of its node.
        network_bandwidth: bytes/s that a device sends to other nodes.
        sources: addresses of where the figures are from.
    """

    name: str
    bfloat16: float
    memory: float
    memory_bandwidth: float
    node: int
    node_bandwidth: float
    network_bandwidth: float
    sources: tuple[str, ...]


def load(kind: str) -> Hardware:
    """The accelerator of a name.

    Raises:
        ValueError: an unknown name.
    """
    table = tomllib.loads(importlib.resources.files(__package__).joinpath("hardware.toml").read_text("utf-8"))
    if kind not in table:
        raise ValueError(f"--device_kind={kind!r} is not one of {', '.join(table)}")
    figures = table[kind]
    return Hardware(**figures | {"sources": tuple(figures["sources"])})
