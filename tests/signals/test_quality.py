import dataclasses

import numpy as np
import pytest

from kmerl_jax.signals import files
from kmerl_jax.signals.leads import STANDARD
from kmerl_jax.signals.quality import problems
from kmerl_jax.signals.waveform import Ecg, resample


@pytest.fixture(scope="module")
def clean(demo_files) -> Ecg:
    """The first simulated ECG of which nothing is to be said."""
    for header in sorted(demo_files.rglob("*.hea")):
        ecg = files.read(header)
        if not problems(ecg) and np.ptp(ecg.signal[0]) > 0.6 and np.corrcoef(ecg.signal[0], ecg.signal[11])[0, 1] > 0.8:
            return ecg
    raise AssertionError("no clean ECG")


def changed(ecg, **leads):
    signal = ecg.signal.copy()
    for lead, x in leads.items():
        signal[STANDARD.index(lead)] = x
    return dataclasses.replace(ecg, signal=signal)


def lead(ecg, name):
    return ecg.signal[STANDARD.index(name)]


def test_most_simulated_ecgs_are_clean(demo_files):
    said = [problems(files.read(header)) for header in sorted(demo_files.rglob("*.hea"))]
    assert sum(map(bool, said)) < 0.15 * len(said)


@pytest.mark.parametrize("rate", [100, 250, 500, 1000])
def test_a_clean_one_is_clean_at_any_rate(clean, rate):
    assert problems(resample(clean, rate)) == []


def test_flat_and_missing(clean):
    gap = lead(clean, "V2").copy()
    gap[1000:2000] = np.nan
    said = problems(changed(clean, V1=0.0, V2=gap, V3=np.nan))
    assert said == [
        "V1 is left out: it is flat",
        "V2 is left out: more than 0.2 s at a stretch are missing",
        "V3 is left out: more than 0.2 s at a stretch are missing",
    ]


def test_nothing_at_all(clean):
    assert len(problems(dataclasses.replace(clean, signal=np.zeros_like(clean.signal)))) == 12


def test_noise_and_wander(clean):
    rng = np.random.default_rng(0)
    time = np.arange(5000) / 500
    noisy = lead(clean, "V4") + rng.normal(0, 0.1, 5000)
    slow = lead(clean, "V5") + 2 * np.sin(2 * np.pi * 0.2 * time)
    said = problems(changed(clean, V4=noisy, V5=slow))
    assert said == ["V4: noisy (muscle or mains)", "V5: baseline wanders by more than 2.0 mV"]
    hum = lead(clean, "II") + 0.1 * np.sin(2 * np.pi * 50 * time)
    assert "II: noisy (muscle or mains)" in problems(dataclasses.replace(clean, signal=hum[None], leads=("II",)))


def test_clipping(clean):
    loud = 8 * lead(clean, "V3")
    assert problems(changed(clean, V3=np.clip(loud, -1.0, 1.0)))[0].startswith("V3: clipped")


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_a_wrong_unit(clean, scale):
    said = problems(dataclasses.replace(clean, signal=clean.signal * scale))
    assert any("check the unit" in one or "flat" in one for one in said)


def test_swapped_arms(clean):
    swapped = changed(
        clean,
        I=-lead(clean, "I"),
        II=lead(clean, "III"),
        III=lead(clean, "II"),
        aVR=lead(clean, "aVL"),
        aVL=lead(clean, "aVR"),
    )
    (said,) = problems(swapped)
    assert "arms swapped? (suspected" in said


def test_an_arm_and_the_right_leg_swapped(clean):
    """The legs are at one potential: between them is nothing."""
    said = problems(changed(clean, II=0.02 * lead(clean, "II"), III=lead(clean, "I") * -0.98))
    assert any("II is all but flat" in one for one in said)


def test_leads_that_do_not_fit(clean):
    said = problems(changed(clean, III=lead(clean, "V2")))
    assert any("I, II and III do not fit together" in one for one in said)


def test_any_few_leads(clean):
    for name in STANDARD:
        assert problems(dataclasses.replace(clean, signal=lead(clean, name)[None], leads=(name,))) == []
