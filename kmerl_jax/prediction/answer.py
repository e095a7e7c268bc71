"""What a model says of one recording, with what speaks for it and against it."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kmerl_jax.evaluation import evidence
from kmerl_jax.prediction import bags
from kmerl_jax.prediction.bags import Bag
from kmerl_jax.prediction.model import Model
from kmerl_jax.prediction.names import Name
from kmerl_jax.signals import quality
from kmerl_jax.signals.leads import standard_order
from kmerl_jax.signals.waveform import RATE, SAMPLES, Ecg, windows

NOTE = "For research only: not a medical device, and no basis for decisions about anyone's care."


@dataclasses.dataclass(frozen=True)
class Finding:
    """What the model says of one name.

    Attributes:
        asked: its name, and the class that it is, if any.
        value: its probability, from the mean of the logits over windows; or another `Model.measure`.
        by_window: [W] the same of each window of 10 s that was seen.
        auroc: how well it was told with these leads, or a part of them; None if that was never measured.
        flags: what speaks against it, each in a few words.
    """

    asked: Name
    value: float
    by_window: tuple[float, ...]
    auroc: evidence.Auroc | None
    flags: tuple[str, ...]

    @property
    def name(self) -> str:
        """In words."""
        return self.asked.text


@dataclasses.dataclass(frozen=True)
class Answer:
    """What the model says of one recording.

    Attributes:
        record: its file, as it was named.
        leads: that were seen, in any of its windows.
        seconds: of the recording.
        rate: of the file, Hz.
        warnings: of its quality, and of what was left out; read them first.
        starts: of the W windows that were seen, seconds.
        findings: the most probable first.
        measure: what their values are, see `Model.measure`.
        windows: the bags of tokens that were seen, for pictures; () once these are drawn.
    """

    record: str
    leads: tuple[str, ...]
    seconds: float
    rate: float
    warnings: tuple[str, ...]
    starts: tuple[float, ...]
    findings: tuple[Finding, ...]
    measure: str
    windows: tuple[Bag, ...]

    def facts(self) -> dict:
        """As JSON values."""
        return {
            "record": self.record,
            "leads": list(self.leads),
            "seconds": self.seconds,
            "rate": self.rate,
            "windows": list(self.starts),
            "warnings": list(self.warnings),
            "findings": [
                {"name": one.name, self.measure: one.value}
                | ({"by_window": list(one.by_window)} if len(self.starts) > 1 else {})
                | {"auroc": dataclasses.asdict(one.auroc) if one.auroc else None, "flags": list(one.flags)}
                for one in self.findings
            ],
        }


def answer(model: Model, record: str | Path, ecg: Ecg, wanted: Sequence[Name], leads: Sequence[str] | None) -> Answer:
    """Asks a model of one recording.

    Args:
        model: who is asked.
        record: its name.
        ecg: as it was recorded.
        wanted: C names.
        leads: that may be seen; None: all.

    Raises:
        ValueError: the recording cannot be an ECG, or holds no signal in any of the leads.
    """
    seen = bags.of_ecg(ecg, leads)
    logits = model.logits(seen, [one.text for one in wanted])
    means, by_window = model.said(logits.mean(0)).tolist(), model.said(logits).T.tolist()
    there = standard_order(set().union(*(bag.leads for bag in seen)))
    always = standard_order(set(there).intersection(*(bag.leads for bag in seen)))
    findings = [
        Finding(one, mean, tuple(each), *_support(model, one, always))
        for one, mean, each in zip(wanted, means, by_window, strict=True)
    ]
    findings.sort(key=lambda one: -one.value)
    name = str(record).encode(errors="replace").decode()  # a file's name may be no text
    starts = tuple(bag.window * SAMPLES / RATE for bag in seen)
    return Answer(
        name, there, ecg.seconds, ecg.rate, _warnings(ecg, seen), starts, tuple(findings), model.measure, tuple(seen)
    )


def _support(model: Model, name: Name, leads: tuple[str, ...]) -> tuple[evidence.Auroc | None, tuple[str, ...]]:
    """How well it was told with these leads, and what speaks against it."""
    flags, trained_as = [], model.trained_as(name.text)
    if trained_as is None:
        flags.append("never trained")
    elif trained_as != name.text:
        flags.append(f"trained as {trained_as!r}")
    auroc = evidence.of(name.text, leads, model.evidence, name.task, name.code)
    if auroc and auroc.near_chance:
        flags.append("near chance at these leads")
    return auroc, tuple(flags)


def _warnings(ecg: Ecg, seen: Sequence[Bag]) -> tuple[str, ...]:
    """What is wrong with each 10 s, and what was not seen."""
    parts = windows(ecg)
    counts = Counter(problem for part in parts for problem in quality.problems(part))
    said = [one + (f" (in {n} of {len(parts)} windows)" if n < len(parts) else "") for one, n in counts.items()]
    if ecg.left_out:
        said.append(f"channels left out, none of the 12 leads: {' '.join(ecg.left_out)}")
    if filled := int((~np.isfinite(ecg.signal)).sum()):
        said.append(f"{filled:,} samples are missing; gaps of up to 0.2 s are filled in")
    full = SAMPLES / RATE
    if ecg.seconds < full:
        said.append(f"{ecg.seconds:.1f} s long; the model learnt from {full:.0f} s")
    elif len(parts) > 1:
        said.append(f"{ecg.seconds:.1f} s long: means over {len(seen)} windows of up to {full:.0f} s")
    if nothing := sorted(set(range(len(parts))) - {bag.window for bag in seen}):
        times = ", ".join(f"{full * n:g} to {min(full * (n + 1), ecg.seconds):.3g} s" for n in nothing)
        said.append(f"left out, with nothing that can be seen: {times}")
    return tuple(said)
