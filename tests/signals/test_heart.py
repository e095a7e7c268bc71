"""The simulated heart is an ECG: identities between leads, shapes of beats, and where each disease can be seen."""

import dataclasses

import numpy as np
import pytest

from kmerl_jax.signals import heart, noise, rhythm
from kmerl_jax.signals.leads import STANDARD

PERSON = heart.Heart(breath_share=0.0)


def beat(person):
    """[12] leads by name of one beat, from 50 ms before QRS to 600 ms after, and P left out."""
    at = 4.0
    one = rhythm.Rhythm("sinus", np.array([]), np.array([], bool), np.array([at]), np.array([rhythm.CONDUCTED]))
    signal = heart.twelve_leads(heart.voltages(person, one, np.random.default_rng(0)))
    return dict(zip(STANDARD, signal[:, round((at - 0.05) * 500) : round((at + 0.6) * 500)], strict=True))


def qrs(lead, person):
    return lead[: round((0.05 + person.qrs_s + 0.01) * 500)]


def rate_of(beats):
    return 60 / beats.rr_s


def test_limb_leads_obey_einthoven_and_goldberger_with_noise():
    rng = np.random.default_rng(1)
    quiet = np.full(9, 0.02)
    disturbance = noise.Disturbance(quiet, quiet, quiet, 50.0, 0.004, 0.25, motion_mv=0.8, motion_electrode=1)
    beats = rhythm.fibrillation(95, 0.2, 6.0, rng)
    signal = heart.twelve_leads(heart.voltages(PERSON, beats, rng) + noise.record(disturbance, rng))
    i, ii, iii, avr, avl, avf = signal[:6]
    assert signal.shape == (12, 5000)
    assert signal.std(axis=1).min() > 0.02
    np.testing.assert_allclose(iii, ii - i, atol=1e-12)
    np.testing.assert_allclose(avr, -(i + ii) / 2, atol=1e-12)
    np.testing.assert_allclose(avl, (i - iii) / 2, atol=1e-12)
    np.testing.assert_allclose(avf, (ii + iii) / 2, atol=1e-12)


def test_normal_beat_has_normal_shape_and_amplitudes():
    leads = beat(PERSON)
    r = {name: leads[name].max() for name in STANDARD}
    s = {name: leads[name].min() for name in STANDARD}
    assert r["V1"] < r["V2"] < r["V3"] < r["V4"]  # R grows across the chest
    assert -s["V1"] > r["V1"]
    assert r["V5"] > -2 * s["V5"]
    assert 0.9 < r["V5"] < 2.0
    assert 0.5 < r["II"] < 1.5
    assert leads["aVR"].sum() < 0
    late = {name: leads[name][150:] for name in STANDARD}  # 250 ms after the onset: T
    assert all(late[name].max() > 0.1 > -late[name].min() for name in ("I", "II", "V3", "V4", "V5", "V6"))
    measured = heart.measure(PERSON)
    assert 0 < measured.axis < 90
    assert 1.5 < measured.sokolow_lyon_mv < 3.5
    assert np.abs(measured.st_mv).max() < 0.05


@pytest.mark.parametrize("axis", [-60, -40, 0, 45, 80, 110, 135])
def test_measured_axis_follows_the_heart(axis):
    assert heart.measure(dataclasses.replace(PERSON, axis=axis)).axis == pytest.approx(axis, abs=10)


def test_axis_is_invisible_in_chest_leads():
    left, right = beat(dataclasses.replace(PERSON, axis=-50)), beat(dataclasses.replace(PERSON, axis=115))
    for name in ("V1", "V2", "V3", "V4", "V5", "V6"):
        np.testing.assert_array_equal(left[name], right[name])
    assert left["I"].max() > 0.4 > -left["I"].min()
    assert left["aVF"].min() < -0.4
    assert right["I"].min() < -0.2
    assert right["aVF"].max() > 0.4


