"""A simulated heart: the voltages of 12 leads from the waves of one person's heartbeat.

Each wave (P, the parts of QRS, ST, T) is a sum of bumps in time. A bump points somewhere in the three dimensions of the
vectorcardiogram and the leads see it through Dower's lead field. What comes from one region of the wall, as the loss
of R over an infarct, does not fit in one dipole at the heart's centre: it is given per lead, for the leads that lie
over the region. III, aVR, aVL and aVF are computed from I and II and so obey Einthoven and Goldberger exactly.
"""

import dataclasses

import numpy as np

from kmerl_jax.signals import leads
from kmerl_jax.signals.rhythm import CONDUCTED, PACED, PREMATURE, Rhythm
from kmerl_jax.signals.waveform import RATE, SAMPLES

INDEPENDENT = leads.LEAD_SETS["8"]

DOWER = np.array(
    [
        [0.632, -0.235, 0.059],
        [0.235, 1.066, -0.132],
        [-0.515, 0.157, -0.917],
        [0.044, 0.164, -1.387],
        [0.882, 0.098, -1.277],
        [1.213, 0.127, -0.601],
        [1.125, 0.127, -0.086],
        [0.831, 0.076, 0.230],
    ]
)
"""[8, 3] leads I, II, V1 .. V6 from Frank's X (left), Y (foot), Z (back). Dower, Machado & Osborne, Clin Cardiol 1980;
3:87-97: the matrix behind the "inverse Dower" transform."""

TERRITORIES = {
    "inferior": np.array([-0.20, 1.0, 0.0, 0.0, 0.0, 0.0, 0.05, 0.10]),
    "anterior": np.array([0.0, 0.0, 0.6, 1.0, 1.0, 0.7, 0.15, 0.0]),
    "lateral": np.array([0.8, 0.0, 0.0, 0.0, 0.05, 0.35, 0.9, 1.0]),
}
"""[8] weight of a wall's own events in leads I, II, V1 .. V6. The leads that face each wall: Thygesen et al., Fourth
universal definition of myocardial infarction, 2018. An inferior event is -0.2 in I, hence 1.1 in aVF and -0.7 in aVL:
the reciprocal change."""

# Rows for the standard order: III = II - I, aVR = -(I + II) / 2, aVL = I - II / 2, aVF = II - I / 2.
_LIMBS = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 1.0], [-0.5, -0.5], [1.0, -0.5], [-0.5, 1.0]])
_AVF_GAIN = 2 / np.sqrt(3)  # I and aVF are not equally long in Einthoven's triangle
_CANONICAL_AXIS = 60.0  # degrees, of the QRS complex that `_qrs` draws before it is turned
_LEFT_BLOCK_AXIS = 32.0  # of the one that `_left_block` draws

_BEFORE, _AFTER = 0.30, 0.90  # s around the onset of QRS that a template holds
_TIMES = np.arange(-round(_BEFORE * RATE), round(_AFTER * RATE)) / RATE


@dataclasses.dataclass(frozen=True)
class Heart:
    """The numbers that make one person's beat at one time.

    Attributes:
        axis: frontal direction of QRS, degrees; the trace's own axis comes out near it.
        transition: turn of the chest leads' view about the vertical, degrees; positive moves the R/S transition to V1.
        limb_scale, chest_scale: gains of habitus and of the tissue between heart and electrode.
        fine: [8, 4] what no dipole explains: relative deviations of each lead's P, early QRS, late QRS and T.
        p_scale, t_scale: gains of P and T.
        pr_s, qrs_s, qt_s, p_s: durations, seconds.
        block: "none", "right", "left" (bundle branch).
        fascicle: left anterior fascicular block.
        mass: 1 for a normal left ventricle; QRS forces of the free wall grow with it.
        strain_mv: depth of the T wave of a strained left ventricle, lateral.
        infarct: severity, 0 to 1, of the scar of each wall, as {territory: severity}.
        st_mv: shift of the ST segment of each wall.
        t_inversion_mv: depth of the inverted T wave of each wall; walls not named keep their T.
        premature: direction of a premature ventricular complex (X, Y, Z), mV.
        spike: [8] amplitude of the pacing spike.
        breath_hz: breaths per second, which modulate QRS.
        breath_share: by how much breathing changes the amplitude.
    """

    axis: float = 50.0
    transition: float = 0.0
    limb_scale: float = 1.0
    chest_scale: float = 1.0
    fine: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros((8, 4)))
    p_scale: float = 1.0
    t_scale: float = 1.0
    pr_s: float = 0.155
    qrs_s: float = 0.09
    qt_s: float = 0.39
    p_s: float = 0.105
    block: str = "none"
    fascicle: bool = False
    mass: float = 1.0
    strain_mv: float = 0.0
    infarct: dict[str, float] = dataclasses.field(default_factory=dict)
    st_mv: dict[str, float] = dataclasses.field(default_factory=dict)
    t_inversion_mv: dict[str, float] = dataclasses.field(default_factory=dict)
    premature: tuple[float, float, float] = (0.4, 1.0, 0.8)
    spike: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(8))
    breath_hz: float = 0.25
    breath_share: float = 0.03


