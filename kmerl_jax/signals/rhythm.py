"""When a simulated heart beats: times of P waves, QRS complexes and pacing spikes over a 10 s recording.

Times are seconds from the start of the recording. They run from before it to after its end, so that waves cut by the
two borders are there. Every function is a pure function of its numbers and of the generator it is given.
"""

import dataclasses

import numpy as np

SECONDS = 10.0
_START, _STOP = -1.6, SECONDS + 2.0  # s: a whole slow beat before, and after what premature beats move forward

CONDUCTED, PREMATURE, PACED = 0, 1, 2  # how a QRS complex arose: through the AV node, in the ventricle, by a pacemaker


@dataclasses.dataclass(frozen=True)
class Rhythm:
    """Times of every wave.

    Attributes:
        name: "sinus", "atrial fibrillation", "atrial flutter" or "ventricular pacing".
        p: [P] onsets of P waves.
        p_ectopic: [P] bool, P waves that do not come from the sinus node.
        qrs: [N] onsets of QRS complexes, ascending.
        origin: [N] `CONDUCTED`, `PREMATURE` or `PACED`.
        atrial_hz: fibrillatory or flutter waves per second; 0 where there are P waves or nothing.
        pr_s: PR interval (AV delay of a pacemaker) of beats that follow P waves, seconds; 0 where beats follow none.
    """

    name: str
    p: np.ndarray
    p_ectopic: np.ndarray
    qrs: np.ndarray
    origin: np.ndarray
    atrial_hz: float = 0.0
    pr_s: float = 0.0

    @property
    def inside(self) -> np.ndarray:
        """[N] bool, QRS complexes that can be seen: those that start and end within the recording."""
        return (self.qrs >= 0) & (self.qrs < SECONDS - 0.15)

    @property
    def rr_s(self) -> float:
        """Mean RR interval of the complexes inside the recording, seconds."""
        return float(np.diff(self.qrs[self.inside]).mean())

    def count(self, origin: int) -> int:
        """Number of complexes of an origin inside the recording."""
        return int((self.inside & (self.origin == origin)).sum())

    @property
    def ectopic_p(self) -> int:
        """Number of ectopic P waves inside the recording, their QRS complex included."""
        return int((self.p_ectopic & (self.p >= 0) & (self.p < SECONDS - 0.4)).sum())

    @property
    def bigeminy(self) -> bool:
        """Whether every other complex is a premature ventricular one, for at least three pairs in a row."""
        origin = self.origin[self.inside]
        alternates = (origin[1:] + origin[:-1]) == CONDUCTED + PREMATURE
        longest = run = 0
        for pair in alternates:
            run = run + 1 if pair else 0
            longest = max(longest, run)
        return longest >= 5  # six complexes: three pairs

    @property
    def pp_range_s(self) -> float:
        """Longest minus shortest interval between consecutive sinus P waves inside the recording, seconds."""
        inside = (self.p >= 0) & (self.p < SECONDS)
        intervals = np.diff(self.p[inside])
        # An interval next to an ectopic P wave says nothing of the sinus node.
        ectopic = self.p_ectopic[inside]
        intervals = intervals[~(ectopic[1:] | ectopic[:-1])]
        return float(np.ptp(intervals)) if len(intervals) > 1 else 0.0


def sinus_p(rate: float, breathing_s: float, jitter_s: float, breath_hz: float, rng: np.random.Generator) -> np.ndarray:
    """Onsets of P waves from the sinus node.

    Args:
        rate: beats per minute.
        breathing_s: amplitude of the respiratory change of the PP interval (half its range), seconds.
        jitter_s: standard deviation of what remains of the variability from beat to beat, seconds.
        breath_hz: breaths per second.
        rng: draws the phase, the breathing and the jitter.
    """
    phase = rng.uniform(0, 2 * np.pi)
    time = _START - rng.uniform(0, 60 / rate)
    times = []
    while time < _STOP:
        times.append(time)
        step = 60 / rate + breathing_s * np.sin(2 * np.pi * breath_hz * time + phase) + jitter_s * rng.standard_normal()
        time += max(step, 0.3)
    return np.array(times)


def conducted(p: np.ndarray, pr_s: float) -> Rhythm:
    """Sinus rhythm in which each P wave is followed by a QRS complex after `pr_s`."""
    return Rhythm("sinus", p, np.zeros(len(p), bool), p + pr_s, np.full(len(p), CONDUCTED), pr_s=pr_s)