def test_anterior_scar_kills_r_in_the_chest_and_spares_the_limbs():
    scarred = beat(dataclasses.replace(PERSON, infarct={"anterior": 0.9}, t_inversion_mv={"anterior": 0.2}))
    healthy = beat(PERSON)
    for name in ("I", "II", "III", "aVR", "aVL", "aVF"):
        np.testing.assert_array_equal(scarred[name], healthy[name])
    for name in ("V1", "V2", "V3"):
        assert qrs(scarred[name], PERSON).max() < 0.05 < 0.2 < qrs(healthy[name], PERSON).max()
    assert scarred["V3"][150:].min() < -0.15


def test_inferior_scar_makes_q_below_and_spares_v1_to_v4():
    scarred = beat(dataclasses.replace(PERSON, infarct={"inferior": 0.9}, t_inversion_mv={"inferior": 0.2}))
    healthy = beat(PERSON)
    for name in ("V1", "V2", "V3", "V4"):
        np.testing.assert_array_equal(scarred[name], healthy[name])
    for name in ("II", "III", "aVF"):
        q, r = qrs(scarred[name], PERSON).argmin(), qrs(scarred[name], PERSON).argmax()
        assert qrs(scarred[name], PERSON).min() < -0.15
        assert q < r or scarred[name][r] < 0.15  # Q comes first, or there is no R at all
        assert (scarred[name][25:50] < -0.05).sum() >= 8  # Q lasts 16 ms below -0.05 mV at the least
        assert scarred[name][150:].min() < -0.1


def test_right_bundle_branch_block_has_a_late_r_in_v1_and_a_wide_s_in_v6():
    person = dataclasses.replace(PERSON, block="right", qrs_s=0.14)
    leads = beat(person)
    v1 = qrs(leads["V1"], person)
    early, between, late = v1[25:40], v1[35:70], v1[60:]
    assert early.max() > 0.1
    assert between.min() < -0.1
    assert late.max() > 0.3
    for name in ("I", "V6"):
        assert (qrs(leads[name], person)[60:] < -0.1).sum() >= 12  # S of 24 ms and more after the first 70 ms
    assert qrs(beat(PERSON)["V1"], person)[60:].max() < 0.05


def test_left_bundle_branch_block_is_wide_upright_on_the_left_and_discordant():
    person = dataclasses.replace(PERSON, block="left", qrs_s=0.15, qt_s=0.43, axis=20)
    leads = beat(person)
    for name in ("I", "V5", "V6"):
        wave = qrs(leads[name], person)
        assert wave.max() > 0.4
        assert wave.min() > -0.05  # no septal q
        assert (wave > wave.max() / 2).sum() * 2 > 55  # ms at half height
        assert leads[name][150:].min() < -0.1
    for name in ("V1", "V2"):
        assert qrs(leads[name], person).max() < 0.1
        assert qrs(leads[name], person).min() < -0.8
        assert leads[name][150:].max() > 0.2


def test_left_anterior_fascicular_block_turns_the_axis_up_with_small_initial_waves():
    person = dataclasses.replace(PERSON, fascicle=True, axis=-57, qrs_s=0.104)
    leads = beat(person)
    assert -90 < heart.measure(person).axis < -40
    assert leads["aVL"][25:40].min() < -0.05
    assert leads["aVL"].max() > 0.4
    for name in ("III", "aVF"):
        assert leads[name][25:40].max() > 0.05
        assert leads[name].min() < -0.4


def test_st_of_each_wall_is_measured_where_it_is_put():
    for wall, inside, outside in (
        ("inferior", ("II", "III", "aVF"), ("V1", "V2", "V3")),
        ("anterior", ("V2", "V3"), ("I", "II", "aVF")),
        ("lateral", ("I", "V5", "V6"), ("II", "V1", "V2")),
    ):
        st = dict(zip(STANDARD, heart.measure(dataclasses.replace(PERSON, st_mv={wall: 0.25})).st_mv, strict=True))
        assert all(0.15 < st[name] < 0.4 for name in inside), wall
        assert all(abs(st[name]) < 0.06 for name in outside), wall


