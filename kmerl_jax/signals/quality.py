"""What is wrong with a recording, before anything is read from it: flat, clipped or noisy leads, swapped electrodes."""

from collections.abc import Iterator

import numpy as np

from kmerl_jax.signals.leads import LIMB
from kmerl_jax.signals.waveform import FLAT_MV, SHORT_GAP_S, Ecg, longest_run, repair

_NOISE_HZ = 35.0  # above it lie muscle and mains; QRS complexes too, but they are short
_NOISE_MV = 0.04  # typical deviation from there on
_WANDER_HZ = 0.5
_WANDER_MV = 2.0  # range of what is slower
_CLIPPED_S = 0.02  # a run at the highest or lowest value; peaks of QRS complexes are shorter
_CLIPPED_RUNS = 3
_CLIPPED_MV = 0.5
_FAINT_MV, _LARGE_MV = 0.15, 10.0  # range of a lead
_OPPOSITE = -0.6  # correlation of lead I with V6, or V5: both look from the left
_MISFIT = 0.3  # what Einthoven's law leaves of lead III, over the size of the limb leads


def problems(ecg: Ecg) -> list[str]:
    """What a technician would want to hear of a recording, each in a line; empty if nothing.

    The thresholds are rules of thumb: of 1,744 records of PTB-XL, 1 % are called noisy, 6 % wandering, 0.1 % swapped at
    the arms, none mixed up; of the same with their arms swapped, 72 %. "Suspected" is meant.

    Args:
        ecg: as it was recorded; of a long recording one window at a time.
    """
    said = [f"{lead} is left out: {why}" for lead, why in _without_signal(ecg)]
    there, _ = repair(ecg)
    if not there.leads:
        return said
    centred = there.signal - np.median(there.signal, axis=1, keepdims=True)
    signal = dict(zip(there.leads, centred, strict=True))
    size = {lead: float(np.ptp(x)) for lead, x in signal.items()}
    slow, fast = _slow_and_fast(centred, there.rate)
    clipped = [lead for lead, x in signal.items() if _clipped(x, ecg.rate)]
    noisy = [lead for lead, x in zip(there.leads, fast, strict=True) if x > _NOISE_MV]
    wandering = [lead for lead, x in zip(there.leads, slow, strict=True) if x > _WANDER_MV]
    for leads, what in (
        (clipped, "clipped: the recorder's range ended before the signal's"),
        (noisy, "noisy (muscle or mains)"),
        (wandering, f"baseline wanders by more than {_WANDER_MV} mV"),
    ):
        if leads:
            said.append(f"{' '.join(leads)}: {what}")
    typical = float(np.median(list(size.values())))
    if not _FAINT_MV <= typical <= _LARGE_MV:
        how = f"less than {_FAINT_MV}" if typical < _FAINT_MV else f"more than {_LARGE_MV:g}"
        said.append(f"the leads range over {how} mV, which is unusual: check the unit")
    return [*said, *_electrodes(signal, size)]


def _without_signal(ecg: Ecg) -> Iterator[tuple[str, str]]:
    for lead, x in zip(ecg.leads, ecg.signal, strict=True):
        bad = ~np.isfinite(x)
        if longest_run(bad) > SHORT_GAP_S * ecg.rate or bad.all():
            yield lead, f"more than {SHORT_GAP_S} s at a stretch are missing"
        elif np.ptp(x[~bad]) < FLAT_MV:
            yield lead, "it is flat"


def _clipped(x: np.ndarray, rate: float) -> bool:
    return any(
        abs(extreme) >= _CLIPPED_MV and _runs_of(x == extreme, max(_CLIPPED_S * rate, 3)) >= _CLIPPED_RUNS
        for extreme in (x.max(), x.min())
    )


def _runs_of(flags: np.ndarray, length: float) -> int:
    """How many runs are as long as that."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return int((edges[1::2] - edges[::2] >= length).sum())


def _slow_and_fast(signal: np.ndarray, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Of each lead of [L, S], the range of what is slow, [L] mV, and the typical size of what is fast, [L] mV.

    Typical is by the median, since QRS complexes are fast too, but take a tenth of the time.
    """
    samples = signal.shape[1]
    spectrum, hertz = np.fft.rfft(signal), np.fft.rfftfreq(samples, 1 / rate)
    slow = np.fft.irfft(np.where(hertz <= _WANDER_HZ, spectrum, 0), samples)
    fast = np.fft.irfft(np.where(hertz >= _NOISE_HZ, spectrum, 0), samples)
    return np.ptp(slow, axis=1), 1.4826 * np.median(np.abs(fast), axis=1)


def _electrodes(signal: dict[str, np.ndarray], size: dict[str, float]) -> Iterator[str]:
    """Signs that limb electrodes are not where they belong (Rosen et al., Cleve Clin J Med 2014)."""
    if {"I", "II", "III"} <= set(signal):
        left = signal["I"] + signal["III"] - signal["II"]
        whole = np.sqrt(np.mean([signal[lead].var() for lead in LIMB[:3]]))
        if left.std() > _MISFIT * whole:
            yield "I, II and III do not fit together (I + III is not II): leads mixed up, or not recorded at one time"
    limbs = [lead for lead in ("I", "II", "III") if lead in signal]
    for lead in limbs:
        if len(limbs) > 1 and size[lead] < 0.1 < 0.5 < max(size[other] for other in limbs):
            yield f"{lead} is all but flat: an arm and the right leg swapped? (suspected)"
    left_chest = next((lead for lead in ("V6", "V5") if lead in signal), None)
    if "I" in signal and left_chest and size["I"] > 0.3 and size[left_chest] > 0.3:
        correlation = float(np.corrcoef(signal["I"], signal[left_chest])[0, 1])
        if correlation < _OPPOSITE:
            yield f"I is {left_chest} upside down: arms swapped? (suspected; or the heart lies on the right)"
