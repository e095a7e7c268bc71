"""What evaluations found of each finding with each set of leads, gathered to stand beside a prediction."""

import dataclasses
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from kmerl_jax.evaluation import release
from kmerl_jax.signals.leads import parse_leads
from kmerl_jax.training.run import finished

_CHANCE = 0.5
_HARDLY_BETTER = 0.6  # an AUROC below it is of no use, however surely it is above chance


@dataclasses.dataclass(frozen=True)
class Auroc:
    """How well a finding was told from its absence.

    Attributes:
        value: the AUROC.
        ci95: its 95 % interval over patients; None where there is none.
        positives: records that had it.
        leads: that were seen.
        records: what it was measured on.
    """

    value: float
    ci95: tuple[float, float] | None
    positives: int
    leads: tuple[str, ...]
    records: str

    @property
    def near_chance(self) -> bool:
        """Whether it is not shown to be better than a coin, or hardly is."""
        return self.value < _HARDLY_BETTER or (self.ci95 is not None and self.ci95[0] <= _CHANCE)


def gather(path: Path) -> list[dict]:
    """All that evaluations have left, of a run or of an exported model: what it came with, and what was found since.

    Returns:
        One a set of records and leads: "task", "records", "leads", "macro_auroc", "macro_ci95", "findings": name ->
        "auroc", "ci95", "positives", "code".

    Raises:
        ValueError: a damaged file.
    """
    found = _read(path / "evidence.json") if release.is_release(path) else []
    for file in finished(path):
        results = _read(file)
        what = f"{results['records']:,} {results['split']} records of its own cohort ({results['labels']})"
        if results.get("way") == "linear probe":
            what += ", by a linear probe of its features, which is not handed on"
        for leads, scored in results["lead_sets"].items():
            found.append(_entry("", what, parse_leads(leads), scored))
    for file in sorted(path.glob("evaluation/*/results.json")):
        results = _read(file)
        if results.get("task") == "domain_transfer":  # its classes are several at once, and called by their codes
            continue
        for label, about in results["tasks"].items():
            what = f"{about['records']:,} {about['split']} records of {label}"
            # MERL answers by cosine, of names; what prompts gave is of another question.
            merl = results.get("run", {}).get("config", {}).get("method") == "merl"
            way = "cosine" if merl and not about.get("prompts") else "query"
            for leads, scored in about["lead_sets"].items():
                if way in scored:
                    found.append(_entry(label, what, results["leads"][leads], scored[way]))
    return found


def _read(file: Path):
    try:
        return json.loads(file.read_text())
    except ValueError as error:
        raise ValueError(f"{file} is damaged ({error}); remove it, or evaluate again") from error


def _entry(task: str, records: str, leads: Sequence[str], scored: dict) -> dict:
    findings = {
        name: {key: one.get(key) for key in ("auroc", "ci95", "positives", "code")}
        for name, one in scored["per_class"].items()
        if one["auroc"] is not None and one["auroc"] == one["auroc"]
    }
    macro = {key: scored[key] for key in ("macro_auroc", "macro_ci95")}
    return {"task": task, "records": records, "leads": list(leads), **macro, "findings": findings}


def of(finding: str, leads: Sequence[str], found: Iterable[dict], task: str = "", code: str = "") -> Auroc | None:
    """The AUROC of a finding with the leads that are there: of the largest evaluated set that lies within them.

    Args:
        finding: its name.
        leads: that are there.
        found: of `gather`; of several evaluations with the same leads, that of the task, else the first.
        task: that the finding is a class of, if of any; codes mean something within a task alone.
        code: of the class, which may be called otherwise there.

    Returns:
        None if it was not evaluated with any of these leads.
    """
    best, rank = None, (0, False)
    for one in found:
        about = one["findings"].get(finding)
        if task and one["task"] == task:
            about = next((each for each in one["findings"].values() if each["code"] == code), about)
        if about is None or not set(one["leads"]) <= set(leads):
            continue
        if (len(one["leads"]), one["task"] == task) > rank:
            rank = len(one["leads"]), one["task"] == task
            ci95 = tuple(about["ci95"]) if about["ci95"] and None not in about["ci95"] else None
            best = Auroc(about["auroc"], ci95, about["positives"], tuple(one["leads"]), one["records"])
    return best
