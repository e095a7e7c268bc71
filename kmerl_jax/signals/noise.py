"""What an ECG machine records beside the heart: baseline wander, mains, muscle, electrode motion.

Disturbances arise at the electrodes. A lead is a difference of electrodes, so one bad arm electrode shows in all leads
that use it, and the identities between the limb leads hold for noise as they do for the heart.
"""

import dataclasses

import numpy as np
import scipy.signal

from kmerl_jax.signals.waveform import RATE, SAMPLES

ELECTRODES = ("RA", "LA", "LL", "V1", "V2", "V3", "V4", "V5", "V6")
"""The electrodes between which leads are measured; the right leg only grounds."""

_LEADS = np.zeros((8, 9))  # I, II, V1 .. V6 from the electrodes; chest leads against the mean of the limbs (Wilson)
_LEADS[0, [0, 1]] = -1, 1
_LEADS[1, [0, 2]] = -1, 1
_LEADS[2:, :3] = -1 / 3
_LEADS[2:, 3:] = np.eye(6)

_MUSCLE = scipy.signal.butter(2, (20, 120), "bandpass", fs=RATE)  # Hz: where surface EMG has its power


@dataclasses.dataclass(frozen=True)
class Disturbance:
    """How strong each disturbance is, as root-mean-square millivolts at an electrode.

    Attributes:
        wander_mv: [9] slow drift, below 0.6 Hz.
        muscle_mv: [9] EMG.
        mains_mv: [9] hum.
        mains_hz: 50 or 60.
        amplifier_mv: white noise of the amplifier, the same at all electrodes.
        breath_hz: breaths per second; a part of the wander follows them.
        motion_mv: size of a jump of one electrode's potential; 0 for none.
        motion_electrode: index of the electrode that moves.
        motion_s: when it jumps.
    """

    wander_mv: np.ndarray
    muscle_mv: np.ndarray
    mains_mv: np.ndarray
    mains_hz: float
    amplifier_mv: float
    breath_hz: float
    motion_mv: float = 0.0
    motion_electrode: int = 0
    motion_s: float = 0.0


def record(disturbance: Disturbance, rng: np.random.Generator) -> np.ndarray:
    """[8, 5000] millivolts of noise in leads I, II, V1 .. V6."""
    times = np.arange(SAMPLES) / RATE
    # Skin potential and breathing: slow sinusoids with phases of their own at each electrode.
    hertz = np.concatenate([[0.05, 0.11, 0.19], [disturbance.breath_hz], rng.uniform(0.3, 0.6, 1)])
    share = np.array([0.8, 0.6, 0.4, 0.6, 0.25])
    angles = 2 * np.pi * hertz[:, None] * times
    weights = rng.standard_normal((2, 9, len(hertz))) * share * disturbance.wander_mv[:, None]
    noise = weights[0] @ np.sin(angles) + weights[1] @ np.cos(angles)

    muscle = scipy.signal.lfilter(*_MUSCLE, rng.standard_normal((9, SAMPLES)), axis=1)
    muscle /= muscle.std(axis=1, keepdims=True)
    # A muscle tenses and relaxes: its activity comes and goes within the recording.
    effort = 1 + 0.6 * np.sin(2 * np.pi * rng.uniform(0.05, 0.3, (9, 1)) * times + rng.uniform(0, 2 * np.pi, (9, 1)))
    noise += disturbance.muscle_mv[:, None] * effort * muscle

    hum = np.sin(2 * np.pi * disturbance.mains_hz * times + rng.uniform(0, 2 * np.pi))
    noise += np.sqrt(2) * disturbance.mains_mv[:, None] * hum
    if disturbance.motion_mv:
        since = np.maximum(times - disturbance.motion_s, 0)
        jump = (1 - np.exp(-since / 0.05)) * np.exp(-since / 0.8)
        noise[disturbance.motion_electrode] += disturbance.motion_mv * jump
    return _LEADS @ noise + disturbance.amplifier_mv * rng.standard_normal((8, SAMPLES))
