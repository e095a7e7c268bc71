"""What a model says of one recording, with what speaks for it and against it."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kmerl_jax.evaluation import evidence
from kmerl_jax.prediction import bags
from kmerl_jax.prediction.bags import Bag
from kmerl_jax.prediction.model import Model
from kmerl_jax.prediction.names import Name
from kmerl_jax.signals import quality
from kmerl_jax.signals.leads import STANDARD, standard_order
from kmerl_jax.signals.waveform import RATE, SAMPLES, Ecg

NOTE = "For research only: not a medical device, and no basis for decisions about anyone's care."


@dataclasses.dataclass(frozen=True)
class Finding:
    """What the model says of one name.

    Attributes:
        name: in words.
        probability: mean over windows, of the logits.
        by_window: [W] the probability in each window of 10 s.
        auroc: how well it was told with these leads, or a part of them; None if that was never measured.
        flags: what speaks against it, each in a few words.
    """

    name: str
    probability: float
    by_window: tuple[float, ...]
    auroc: evidence.Auroc | None
    flags: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Answer:
    """What the model says of one recording.

    Attributes:
        record: its file, as it was named.
        leads: that were seen.
        seconds: of the recording.
        rate: of the file, Hz.
        warnings: of its quality, and of what was left out; read them first.
        findings: the most probable first.
        windows: the bags of tokens that were seen, for pictures; () once these are drawn.
    """

    record: str
    leads: tuple[str, ...]
    seconds: float
    rate: float
    warnings: tuple[str, ...]
    findings: tuple[Finding, ...]
    windows: tuple[Bag, ...]

    def facts(self) -> dict:
        """As JSON values."""
        windows = len(self.findings[0].by_window)
        return {
            "record": self.record,
            "leads": list(self.leads),
            "seconds": self.seconds,
            "rate": self.rate,
            "windows": windows,
            "warnings": list(self.warnings),
            "findings": [
                {"name": one.name, "probability": one.probability}
                | ({"by_window": list(one.by_window)} if windows > 1 else {})
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
    means, by_window = _sigmoid(logits.mean(0)).tolist(), _sigmoid(logits).T.tolist()
    there = standard_order({STANDARD[lead] for bag in seen for lead in np.unique(bag.lead)})
    findings = [
        Finding(one.text, mean, tuple(each), *_support(model, one, there))
        for one, mean, each in zip(wanted, means, by_window, strict=True)
    ]
    findings.sort(key=lambda one: -one.probability)
    warnings = [*quality.problems(ecg), *_notes(ecg, seen)]
    return Answer(str(record), there, ecg.seconds, ecg.rate, tuple(warnings), tuple(findings), tuple(seen))


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _support(model: Model, name: Name, leads: tuple[str, ...]) -> tuple[evidence.Auroc | None, tuple[str, ...]]:
    """How well it was told with these leads, and what speaks against it."""
    flags, trained_as = [], model.trained_as(name.text)
    if trained_as is None:
        flags.append("never trained")
    elif trained_as != name.text:
        flags.append(f"trained as {trained_as!r}")
    auroc = evidence.of(name.text, leads, model.evidence, name.code)
    if auroc and auroc.near_chance:
        flags.append("near chance at these leads")
    return auroc, tuple(flags)


def _notes(ecg: Ecg, seen: Sequence[Bag]) -> list[str]:
    notes = []
    if ecg.left_out:
        notes.append(f"channels left out, none of the 12 leads: {' '.join(ecg.left_out)}")
    filled = sum(int((~np.isfinite(row)).sum()) for row in ecg.signal)
    if filled and len(ecg.leads):
        notes.append(f"{filled:,} samples are missing; gaps of up to 0.2 s are filled in")
    full = SAMPLES / RATE
    if ecg.seconds < full:
        notes.append(f"{ecg.seconds:.1f} s long; the model learnt from {full:.0f} s")
    elif len(seen) > 1:
        notes.append(f"{ecg.seconds:.1f} s long: means over {len(seen)} windows of up to {full:.0f} s")
    return notes