@dataclasses.dataclass(frozen=True)
class Measurements:
    """What is on the trace of the dominant beat, as a cart would measure it without noise.

    Attributes:
        axis: frontal QRS axis from the net amplitudes (R less the deepest of Q and S) of I and aVF, degrees.
        limb_mv, chest_mv: largest peak-to-peak QRS amplitude of the limb leads and of the chest leads.
        st_mv: [12] level 40 ms after the J point.
        t_mv: [12] level at the peak of T.
        sokolow_lyon_mv: S in V1 + R in V5 or V6 (Sokolow & Lyon 1949: 3.5 mV suggests hypertrophy).
    """

    axis: float
    limb_mv: float
    chest_mv: float
    st_mv: np.ndarray
    t_mv: np.ndarray
    sokolow_lyon_mv: float


def twelve_leads(independent: np.ndarray) -> np.ndarray:
    """[12, S] in the standard order from [8, S] leads I, II, V1 .. V6."""
    return np.concatenate([_LIMBS @ independent[:2], independent[2:]])


def voltages(heart: Heart, rhythm: Rhythm, rng: np.random.Generator) -> np.ndarray:
    """[8, 5000] millivolts of leads I, II, V1 .. V6 without noise; `rng` draws fibrillatory waves and small changes."""
    signal = np.zeros((8, SAMPLES + 2 * len(_TIMES)))
    for ectopic in (False, True):
        _add(signal, _render(_p(heart, ectopic)), rhythm.p[rhythm.p_ectopic == ectopic])
    bumps = {CONDUCTED: _beat, PREMATURE: _premature, PACED: _paced}
    for origin, draw in bumps.items():
        times = rhythm.qrs[rhythm.origin == origin]
        if len(times):
            gains = 1 + heart.breath_share * np.sin(2 * np.pi * heart.breath_hz * times)
            _add(signal, _render(draw(heart)), times, gains * (1 + 0.015 * rng.standard_normal(len(times))))
    signal = signal[:, len(_TIMES) : -len(_TIMES)]
    if rhythm.name == "ventricular pacing":
        at = np.rint((rhythm.qrs - 0.006) * RATE).astype(int)
        at = at[(at >= 0) & (at < SAMPLES - 1)]
        # A pacemaker's pulse lasts 0.5 ms; the recorder's low-pass filter leaves one or two samples of it.
        signal[:, at] += heart.spike[:, None]
        signal[:, at + 1] += 0.35 * heart.spike[:, None]
    elif rhythm.name == "atrial fibrillation":
        signal += _fibrillatory(rhythm.atrial_hz, heart.p_scale, rng)
    elif rhythm.name == "atrial flutter":
        signal += _sawtooth(rhythm, heart.p_scale)
    return signal


def measure(heart: Heart) -> Measurements:
    """Measures the conducted beat."""
    qrs = twelve_leads(_render(_qrs(heart)))
    beat = twelve_leads(_render(_beat(heart)))
    high, low = qrs.max(axis=1), qrs.min(axis=1)
    net = high + low
    i, avf = leads.lead_ids(("I", "aVF"))
    v1, v5, v6 = leads.lead_ids(("V1", "V5", "V6"))
    st = beat[:, _index(heart.qrs_s + 0.04)]
    return Measurements(
        axis=float(np.degrees(np.arctan2(_AVF_GAIN * net[avf], net[i]))),
        limb_mv=float((high - low)[:6].max()),
        chest_mv=float((high - low)[6:].max()),
        st_mv=st,
        t_mv=beat[:, _index(_t_peak(heart))],
        sokolow_lyon_mv=float(max(high[v5], high[v6]) - low[v1]),
    )


def _index(seconds: float) -> int:
    return round((_BEFORE + seconds) * RATE)


# A bump is (peak, rise, fall, amplitudes): seconds from the onset of its wave, standard deviations of its two flanks,
# and [8] millivolts.


