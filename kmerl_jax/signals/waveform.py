"""The ECG as an array: repair, resampling, 10 s windows, and the integers that a store keeps."""

import dataclasses
from collections import Counter
from fractions import Fraction

import numpy as np

from kmerl_jax.signals import leads

RATE = 500  # Hz of every stored window
SEGMENT = 100  # samples of one token: 0.2 s of one lead (paper, section 2.2 and figure 7)
SEGMENTS = 50  # segments of a full window
SAMPLES = SEGMENT * SEGMENTS  # 10 s

RATES = (50.0, 20_000.0)  # Hz: below, no QRS complex is left; above, no ECG is recorded
SHORT_GAP_S = 0.2  # the longest run of missing samples that is interpolated: one token
FLAT_MV = 0.01  # a lead whose whole range is below 10 µV records nothing
MAX_MV = np.iinfo(np.int16).max / 1000  # what int16 holds at 1 µV
SHORTEST_WINDOW_S = 2.0  # a remainder shorter than this after the last full window is left out


@dataclasses.dataclass(frozen=True)
class Ecg:
    """A recording.

    Attributes:
        signal: [L, S] float32, millivolts; NaN where a sample is missing.
        leads: L names in standard spelling.
        rate: samples per second.
        left_out: channels of the file that are none of the 12 leads.
    """

    signal: np.ndarray
    leads: tuple[str, ...]
    rate: float
    left_out: tuple[str, ...] = ()

    def __post_init__(self):
        signal = np.asarray(self.signal)
        if signal.ndim != 2 or len(signal) != len(self.leads):
            raise ValueError(f"signal of shape {signal.shape} for {len(self.leads)} leads; expected [leads, samples]")
        unknown = [name for name in self.leads if name not in leads.STANDARD]
        if unknown or len(set(self.leads)) != len(self.leads):
            raise ValueError(f"leads {self.leads} are not distinct names out of {' '.join(leads.STANDARD)}")
        if not RATES[0] <= self.rate <= RATES[1]:
            raise ValueError(f"rate {self.rate:g} Hz is not an ECG's ({RATES[0]:g} to {RATES[1]:,g} Hz)")
        object.__setattr__(self, "signal", np.asarray(signal, np.float32))

    @property
    def seconds(self) -> float:
        """Length of the recording."""
        return self.signal.shape[1] / self.rate


def windows(ecg: Ecg) -> list[Ecg]:
    """Consecutive windows of 10 s at the recording's own rate; the last may be shorter.

    A remainder under `SHORTEST_WINDOW_S` is left out, unless it is the whole recording.
    """
    length = round(SAMPLES / RATE * ecg.rate)
    starts = range(0, max(ecg.signal.shape[1], 1), length)
    parts = [dataclasses.replace(ecg, signal=ecg.signal[:, start : start + length]) for start in starts]
    return [part for n, part in enumerate(parts) if n == 0 or part.seconds >= SHORTEST_WINDOW_S]


def repair(ecg: Ecg) -> tuple[Ecg, Counter]:
    """Fills short gaps by interpolation and drops the leads that hold no signal.

    A run of NaN or infinity of at most `SHORT_GAP_S` is interpolated linearly (held constant at the ends). A lead with
    a longer run, and a lead whose range is below `FLAT_MV`, is removed: an absent lead, not a lead of zeros.

    Returns:
        The repaired ECG, and counts under "samples interpolated", "leads with a long gap", "flat leads".
    """
    counts, kept, rows = Counter(), [], []
    for name, row in zip(ecg.leads, ecg.signal, strict=True):
        bad = ~np.isfinite(row)
        if bad.any():
            if bad.all() or longest_run(bad) > SHORT_GAP_S * ecg.rate:
                counts["leads with a long gap"] += 1
                continue
            good = np.flatnonzero(~bad)
            row = np.where(bad, np.interp(np.arange(len(row)), good, row[good]), row)
            counts["samples interpolated"] += int(bad.sum())
        if row.size == 0 or np.ptp(row) < FLAT_MV:
            counts["flat leads"] += 1
            continue
        kept.append(name)
        rows.append(row)
    signal = np.stack(rows) if rows else np.zeros((0, ecg.signal.shape[1]), np.float32)
    return dataclasses.replace(ecg, signal=signal, leads=tuple(kept)), counts


def longest_run(flags: np.ndarray) -> int:
    """Length of the longest run of true values in [S]."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return int((edges[1::2] - edges[::2]).max(initial=0))


def resample(ecg: Ecg, rate: float = RATE) -> Ecg:
    """The ECG at another rate, by polyphase filtering (scipy.signal.resample_poly)."""
    if ecg.rate == rate:
        return ecg
    # Here, because it takes a second that most commands and workers need not wait for.
    import scipy.signal

    ratio = Fraction(rate / ecg.rate).limit_denominator(1000)
    # Extending the ends along a line keeps an offset from ringing at the borders.
    signal = scipy.signal.resample_poly(ecg.signal, ratio.numerator, ratio.denominator, axis=1, padtype="line")
    return dataclasses.replace(ecg, signal=signal, rate=rate)


@dataclasses.dataclass(frozen=True)
class Window:
    """What a store keeps of up to 10 s of ECG.

    Attributes:
        signal: [12, 5000] int16, microvolts, leads in the standard order; zero where there is nothing.
        presence: [12] bool, the leads that were recorded.
        segments: number of whole 0.2 s segments that were recorded, 1 to 50.
    """

    signal: np.ndarray
    presence: np.ndarray
    segments: int


def to_window(ecg: Ecg) -> tuple[Window, Counter]:
    """Repairs, resamples to 500 Hz and quantises one window of at most 10 s.

    Raises:
        ValueError: no lead holds signal, less than one segment was recorded, or the amplitude is beyond ±32.8 mV
            (a wrong gain or unit).
    """
    if ecg.seconds > (SAMPLES + SEGMENT) / RATE:
        raise ValueError(f"a window holds 10 s; this recording has {ecg.seconds:.1f} s: cut it with windows()")
    ecg, counts = repair(ecg)
    if not ecg.leads:
        raise ValueError("no lead holds any signal")
    ecg = resample(ecg)
    # A window of n samples at a rate that 500 does not divide can come back one sample short of a whole segment.
    segments = min(SEGMENTS, int(ecg.signal.shape[1] / SEGMENT + 0.02))
    if segments < 1:
        raise ValueError(f"{ecg.seconds:.2f} s are shorter than one segment of {SEGMENT / RATE} s")
    peak = float(np.abs(ecg.signal).max())
    if peak > MAX_MV:
        raise ValueError(f"amplitude of {peak:.0f} mV is not an ECG's: wrong gain or unit")
    signal = np.zeros((len(leads.STANDARD), SAMPLES), np.int16)
    presence = np.zeros(len(leads.STANDARD), bool)
    rows = list(leads.lead_ids(ecg.leads))
    length = min(ecg.signal.shape[1], segments * SEGMENT)
    signal[rows, :length] = np.rint(ecg.signal[:, :length] * 1000).astype(np.int16)
    presence[rows] = True
    return Window(signal, presence, segments), counts
