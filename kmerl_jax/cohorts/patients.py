"""Simulated patients: how their hearts, rhythms and disturbances are drawn, and what is true of each ECG."""

import dataclasses
import datetime
from collections.abc import Callable

import numpy as np

from kmerl_jax.cohorts import demo_reports
from kmerl_jax.cohorts.population import POPULATION, Spread
from kmerl_jax.signals import heart, leads, noise, rhythm

LONG_PR_S, LONG_QTC_S = 0.200, 0.460
ARRHYTHMIA_S = 0.120  # longest less shortest PP of sinus arrhythmia (Surawicz & Knilans)
LOW_LIMB_MV, LOW_CHEST_MV = 0.5, 1.0  # peak to peak in every limb lead, in every chest lead

_WALLS = {"inferior": ("II", "aVF"), "anterior": ("V2", "V3", "V4"), "lateral": ("I", "V5", "V6")}
_ELEVATED_MV = {"V2": 0.2, "V3": 0.2}  # 0.1 in all other leads
_DEPRESSED_MV, _INVERTED_MV = 0.05, 0.1


def _draw(spread: Spread, rng: np.random.Generator) -> float:
    mean, deviation, low, high = spread
    while not low <= (value := rng.normal(mean, deviation)) <= high:
        pass
    return float(value)


@dataclasses.dataclass(frozen=True)
class Patient:
    """What a patient's records share: the heart of an ordinary day, and what befalls it."""

    healthy: bool
    heart: heart.Heart
    hypertrophy: bool
    fascicle: bool
    qtc_s: float
    first_visit: datetime.datetime


def draw_patient(rng: np.random.Generator) -> Patient:
    """Draws anatomy and lasting disease."""
    table = POPULATION
    rng.choice(3, p=table.visits)  # the number of visits, taken by _visits
    first = datetime.datetime(2110, 1, 1) + datetime.timedelta(minutes=int(rng.integers(90 * 365 * 24 * 60)))
    healthy = bool(rng.random() < table.healthy)

    def ill(share: float) -> bool:
        return bool(rng.random() < share) and not healthy

    conduction = "none" if healthy else str(rng.choice(list(table.conduction), p=list(table.conduction.values())))
    block = conduction.split()[0] if conduction != "fascicle" else "none"
    fascicle = "fascicle" in conduction
    # A left bundle branch block hides a scar's Q waves.
    infarct = {
        wall: _draw(table.infarct_severity, rng)
        for wall, share in table.infarct.items()
        if ill(share) and block != "left"
    }
    hypertrophy = ill(table.hypertrophy)
    left_axis, right_axis, low, long_pr, long_qt = (
        ill(share) for share in (table.left_axis, table.right_axis, table.low_voltage, table.long_pr, table.long_qt)
    )
    if fascicle:
        axis = table.fascicle_axis_deg
    elif block == "left":
        axis = table.left_block_axis_deg
    else:
        axis = table.left_axis_deg if left_axis else table.right_axis_deg if right_axis else table.axis
    qrs = {"right": table.right_qrs_s, "left": table.left_qrs_s, "none": table.qrs_s}[block]
    limb, chest = table.limb_scale, table.chest_scale
    if low and not hypertrophy:
        everywhere, in_limbs = rng.random() < table.low_everywhere, rng.random() < 0.5
        limb = table.low_limb_scale if everywhere or in_limbs else limb
        chest = table.low_chest_scale if everywhere or not in_limbs else chest
    strained = hypertrophy and rng.random() < table.strain
    direction = rng.standard_normal(3) + np.array([0.2, 0.0, 0.3])
    spike = rng.standard_normal(8) * (0.8, 1.0, 0.6, 0.8, 0.8, 0.7, 0.6, 0.5)
    person = heart.Heart(
        axis=_draw(axis, rng),
        transition=_draw(table.transition_deg, rng),
        limb_scale=_draw(limb, rng),
        chest_scale=_draw(chest, rng),
        fine=table.fine * np.clip(rng.standard_normal((8, 4)), -2.5, 2.5),
        p_scale=_draw(table.p_scale, rng),
        t_scale=_draw(table.t_scale if healthy else table.ill_t_scale, rng),
        pr_s=_draw(table.long_pr_s if long_pr else table.pr_s, rng),
        qrs_s=_draw(table.fascicle_qrs_s if conduction == "fascicle" else qrs, rng),
        p_s=_draw(table.p_s, rng),
        block=block,
        fascicle=fascicle,
        mass=_draw(table.large_mass if hypertrophy else table.mass, rng),
        strain_mv=_draw(table.strain_mv, rng) if strained else 0.0,
        infarct=infarct,
        st_mv={wall: rng.normal(*spread) for wall, spread in table.benign_st_mv.items()},
        t_inversion_mv={wall: _draw(table.inversion_mv, rng) for wall in infarct if rng.random() < table.infarct_t},
        premature=tuple(_draw(table.premature_mv, rng) * direction / np.linalg.norm(direction)),
        spike=_draw(table.spike_mv, rng) * spike,
    )
    if block != "none":  # ST and T are secondary there
        person = dataclasses.replace(person, t_inversion_mv={}, strain_mv=0.0)
    qtc = _draw(table.long_qtc_s if long_qt else table.qtc_s, rng) + (table.wide_qrs_qtc_s if block != "none" else 0)
    return Patient(healthy, person, hypertrophy, fascicle, qtc, first)


