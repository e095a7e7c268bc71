"""What `launch/benchmark_gpu.sh` found, beside what is aimed at on one H200.

python -m launch.aims OUT       # OUT: the folder with the benchmarks' JSON files
"""

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path

Results = dict[str, dict]
"""What each benchmark kept, by the name of its file."""


def rate(result: dict, name: str = "kmerl_jax") -> float:
    """Items a second of a contender.

    Raises:
        KeyError: it did not take part.
    """
    return {one["name"]: one["rate"] for one in result["timed"]}[name]


def step_over(name: str) -> Callable[[Results], float]:
    """How many times as fast as a contender our step is."""
    return lambda results: rate(results["step"]) / rate(results["step"], name)


@dataclasses.dataclass(frozen=True)
class Aim:
    """A number to be looked at.

    Attributes:
        name: what it is.
        find: the number, of the results; KeyError if it was not measured.
        form: in which it is written.
        least: what it should be at least, if that is said.
        better: what it would best be.
    """

    name: str
    find: Callable[[Results], float]
    form: str
    least: float | None = None
    better: float | None = None


AIMS = (
    Aim("end_to_end, ECG/s", lambda results: rate(results["end_to_end"]), ",.0f", 10_700, 25_000),
    Aim("end_to_end, seconds", lambda results: results["end_to_end"]["seconds"], ",.0f", 180),
    Aim("input over end_to_end", lambda results: rate(results["input"]) / rate(results["end_to_end"]), ".2f", 1),
    Aim("cores of the input", lambda results: results["input"]["machine"]["cores"], ".0f"),
    Aim("step over PyTorch, our tokens", step_over("PyTorch, our tokens, compiled"), ".2f", 1, 1.3),
    Aim("step over PyTorch, padded tokens", step_over("PyTorch, padded tokens, compiled"), ".2f", 1.3),
    Aim("step over MERL as published", step_over("MERL as published, compiled"), ".2f", 2, 4),
    Aim("utilisation, vit_base", lambda results: results["vit_base"]["model_flop_utilisation"], ".1%", 0.4, 0.5),
    Aim("utilisation, vit_tiny", lambda results: results["step"]["model_flop_utilisation"], ".1%"),
)


def table(results: Results) -> str:
    """One line an aim: what was found, what it should be, and how it stands."""
    rows = [f"{'':34} {'found':>10} {'at least':>10} {'better':>10}"]
    for aim in AIMS:
        least, better = ("" if goal is None else format(goal, aim.form) for goal in (aim.least, aim.better))
        try:
            found = aim.find(results)
        except KeyError:
            rows.append(f"{aim.name:34} {'-':>10} {least:>10} {better:>10}  not measured")
            continue
        rows.append(f"{aim.name:34} {found:>10{aim.form}} {least:>10} {better:>10}  {_standing(aim, found)}".rstrip())
    return "\n".join(rows)


def _standing(aim: Aim, found: float) -> str:
    if aim.better is not None and found >= aim.better:
        return "reached, and the better one"
    return "" if aim.least is None else "reached" if found >= aim.least else "NOT REACHED"


def main(folder: Path) -> None:
    """Prints the table of a folder, with what each benchmark was."""
    results = {file.stem: json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))}
    for name, result in results.items():
        print(f"{name}: {result['title'].partition(': ')[2]}; commit {result['machine']['commit']}")
    print(table(results))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