def _render(bumps: list[tuple[float, float, float, np.ndarray]]) -> np.ndarray:
    """[8, T] the sum of bumps over a template's time."""
    peak, rise, fall = (np.array([bump[n] for bump in bumps])[:, None] for n in range(3))
    away = _TIMES - peak
    shapes = np.exp(-0.5 * (away / np.where(away < 0, rise, fall)) ** 2)
    return np.stack([bump[3] for bump in bumps], axis=1) @ shapes


def _add(signal: np.ndarray, template: np.ndarray, times: np.ndarray, gains: np.ndarray | None = None) -> None:
    """Adds the template at each onset, in place; `signal` has a template's length of margin at both ends."""
    starts = np.rint((times - _BEFORE) * RATE).astype(int) + template.shape[1]
    gains = np.ones(len(times)) if gains is None else gains
    for start, gain in zip(starts, gains, strict=True):
        if 0 <= start <= signal.shape[1] - template.shape[1]:
            signal[:, start : start + template.shape[1]] += gain * template


def _see(heart: Heart, vector: tuple[float, float, float], part: int, turn: float) -> np.ndarray:
    """[8] what the leads see of a dipole.

    Frontal axis and chest transition vary almost independently between people, which one rigid dipole in a fixed lead
    field cannot do: the limb leads see it turned in the frontal plane and the chest leads turned about the vertical.

    Args:
        heart: axis, transition, gains and `fine`.
        vector: X, Y, Z in mV.
        part: column of `heart.fine`: 0 P, 1 early QRS, 2 late QRS, 3 T.
        turn: share of the frontal turn that this wave takes part in.
    """
    i, ii = DOWER[:2] @ vector
    avf = _AVF_GAIN * (ii - i / 2)
    angle = np.radians(turn * (heart.axis - _CANONICAL_AXIS))
    i, avf = i * np.cos(angle) - avf * np.sin(angle), i * np.sin(angle) + avf * np.cos(angle)
    limbs = heart.limb_scale * np.array([i, avf / _AVF_GAIN + i / 2])
    angle = np.radians(heart.transition)
    x, y, z = vector
    x, z = x * np.cos(angle) + z * np.sin(angle), z * np.cos(angle) - x * np.sin(angle)
    chest = heart.chest_scale * (DOWER[2:] @ (x, y, z))
    return np.concatenate([limbs, chest]) * (1 + heart.fine[:, part])


def _p(heart: Heart, ectopic: bool) -> list:
    """Right atrium, forward, then left atrium, backward: V1 is biphasic. An ectopic focus starts low in the atrium."""
    right, left = (0.045, 0.075, -0.055), (0.075, 0.055, 0.050)
    if ectopic:
        right, left = (0.035, -0.060, -0.02), (0.020, -0.030, 0.02)
    width = 0.19 * heart.p_s
    return [
        (share * heart.p_s, width, width, heart.p_scale * _see(heart, vector, 0, 0.15))
        for share, vector in ((0.36, right), (0.66, left))
    ]


def _qrs(heart: Heart) -> list:
    """The ventricles: septum, anterior wall, free wall of the left one, base (Durrer et al., Circulation 1970)."""
    if heart.block == "left":
        return _left_block(heart)
    # A right bundle branch block leaves the left ventricle's activation as it is; the right one's follows it.
    scale = (0.086 if heart.block == "right" else heart.qrs_s) / 0.09
    mass = heart.mass
    early = [
        (0.014, 0.0065, 0.0075, _see(heart, (-0.12, -0.03, -0.20), 1, 0.35)),
        (0.025, 0.0075, 0.0085, _see(heart, (0.20, 0.15, -0.34), 1, 0.7)),
        (0.040, 0.0085, 0.0085, _see(heart, (0.90 * mass, 0.66 * mass, 0.26 * mass), 2, 1.0)),
    ]
    late = [
        (0.057, 0.0095, 0.0100, _see(heart, (0.11 * mass, 0.08 * mass, 0.86 * mass), 2, 1.0)),
        (0.074, 0.0075, 0.0080, _see(heart, (-0.14, -0.09, 0.06), 2, 0.6)),
    ]
    if heart.fascicle:
        # The left ventricle starts at its lower right and ends at its upper left (Rosenbaum): small q in I and aVL,
        # small r in II, III, aVF, and a late peak of R in aVL.
        early[0] = (0.016, 0.0075, 0.0075, early[0][3] + heart.limb_scale * np.array([-0.10, 0.16, 0, 0, 0, 0, 0, 0]))
        early[2] = (0.047, *early[2][1:])
        # The forces that end at the upper left are late in V5 and V6 too: S waves there.
        late[1] = (
            0.076,
            0.009,
            0.009,
            0.3 * late[1][3] + heart.chest_scale * np.array([0, 0, 0, 0, 0, -0.1, -0.28, -0.30]),
        )
    if heart.block == "right":
        # The right ventricle's late forces begin before the left one's end and take away from the S of V1 and V2.
        late[0] = (*late[0][:3], late[0][3] * np.array([1, 1, 0.35, 0.45, 0.7, 0.9, 1, 1]))
    early = [_scarred(heart, bump) for bump in early]
    bumps = [(scale * peak, scale * rise, scale * fall, seen) for peak, rise, fall, seen in early + late]
    for territory, severity in heart.infarct.items():
        depth = {"inferior": 0.40, "anterior": 0.55, "lateral": 0.38}[territory] * severity
        gain = heart.chest_scale if territory == "anterior" else heart.limb_scale
        # The dead wall no longer balances the opposite one: initial forces point away from it, for 30 ms and more.
        bumps.append((scale * 0.021, 0.010, 0.011, -depth * gain * TERRITORIES[territory]))
    if heart.block == "right":
        peak = heart.qrs_s - 0.034
        terminal = _see(heart, (-0.38, 0.03, -0.58), 2, 0.0)
        bumps.append((peak, 0.016, 0.017, terminal))
        # Slurring of the end: the S of I and V6 is broad rather than deep.
        bumps.append((peak + 0.018, 0.012, 0.009, 0.35 * terminal))
    return bumps