def draw_rhythm(patient: Patient, rng: np.random.Generator) -> rhythm.Rhythm:
    """Draws the rhythm of one record."""
    table = POPULATION
    breath_hz, jitter_s = _draw(table.breathing_hz, rng), _draw(table.sinus_jitter_s, rng)
    early_ventricular = _draw(table.early_ventricular, rng)
    ectopy = int(rng.integers(1, 5))
    kind = rng.random()
    if not patient.healthy and kind < table.pacing:
        tracks = rng.random() < table.tracking
        return rhythm.paced(_draw(table.paced_rate, rng), tracks, 0.15, jitter_s, rng)
    kind -= table.pacing
    if not patient.healthy and kind < table.fibrillation:
        irregularity, hertz = _draw(table.fibrillation_irregularity, rng), _draw(table.fibrillatory_hz, rng)
        beats = rhythm.fibrillation(_draw(table.fibrillation_rate, rng), irregularity, hertz, rng)
        if rng.random() < table.premature_ventricular[1]:
            beats = rhythm.add_premature_ventricular(beats, ectopy, False, early_ventricular, rng)
        return beats
    kind -= table.fibrillation
    if not patient.healthy and kind < table.flutter:
        ratios = table.flutter_ratios[rng.integers(len(table.flutter_ratios))]
        return rhythm.flutter(_draw(table.flutter_hz, rng), ratios, rng)
    ill = int(not patient.healthy)
    pace = rng.random()
    rate, quick = table.sinus_rate, pace > 1 - table.fast[ill]
    if pace < table.slow[ill] or quick:
        rate = table.fast_rate if quick else table.slow_rate
    irregular = rng.random() < table.arrhythmia[ill] and not quick
    breathing = table.arrhythmia_s if irregular else table.breathing_s
    # Breathing moves a fast heart less.
    rate = _draw(rate, rng)
    p = rhythm.sinus_p(rate, _draw(breathing, rng) * min(1, 75 / rate), jitter_s, breath_hz, rng)
    beats = rhythm.conducted(p, patient.heart.pr_s - (0.012 if quick else 0))
    ectopic = rng.random()
    if ectopic < table.bigeminy[ill] and not quick and not irregular:
        return rhythm.add_premature_ventricular(beats, 0, True, early_ventricular, rng)
    ectopic -= table.bigeminy[ill]
    if 0 <= ectopic < table.premature_ventricular[ill]:
        return rhythm.add_premature_ventricular(beats, ectopy, False, early_ventricular, rng)
    ectopic -= table.premature_ventricular[ill]
    if 0 <= ectopic < table.premature_atrial[ill]:
        return rhythm.add_premature_atrial(beats, ectopy, _draw(table.early_atrial, rng), rng)
    return beats


