"""The simulated population: which findings there are, and every number that patients are drawn from."""

import dataclasses

FINDINGS = (
    "sinus rhythm",
    "sinus bradycardia",
    "sinus tachycardia",
    "sinus arrhythmia",
    "atrial fibrillation",
    "atrial flutter",
    "premature atrial complex",
    "premature ventricular complex",
    "ventricular bigeminy",
    "first degree av block",
    "right bundle branch block",
    "left bundle branch block",
    "left anterior fascicular block",
    "left ventricular hypertrophy",
    "inferior myocardial infarction",
    "anterior myocardial infarction",
    "lateral myocardial infarction",
    "st elevation",
    "st depression",
    "t wave inversion",
    "prolonged qt interval",
    "low qrs voltage",
    "left axis deviation",
    "right axis deviation",
    "ventricular pacing",
    "normal ecg",
)
"""Classes of the truth. One of sinus rhythm (60 to 100 per minute), bradycardia and tachycardia holds in sinus rhythm,
except that sinus arrhythmia takes the place of "sinus rhythm", as in a cart's rhythm line."""

HELD_OUT = ("ventricular bigeminy", "lateral myocardial infarction", "left anterior fascicular block")
"""Findings that are simulated and in the truth, but that no report mentions in any wording."""

Spread = tuple[float, float, float, float]  # mean, standard deviation, lowest, highest: a normal, drawn again outside