def test_hypertrophy_raises_voltage():
    normal, large = heart.measure(PERSON), heart.measure(dataclasses.replace(PERSON, mass=1.8))
    assert large.sokolow_lyon_mv > 3.5 > normal.sokolow_lyon_mv


def test_premature_ventricular_complex_is_early_with_a_compensatory_pause():
    rng = np.random.default_rng(3)
    beats = rhythm.conducted(rhythm.sinus_p(70, 0.0, 0.0, 0.25, rng), 0.16)
    early = rhythm.add_premature_ventricular(beats, 1, False, 0.6, rng)
    assert early.count(rhythm.PREMATURE) == 1
    n = int(np.flatnonzero(early.origin == rhythm.PREMATURE)[0])
    before, after = early.qrs[n] - early.qrs[n - 1], early.qrs[n + 1] - early.qrs[n]
    assert before < 0.75 * 60 / 70
    assert before + after == pytest.approx(2 * 60 / 70)
    assert not early.bigeminy
    assert rhythm.add_premature_ventricular(beats, 0, True, 0.6, rng).bigeminy


def test_premature_atrial_complex_resets_the_sinus_node():
    rng = np.random.default_rng(4)
    beats = rhythm.conducted(rhythm.sinus_p(70, 0.0, 0.0, 0.25, rng), 0.16)
    early = rhythm.add_premature_atrial(beats, 1, 0.65, rng)
    n = int(np.flatnonzero(early.p_ectopic)[0])
    assert early.ectopic_p == 1
    assert early.p[n] - early.p[n - 1] == pytest.approx(0.65 * 60 / 70)
    assert early.p[n + 1] - early.p[n - 1] < 0.95 * 2 * 60 / 70
    np.testing.assert_allclose(early.qrs - early.p, 0.16)


def test_fibrillation_is_irregular_without_p_and_flutter_is_locked_to_its_waves():
    rng = np.random.default_rng(5)
    fibrillation = rhythm.fibrillation(100, 0.22, 6.5, rng)
    intervals = np.diff(fibrillation.qrs)
    assert len(fibrillation.p) == 0
    assert intervals.std() / intervals.mean() > 0.1
    flutter = rhythm.flutter(5.0, (3,), rng)
    assert rate_of(flutter) == pytest.approx(100, abs=2)

    def atrial(name):
        """What flutter adds to the same beats without it."""
        with_waves, without = (
            heart.voltages(PERSON, dataclasses.replace(flutter, name=kind), np.random.default_rng(0))
            for kind in ("atrial flutter", "none")
        )
        return heart.twelve_leads(with_waves - without)[STANDARD.index(name)]

    np.testing.assert_allclose(atrial("aVF")[100:], atrial("aVF")[:-100], atol=0.01)  # 5 waves a second
    assert np.ptp(atrial("aVF")) > 0.15 > 0.05 > np.ptp(atrial("I"))


def test_pacing_spike_stands_before_a_wide_complex():
    rng = np.random.default_rng(6)
    spike = np.full(8, 1.2)
    person = dataclasses.replace(PERSON, qrs_s=0.16, qt_s=0.44, spike=spike)
    beats = rhythm.paced(70, True, 0.15, 0.0, rng)
    signal = heart.twelve_leads(heart.voltages(person, beats, rng))
    steps = np.abs(np.diff(signal[STANDARD.index("V3")]))
    assert (steps > 0.7).sum() >= beats.inside.sum()
    onset = round(beats.qrs[beats.inside][2] * 500)
    wide = signal[STANDARD.index("III")][onset : onset + 90]
    assert (wide < -0.3).sum() * 2 > 60  # ms


def test_sinus_rate_and_arrhythmia_come_out_as_asked():
    rng = np.random.default_rng(7)
    slow = rhythm.conducted(rhythm.sinus_p(50, 0.01, 0.005, 0.25, rng), 0.16)
    assert rate_of(slow) == pytest.approx(50, abs=2)
    assert slow.pp_range_s < 0.06
    assert rhythm.conducted(rhythm.sinus_p(70, 0.12, 0.005, 0.25, rng), 0.16).pp_range_s > 0.15