def draw_heart(patient: Patient, beats: rhythm.Rhythm, rng: np.random.Generator) -> heart.Heart:
    """The patient's heart on the day of one record: electrodes placed anew, perhaps ischaemia."""
    table, person = POPULATION, patient.heart
    paced = beats.name == "ventricular pacing"
    qrs_s = _draw(table.paced_qrs_s, rng) if paced else person.qrs_s * rng.normal(1, 0.015)
    qtc_s = patient.qtc_s + rng.normal(0, 0.006) + (table.wide_qrs_qtc_s if paced else 0)
    st, inverted = dict(person.st_mv), dict(person.t_inversion_mv)
    elevated, depressed, negative = rng.random(3) < (table.st_elevation, table.st_depression, table.t_inversion)
    walls = [str(wall) for wall in rng.permutation(list(_WALLS))]
    if not patient.healthy and person.block == "none":
        if elevated:
            st[walls[0]] += _draw(table.elevation_mv[walls[0]], rng)
        if depressed:
            # Depression is no wall's own (subendocardial): mostly lateral, often inferior too.
            for wall in ("lateral", "inferior") if rng.random() < 0.5 else ("lateral",):
                st[wall] -= _draw(table.depression_mv, rng) * (not elevated or wall != walls[0])
        if negative:
            for wall in walls[1:] if rng.random() < 0.25 else walls[1:2]:
                inverted[wall] = _draw(table.inversion_mv, rng)
    return dataclasses.replace(
        person,
        axis=person.axis + rng.normal(0, table.placement_axis_deg),
        transition=person.transition + rng.normal(0, table.placement_transition_deg),
        limb_scale=person.limb_scale * rng.normal(1, table.placement_gain),
        chest_scale=person.chest_scale * rng.normal(1, table.placement_gain),
        qrs_s=qrs_s,
        qt_s=qtc_s * np.sqrt(np.clip(beats.rr_s, 0.36, 1.5)),
        st_mv=st,
        t_inversion_mv=inverted,
        breath_hz=_draw(table.breathing_hz, rng),
        breath_share=_draw(table.breath_share, rng),
    )


def draw_disturbance(rng: np.random.Generator) -> noise.Disturbance:
    """How well the electrodes of one record hold."""
    table = POPULATION
    poor = table.poor_quality_gain if rng.random() < table.poor_quality else 1.0

    def level(median: float, spread: float) -> np.ndarray:
        # Half of the spread is the record's, half the electrode's.
        return median * np.exp(spread * np.sqrt(0.5) * (rng.standard_normal() + rng.standard_normal(9)))

    moves = rng.random() < table.motion
    return noise.Disturbance(
        wander_mv=poor * level(*table.wander_mv),
        muscle_mv=poor * level(*table.muscle_mv),
        mains_mv=level(*table.mains_mv),
        mains_hz=float(table.mains_hz[rng.integers(len(table.mains_hz))]),
        amplifier_mv=table.amplifier_mv,
        breath_hz=_draw(table.breathing_hz, rng),
        motion_mv=_draw(table.motion_mv, rng) * rng.choice([-1, 1]) if moves else 0.0,
        motion_electrode=int(rng.integers(9)),
        motion_s=float(rng.uniform(0, rhythm.SECONDS)),
    )