@dataclasses.dataclass(frozen=True)
class Population:
    """Every number that a simulated patient, heart, rhythm or disturbance is drawn from.

    Chosen once, from the literature and from prevalences that leave 480 test records enough cases of each class; not
    fitted to any model. Sources: Rijnbeek et al., J Electrocardiol 2014;47:914 (normal limits, ages 16 to 90);
    AHA/ACCF/HRS Recommendations for the standardization and interpretation of the ECG, parts III to VI, Circulation
    2009;119:e235-e270; Surawicz & Knilans, Chou's Electrocardiography in Clinical Practice, 6th ed. 2008; Thygesen et
    al., Fourth universal definition of myocardial infarction, Circulation 2018;138:e618. Rates are per minute,
    durations in seconds, axes in degrees, amplitudes in millivolts, shares and gains without unit.
    """

    # Patients and their visits.
    visits: tuple[float, ...] = (0.5, 0.3, 0.2)  # share of patients with 1, 2, 3 records
    healthy: float = 0.22  # no lasting disease of the heart

    # Lasting disease, among patients who are not healthy. One conduction state each.
    conduction: dict[str, float] = dataclasses.field(
        default_factory=lambda: {
            "none": 0.62,
            "right": 0.115,
            "left": 0.135,
            "fascicle": 0.095,
            "right and fascicle": 0.035,
        }
    )
    infarct: dict[str, float] = dataclasses.field(
        default_factory=lambda: {"inferior": 0.145, "anterior": 0.145, "lateral": 0.13}
    )
    hypertrophy: float = 0.13
    left_axis: float = 0.04
    right_axis: float = 0.14
    low_voltage: float = 0.105
    long_pr: float = 0.16
    long_qt: float = 0.16

    # Rhythm of a record of a patient who is not healthy; the healthy are in sinus rhythm.
    fibrillation: float = 0.11
    flutter: float = 0.09
    pacing: float = 0.095
    # Sinus rhythm: (healthy, not healthy).
    slow: tuple[float, float] = (0.08, 0.13)
    fast: tuple[float, float] = (0.07, 0.14)
    arrhythmia: tuple[float, float] = (0.08, 0.12)
    premature_atrial: tuple[float, float] = (0.05, 0.14)
    premature_ventricular: tuple[float, float] = (0.03, 0.08)
    bigeminy: tuple[float, float] = (0.0, 0.13)
    # Ischaemia of a record, where conduction allows to see it.
    st_elevation: float = 0.17
    st_depression: float = 0.12
    t_inversion: float = 0.07

    # Rates. Normal limits of rest are about 50 to 100 (Surawicz: brady < 60, tachy > 100).
    sinus_rate: Spread = (74, 10, 58, 98)
    slow_rate: Spread = (52, 5, 38, 60)
    fast_rate: Spread = (115, 11, 98, 150)
    fibrillation_rate: Spread = (95, 25, 50, 165)
    fibrillation_irregularity: Spread = (0.21, 0.05, 0.10, 0.35)
    fibrillatory_hz: Spread = (6.3, 0.7, 4.8, 8.5)  # 350 to 500 per minute and beyond
    flutter_hz: Spread = (4.8, 0.4, 4.0, 5.8)  # 240 to 350 per minute
    flutter_ratios: tuple[tuple[int, ...], ...] = ((2,), (2,), (3,), (4,), (2, 4), (2, 3, 4))
    paced_rate: Spread = (71, 9, 58, 95)
    tracking: float = 0.6  # share of pacemakers that follow P waves
    breathing_hz: Spread = (0.25, 0.05, 0.15, 0.38)
    breathing_s: Spread = (0.018, 0.010, 0.0, 0.045)  # half the respiratory range of PP, without sinus arrhythmia
    arrhythmia_s: Spread = (0.10, 0.03, 0.05, 0.20)
    sinus_jitter_s: Spread = (0.008, 0.004, 0.001, 0.02)
    early_atrial: Spread = (0.66, 0.06, 0.52, 0.80)  # coupling interval as a share of PP
    early_ventricular: Spread = (0.60, 0.06, 0.48, 0.74)

    # Durations. Normal limits (2nd to 98th centile, adults): PR about 0.12 to 0.20, QRS 0.08 to 0.11 (Rijnbeek).
    pr_s: Spread = (0.158, 0.018, 0.115, 0.204)
    long_pr_s: Spread = (0.232, 0.022, 0.196, 0.32)
    p_s: Spread = (0.106, 0.010, 0.080, 0.135)
    qrs_s: Spread = (0.091, 0.008, 0.074, 0.112)
    fascicle_qrs_s: Spread = (0.103, 0.007, 0.090, 0.119)  # AHA 2009 part III: below 0.12
    right_qrs_s: Spread = (0.138, 0.010, 0.121, 0.170)  # at least 0.12
    left_qrs_s: Spread = (0.148, 0.012, 0.122, 0.185)
    paced_qrs_s: Spread = (0.162, 0.013, 0.130, 0.200)
    qtc_s: Spread = (0.414, 0.019, 0.365, 0.468)  # Bazett; AHA 2009 part IV: long above 0.45 (men), 0.46 (women)
    long_qtc_s: Spread = (0.498, 0.024, 0.455, 0.58)
    wide_qrs_qtc_s: float = 0.030  # a late end of QRS makes QT longer without longer repolarisation

    # Anatomy. Normal frontal axis -30 to 90, on average 40 to 50, further left with age (Rijnbeek; AHA 2009 part III).
    axis: Spread = (44, 26, -24, 88)
    left_axis_deg: Spread = (-46, 11, -80, -28)
    right_axis_deg: Spread = (112, 13, 88, 150)
    fascicle_axis_deg: Spread = (-57, 9, -85, -40)  # AHA 2009: -45 to -90
    left_block_axis_deg: Spread = (-4, 34, -75, 75)
    transition_deg: Spread = (0, 11, -28, 28)
    limb_scale: Spread = (0.92, 0.17, 0.50, 1.45)
    chest_scale: Spread = (1.0, 0.19, 0.58, 1.6)
    low_limb_scale: Spread = (0.40, 0.07, 0.25, 0.60)
    low_chest_scale: Spread = (0.48, 0.08, 0.30, 0.70)
    low_everywhere: float = 0.5  # share of low voltage in all leads; the rest is in limb or in chest leads
    fine: float = 0.10  # standard deviation of what no dipole explains, as a share of each lead's wave
    p_scale: Spread = (1.0, 0.25, 0.45, 1.7)
    t_scale: Spread = (0.95, 0.25, 0.40, 1.7)
    ill_t_scale: Spread = (0.75, 0.25, 0.25, 1.4)
    mass: Spread = (1.0, 0.13, 0.70, 1.35)
    large_mass: Spread = (1.80, 0.27, 1.25, 2.6)  # Sokolow-Lyon (3.5 mV) is met by most and by a few normal people
    strain: float = 0.40  # share of hypertrophy with secondary ST-T
    strain_mv: Spread = (0.20, 0.07, 0.06, 0.40)
    infarct_severity: Spread = (0.80, 0.17, 0.35, 1.1)
    infarct_t: float = 0.33  # share of scars with an inverted T
    benign_st_mv: dict[str, tuple[float, float]] = dataclasses.field(
        default_factory=lambda: {"inferior": (0.008, 0.014), "anterior": (0.04, 0.03), "lateral": (0.008, 0.014)}
    )
    # Fourth universal definition: elevation >= 0.1 mV (V2, V3: 0.2), depression >= 0.05, inversion >= 0.1 are abnormal.
    elevation_mv: dict[str, Spread] = dataclasses.field(
        default_factory=lambda: {
            "inferior": (0.19, 0.06, 0.08, 0.40),
            "anterior": (0.31, 0.09, 0.14, 0.60),
            "lateral": (0.17, 0.05, 0.08, 0.35),
        }
    )
    depression_mv: Spread = (0.12, 0.04, 0.04, 0.28)
    inversion_mv: Spread = (0.24, 0.09, 0.08, 0.55)
    premature_mv: Spread = (1.45, 0.3, 0.8, 2.3)
    spike_mv: Spread = (0.5, 0.45, 0.06, 2.2)  # bipolar leads make small spikes, unipolar ones tall
    breath_share: Spread = (0.04, 0.02, 0.0, 0.10)

    # Another day: the same chest, electrodes placed anew.
    placement_axis_deg: float = 4.0
    placement_transition_deg: float = 5.0
    placement_gain: float = 0.06

    # Disturbances: medians in mV RMS at an electrode, and how much they spread (standard deviation of the logarithm).
    wander_mv: tuple[float, float] = (0.030, 0.6)
    muscle_mv: tuple[float, float] = (0.008, 0.6)
    mains_mv: tuple[float, float] = (0.004, 0.9)
    amplifier_mv: float = 0.004
    poor_quality: float = 0.12  # share of records with the next factor on wander and muscle
    poor_quality_gain: float = 2.3
    motion: float = 0.08
    motion_mv: Spread = (0.6, 0.3, 0.2, 1.5)
    disconnected: float = 0.015  # share of records with a chest electrode off: about MIMIC-IV-ECG's
    mains_hz: tuple[int, ...] = (60, 60, 60, 50)


POPULATION = Population()