def _scarred(heart: Heart, bump: tuple) -> tuple:
    """Dead muscle makes no R: a wall's scar shrinks the positive forces of the leads that face it."""
    peak, rise, fall, seen = bump
    kept = np.ones(8)
    for territory, severity in heart.infarct.items():
        most = {"inferior": 0.35, "anterior": 0.95, "lateral": 0.55}[territory]
        kept *= 1 - most * severity * np.clip(TERRITORIES[territory], 0, 1)
    return peak, rise, fall, np.where(seen > 0, seen * kept, seen)


def _left_block(heart: Heart) -> list:
    """No septal q; slow, notched spread to the left and back."""
    stretch = heart.qrs_s / 0.145
    heart = _turn_block(heart)
    gains = heart.mass**0.5 * np.array([1.55, 1.55, 1, 1, 1, 1, 1, 1])
    # Where the left ventricle is activated from the right, the frontal turn acts on the whole complex.
    parts = (
        (0.026, 0.011, 0.012, (0.26, 0.16, 0.06), 1),
        (0.052, 0.014, 0.012, (0.72, 0.36, 0.80), 2),
        (0.073, 0.012, 0.012, (0.08, 0.05, 0.42), 2),  # only the leads from the left show the notch
        (0.093, 0.017, 0.016, (0.74, 0.34, 0.96), 2),
        (0.118, 0.014, 0.012, (0.30, 0.10, 0.22), 2),
    )
    return [
        (stretch * peak, stretch * rise, stretch * fall, gains * _see(heart, vector, part, 1.0))
        for peak, rise, fall, vector, part in parts
    ]


def _turn_block(heart: Heart) -> Heart:
    """The heart whose turn brings the complex of a left bundle branch block to `heart.axis`."""
    return dataclasses.replace(heart, axis=heart.axis + _CANONICAL_AXIS - _LEFT_BLOCK_AXIS)


def _t_peak(heart: Heart) -> float:
    """Peak of T from the onset of QRS, seconds: the end of T is where its tangent meets the base line."""
    return heart.qt_s - 2.1 * _t_widths(heart)[1]


def _t_widths(heart: Heart) -> tuple[float, float]:
    span = heart.qt_s - heart.qrs_s
    return 0.175 * span, 0.115 * span


def _beat(heart: Heart) -> list:
    """QRS, ST and T of a conducted beat."""
    peak, (rise, fall) = _t_peak(heart), _t_widths(heart)
    t = heart.t_scale * _see(heart, (0.31, 0.19, -0.16), 3, 0.4)
    st = np.zeros(8)
    if heart.block == "left":
        # ST and T point away from a left bundle branch block's QRS (secondary changes).
        away = _see(_turn_block(heart), (-0.32, -0.10, -0.46), 3, 0.8)
        st, t = 0.28 * away, 0.25 * t + away
    elif heart.block == "right":
        # Secondary: T is negative where the late R is, in V1 and V2.
        t = t + heart.t_scale * heart.chest_scale * np.array([0, 0, -0.28, -0.30, -0.10, 0, 0.02, 0.02])
    if heart.strain_mv and heart.block == "none":
        weight = np.clip(TERRITORIES["lateral"], 0, 1)
        t = t * (1 - weight) - heart.strain_mv * weight
        st = st - 0.4 * heart.strain_mv * weight
    for territory, depth in heart.t_inversion_mv.items():
        weight = np.clip(TERRITORIES[territory], 0, 1)
        t = t * (1 - weight) - depth * weight
    for territory, level in heart.st_mv.items():
        st = st + level * TERRITORIES[territory]
    # The segment: a shoulder that rises as QRS ends and has gone where T falls.
    start, width = heart.qrs_s + 0.035, 0.32 * (peak - heart.qrs_s)
    return [*_qrs(heart), (start, 0.020, max(width, 0.03), st), (peak, rise, fall, t)]


