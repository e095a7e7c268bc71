"""What a benchmark found: as lines to read, and as JSON to keep."""

import dataclasses
import json
from pathlib import Path

from kmerl_jax.throughput import machine
from kmerl_jax.throughput.timing import Timed


@dataclasses.dataclass(frozen=True)
class Options:
    """How a benchmark is made.

    Attributes:
        queries: names that are asked for, where no store says how many.
        seconds: how long a contender is timed in a repeat, about.
        repeats: how often every contender is timed.
        peer: whether PyTorch takes part.
    """

    queries: int
    seconds: float
    repeats: int
    peer: bool


@dataclasses.dataclass
class Result:
    """A benchmark's outcome.

    Attributes:
        title: what was measured, in a line.
        unit: what is counted: "ECG" or "texts".
        timed: the contenders; the first is this program.
        facts: what else was found, as JSON values.
        lines: the same in words.
    """

    title: str
    unit: str
    timed: list[Timed]
    facts: dict
    lines: list[str]

    def describe(self) -> str:
        """A table of rates, each beside that of the first contender; then what else was found."""
        first = self.timed[0]
        width = max(len(one.name) for one in self.timed)
        rows = [f"{'':{width}} {f'{self.unit}/s':>10} {'slowest to fastest':>22} {'ms a turn':>11} {'ratio':>7}"]
        for one in self.timed:
            low, high = (_short(rate) for rate in one.spread)
            rows.append(
                f"{one.name:{width}} {_short(one.rate):>10} {f'{low} to {high}':>22} {1e3 * one.turn_s:>11.4g} "
                f"{one.rate / first.rate:>7.2f}"
            )
        return "\n".join([self.title, *rows, *self.lines])

    def save(self, file: Path, what: str, config: dict, options: Options) -> None:
        """Writes everything to a JSON file, with the config, the versions and the machine."""
        timed = [
            {**dataclasses.asdict(one), "rate": one.rate, "spread": one.spread, "unit": f"{self.unit}/s"}
            for one in self.timed
        ]
        content = {
            "what": what,
            "title": self.title,
            "timed": timed,
            **self.facts,
            "options": dataclasses.asdict(options),
            "config": config,
            "machine": machine.about(),
        }
        temporary = file.with_name(file.name + ".tmp")
        temporary.write_text(json.dumps(content, indent=1))
        temporary.replace(file)


def _short(rate: float) -> str:
    """Three digits at least, with thousands apart."""
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"