def read(patient: Patient, person: heart.Heart, beats: rhythm.Rhythm) -> demo_reports.Reading:
    """What is true of a record: what was simulated and is on the trace.

    A paced rhythm is not judged further, as carts do not; ST, T and QT are not judged where a bundle branch block
    changes them, and QT not in flutter.
    """
    found, rate = set(), 60 / beats.rr_s
    premature = beats.count(rhythm.PREMATURE)
    if beats.name == "ventricular pacing":
        return demo_reports.Reading(frozenset({"ventricular pacing"}), rate, tracks=beats.pr_s > 0)
    if beats.name == "sinus":
        irregular = beats.pp_range_s > ARRHYTHMIA_S
        if rate < 60 or rate > 100:
            found.add("sinus bradycardia" if rate < 60 else "sinus tachycardia")
        elif not irregular:
            found.add("sinus rhythm")
        if irregular:
            found.add("sinus arrhythmia")
        if beats.pr_s > LONG_PR_S:
            found.add("first degree av block")
    else:
        found.add(beats.name)
    if premature:
        found.add("premature ventricular complex")
    if beats.bigeminy:
        found.add("ventricular bigeminy")
    if beats.ectopic_p:
        found.add("premature atrial complex")
    if person.block != "none":
        found.add(f"{person.block} bundle branch block")
    if person.fascicle:
        found.add("left anterior fascicular block")
    if patient.hypertrophy:
        found.add("left ventricular hypertrophy")
    found |= {f"{wall} myocardial infarction" for wall in person.infarct}

    measured = heart.measure(person)
    if -90 <= measured.axis < -30:
        found.add("left axis deviation")
    if 90 < measured.axis <= 180:
        found.add("right axis deviation")
    low = [measured.limb_mv < LOW_LIMB_MV, measured.chest_mv < LOW_CHEST_MV]
    if any(low):
        found.add("low qrs voltage")
    elevated, depressed, inverted = (), (), ()
    if person.block == "none":
        st = dict(zip(leads.STANDARD, measured.st_mv, strict=True))
        t = dict(zip(leads.STANDARD, measured.t_mv, strict=True))
        elevated = _walls(lambda lead: st[lead] >= _ELEVATED_MV.get(lead, 0.1))
        depressed = _walls(lambda lead: st[lead] <= -_DEPRESSED_MV)
        inverted = _walls(lambda lead: t[lead] <= -_INVERTED_MV)
        if person.qt_s / np.sqrt(beats.rr_s) > LONG_QTC_S and beats.name != "atrial flutter":
            found.add("prolonged qt interval")
    found |= {"st elevation"} if elevated else set()
    found |= {"st depression"} if depressed else set()
    found |= {"t wave inversion"} if inverted else set()
    if found == {"sinus rhythm"}:
        found.add("normal ecg")
    return demo_reports.Reading(
        findings=frozenset(found),
        rate=rate,
        pr_s=beats.pr_s,
        premature_atrial=beats.ectopic_p,
        premature_ventricular=premature,
        st_elevation=elevated,
        st_depression=depressed,
        t_inversion=inverted,
        low_voltage="both" if all(low) else "limb" if low[0] else "chest" if low[1] else "",
    )


def _walls(abnormal: Callable[[str], bool]) -> tuple[str, ...]:
    """Walls of which at least two leads are abnormal."""
    return tuple(wall for wall, names in _WALLS.items() if sum(map(abnormal, names)) >= 2)


@dataclasses.dataclass(frozen=True)
class Record:
    """One simulated ECG.

    Attributes:
        signal: [12, 5000] millivolts, leads in the standard order, noise included; a disconnected lead is zero.
        reading: the truth and what a report of it needs.
        person, beats: what was drawn.
    """

    signal: np.ndarray
    reading: demo_reports.Reading
    person: heart.Heart
    beats: rhythm.Rhythm


def draw_record(patient: Patient, rng: np.random.Generator) -> Record:
    """Simulates one ECG of a patient."""
    beats = draw_rhythm(patient, rng)
    person = draw_heart(patient, beats, rng)
    reading = read(patient, person, beats)
    disturbance = noise.record(draw_disturbance(rng), rng)
    signal = heart.twelve_leads(heart.voltages(person, beats, rng) + disturbance)
    off = int(rng.integers(6, 12)) if rng.random() < POPULATION.disconnected else None
    if off is not None:
        signal[off] = 0
    # What a cart notes as wander: more than 0.8 mV between the highest and lowest of averages over 0.2 s.
    drift = np.ptp(heart.twelve_leads(disturbance).reshape(12, -1, 100).mean(axis=2), axis=1)
    wandering = [name for n, name in enumerate(leads.STANDARD) if drift[n] > 0.8 and n != off]
    reading = dataclasses.replace(
        reading,
        unsuitable=(leads.STANDARD[off],) if off is not None else (),
        wandering=tuple(wandering) if rng.random() < 0.7 else (),
    )
    return Record(signal, reading, person, beats)