def add_premature_atrial(rhythm: Rhythm, count: int, early: float, rng: np.random.Generator) -> Rhythm:
    """Sinus rhythm with premature atrial complexes.

    The ectopic P wave resets the sinus node, so the pause after it is less than compensatory: what follows moves
    earlier (Surawicz & Knilans, Chou's Electrocardiography, 6th ed. 2008).

    Args:
        rhythm: from `conducted`.
        count: premature complexes wanted inside the recording.
        early: the coupling interval as a fraction of the PP interval.
        rng: draws which beats are premature.
    """
    p = rhythm.p.copy()
    ectopic = np.zeros(len(p), bool)
    candidates = np.flatnonzero((p > 0.6) & (p < SECONDS - 1.2))[::2]  # never two in a row
    for n in sorted(rng.permutation(candidates)[:count]):
        interval = p[n] - p[n - 1]
        p[n:] -= (1 - early) * interval
        p[n + 1 :] += 0.08 * interval  # the node needs a little time to recover
        ectopic[n] = True
    return dataclasses.replace(rhythm, p=p, p_ectopic=ectopic, qrs=p + rhythm.pr_s)


def add_premature_ventricular(
    rhythm: Rhythm, count: int, bigeminy: bool, early: float, rng: np.random.Generator
) -> Rhythm:
    """A rhythm with premature ventricular complexes, each in the place of the conducted complex that it forestalls.

    The sinus node goes on undisturbed: the P wave after the premature complex is not conducted and the next one is on
    time, which makes the pause fully compensatory (Surawicz & Knilans). In bigeminy every second complex is
    premature.
    """
    qrs, origin = rhythm.qrs.copy(), rhythm.origin.copy()
    if bigeminy:
        chosen = np.arange(1 + int(rng.integers(2)), len(qrs), 2)
    else:
        chosen = rng.permutation(np.flatnonzero((qrs > 0.6) & (qrs < SECONDS - 0.6))[::2])[:count]
    for n in chosen:
        interval = qrs[n] - qrs[n - 1]
        qrs[n] = qrs[n - 1] + max(early * interval * rng.normal(1, 0.02), 0.34)
        origin[n] = PREMATURE
    ascending = np.argsort(qrs, kind="stable")
    return dataclasses.replace(rhythm, qrs=qrs[ascending], origin=origin[ascending])


def fibrillation(rate: float, irregularity: float, atrial_hz: float, rng: np.random.Generator) -> Rhythm:
    """Atrial fibrillation: no P waves, RR intervals without a pattern.

    Args:
        rate: mean ventricular rate, per minute.
        irregularity: coefficient of variation of the RR interval.
        atrial_hz: fibrillatory waves per second.
        rng: draws the intervals, log-normal and independent of each other.
    """
    n = int((_STOP - _START) * rate / 60 * 1.6) + 4
    spread = np.sqrt(np.log1p(irregularity**2))
    intervals = np.maximum(60 / rate * np.exp(spread * rng.standard_normal(n) - spread**2 / 2), 0.30)
    qrs = _START - rng.uniform(0, 60 / rate) + np.cumsum(intervals)
    qrs = qrs[qrs < _STOP]
    none = np.zeros(0)
    return Rhythm("atrial fibrillation", none, none.astype(bool), qrs, np.full(len(qrs), CONDUCTED), atrial_hz)


def flutter(atrial_hz: float, ratios: tuple[int, ...], rng: np.random.Generator) -> Rhythm:
    """Atrial flutter: `atrial_hz` waves per second, of which one in `ratios` (drawn at each beat) is conducted."""
    waves = np.cumsum(rng.choice(ratios, size=int((_STOP - _START) * atrial_hz) + 2))
    qrs = _START - rng.uniform(0, 1) / atrial_hz + waves / atrial_hz + 0.004 * rng.standard_normal(len(waves))
    qrs = qrs[qrs < _STOP]
    none = np.zeros(0)
    return Rhythm("atrial flutter", none, none.astype(bool), qrs, np.full(len(qrs), CONDUCTED), atrial_hz)


def paced(rate: float, tracks: bool, av_s: float, jitter_s: float, rng: np.random.Generator) -> Rhythm:
    """Ventricular pacing.

    Args:
        rate: beats per minute.
        tracks: the pacemaker follows sinus P waves after `av_s` (VDD, DDD); otherwise it goes by its own clock (VVI)
            and P waves drift past it.
        av_s: AV delay, seconds.
        jitter_s: variability of the sinus node, seconds.
        rng: draws the P waves and the phase.
    """
    p = sinus_p(rate if tracks else rate * rng.uniform(1.05, 1.3), 0.01, jitter_s, 0.25, rng)
    qrs = p + av_s if tracks else np.arange(_START - rng.uniform(0, 60 / rate), _STOP, 60 / rate)
    return Rhythm("ventricular pacing", p, np.zeros(len(p), bool), qrs, np.full(len(qrs), PACED), pr_s=tracks * av_s)