def _premature(heart: Heart) -> list:
    """A premature ventricular complex: wide, bizarre, with ST and T against it."""
    direction = np.array(heart.premature)
    across = np.array([direction[1], -direction[0], direction[2]]) * 0.35
    return [
        (0.028, 0.013, 0.015, _see(heart, tuple(0.35 * direction + across), 1, 0.0)),
        (0.066, 0.021, 0.022, _see(heart, tuple(direction), 2, 0.0)),
        (0.115, 0.019, 0.020, _see(heart, tuple(0.40 * direction - 0.8 * across), 2, 0.0)),
        (0.210, 0.050, 0.050, _see(heart, tuple(-0.16 * direction), 3, 0.0)),
        (0.315, 0.058, 0.045, _see(heart, tuple(-0.42 * direction), 3, 0.0)),
    ]


def _paced(heart: Heart) -> list:
    """Pacing at the apex of the right ventricle: like a left bundle branch block with the axis up and to the left."""
    turned = dataclasses.replace(heart, axis=_CANONICAL_AXIS, fine=0.6 * heart.fine)
    up = np.clip((heart.axis - 50) / 60, -0.5, 0.5)  # the electrode's place differs between people
    stretch = heart.qrs_s / 0.16
    parts = (
        (0.030, 0.013, 0.015, (0.26, -0.30 + 0.2 * up, 0.25), 1),
        (0.064, 0.018, 0.020, (0.48, -0.72 + 0.5 * up, 0.70), 2),
        (0.105, 0.021, 0.022, (0.40, -0.66 + 0.6 * up, 0.72), 2),
    )
    bumps = [
        (stretch * at, stretch * rise, stretch * fall, _see(turned, v, part, 0)) for at, rise, fall, v, part in parts
    ]
    away = _see(turned, (-0.26, 0.34 - 0.2 * up, -0.40), 3, 0.0)
    peak, (rise, fall) = _t_peak(heart), _t_widths(heart)
    return [*bumps, (heart.qrs_s + 0.035, 0.025, 0.07, 0.25 * away), (peak, rise, fall, away)]


def _fibrillatory(atrial_hz: float, scale: float, rng: np.random.Generator) -> np.ndarray:
    """[8, 5000] fibrillatory waves: a few wavelets whose rate and size wander, largest in V1, then II."""
    times = np.arange(SAMPLES) / RATE
    hertz = atrial_hz * rng.normal(1, 0.10, (5, 1))
    wobble = rng.uniform(0.4, 1.4, (5, 1)) * np.sin(2 * np.pi * rng.uniform(0.2, 0.7, (5, 1)) * times)
    swell = 1 + 0.5 * np.sin(2 * np.pi * rng.uniform(0.1, 0.5, (5, 1)) * times + rng.uniform(0, 6.3, (5, 1)))
    waves = swell * np.sin(2 * np.pi * hertz * times + wobble + rng.uniform(0, 6.3, (5, 1)))
    size = 0.021 * scale * np.array([0.4, 0.8, 1.7, 0.8, 0.5, 0.35, 0.3, 0.3])
    return size[:, None] * (rng.standard_normal((8, 5)) @ waves)


def _sawtooth(rhythm: Rhythm, scale: float) -> np.ndarray:
    """[8, 5000] flutter waves: down slowly and up fast in II, III and aVF, a small upright wave in V1.

    Typical, counterclockwise flutter (Surawicz & Knilans). The waves are locked to the conducted beats.
    """
    phase = ((np.arange(SAMPLES) / RATE - rhythm.qrs[0]) * rhythm.atrial_hz + 0.35) % 1.0
    saw = np.interp(phase, [0.0, 0.62, 0.78, 1.0], [0.45, -1.0, -0.55, 0.45])
    upright = np.exp(-0.5 * ((phase - 0.75) / 0.13) ** 2) - 0.32
    size = scale * np.array([0.02, 0.17, 0.0, 0.02, 0.02, 0.02, 0.04, 0.05])
    signal = size[:, None] * saw
    signal[2] += 0.13 * scale * upright
    signal[3] += 0.06 * scale * upright
    return signal
