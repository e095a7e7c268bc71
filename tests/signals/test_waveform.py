import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kmerl_jax.signals import waveform
from kmerl_jax.signals.leads import STANDARD
from kmerl_jax.signals.waveform import Ecg


def sines(seconds=10.0, rate=500, leads=STANDARD):
    t = np.arange(round(seconds * rate)) / rate
    return Ecg(np.stack([np.sin(2 * np.pi * (n + 1) * t) for n in range(len(leads))]), leads, rate)


def test_an_ecg_names_its_leads():
    with pytest.raises(ValueError, match="expected"):
        Ecg(np.zeros((2, 5)), ("I",), 500)
    with pytest.raises(ValueError, match="distinct"):
        Ecg(np.zeros((2, 5)), ("I", "I"), 500)
    with pytest.raises(ValueError, match="distinct"):
        Ecg(np.zeros((1, 5)), ("vx",), 500)
    with pytest.raises(ValueError, match="rate"):
        Ecg(np.zeros((1, 5)), ("I",), 0)


def test_short_gaps_are_interpolated_and_counted():
    ecg = sines(leads=("I", "II"))
    signal = ecg.signal.copy()
    signal[0, 100:150] = np.nan
    signal[1, 300] = np.inf
    repaired, counts = waveform.repair(Ecg(signal, ecg.leads, 500))
    assert counts == {"samples interpolated": 51}
    assert repaired.leads == ("I", "II")
    line = np.interp(np.arange(100, 150), [99, 150], ecg.signal[0, [99, 150]])
    np.testing.assert_allclose(repaired.signal[0, 100:150], line, atol=1e-6)
    keep = np.r_[0:100, 150:5000]
    np.testing.assert_array_equal(repaired.signal[0, keep], ecg.signal[0, keep])


def test_long_gaps_and_flat_leads_are_absent():
    ecg = sines(leads=("I", "II", "V1", "V2"))
    signal = ecg.signal.copy()
    signal[0, 1000:1101] = np.nan  # 101 samples: just over 0.2 s
    signal[1, 1000:1100] = np.nan  # 100: just not
    signal[2] = 0.37
    signal[3] = np.nan
    repaired, counts = waveform.repair(Ecg(signal, ecg.leads, 500))
    assert repaired.leads == ("II",)
    assert counts == {"leads with a long gap": 2, "flat leads": 1, "samples interpolated": 100}


def test_gaps_are_measured_in_seconds():
    signal = sines(rate=100, leads=("I",)).signal.copy()
    signal[0, 50:71] = np.nan  # 0.21 s at 100 Hz
    repaired, counts = waveform.repair(Ecg(signal, ("I",), 100))
    assert repaired.leads == ()
    assert counts["leads with a long gap"] == 1


@pytest.mark.parametrize("rate", [100, 240, 250, 257, 360, 400, 1000])
def test_resampling_keeps_a_sine(rate):
    resampled = waveform.resample(sines(10, rate, ("I", "II")))
    assert resampled.rate == 500
    assert resampled.signal.shape == (2, 5000)
    expected = sines(10, 500, ("I", "II")).signal
    np.testing.assert_allclose(resampled.signal[:, 250:-250], expected[:, 250:-250], atol=0.01)


def test_windows():
    assert [w.seconds for w in waveform.windows(sines(60))] == [10] * 6
    assert [w.seconds for w in waveform.windows(sines(25))] == [10, 10, 5]
    assert [w.seconds for w in waveform.windows(sines(10.5))] == [10]  # the half second is left out
    assert [w.seconds for w in waveform.windows(sines(1))] == [1]  # unless it is all there is
    assert waveform.windows(sines(30, 257))[2].signal.shape == (12, 2570)


def test_a_window_is_microvolts_in_standard_order():
    ecg = sines(leads=("V1", "aVF", "I"))
    window, counts = waveform.to_window(ecg)
    assert window.signal.dtype == np.int16
    assert window.signal.shape == (12, 5000)
    assert window.segments == 50
    assert list(np.flatnonzero(window.presence)) == [0, 5, 6]
    np.testing.assert_array_equal(window.signal[[6, 5, 0]], np.rint(ecg.signal * 1000))
    assert not window.signal[~window.presence].any()
    assert not counts


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(12)))
def test_the_order_of_leads_in_a_file_changes_nothing(order):
    ecg = sines(2)
    shuffled = Ecg(ecg.signal[list(order)], tuple(STANDARD[n] for n in order), 500)
    expected, window = waveform.to_window(ecg)[0], waveform.to_window(shuffled)[0]
    np.testing.assert_array_equal(window.signal, expected.signal)


@pytest.mark.parametrize(("seconds", "segments"), [(6, 30), (2.5, 12), (0.2, 1), (9.99, 49), (10, 50)])
def test_short_recordings_have_fewer_segments(seconds, segments):
    window, _ = waveform.to_window(sines(seconds))
    assert window.segments == segments
    assert not window.signal[:, segments * 100 :].any()


@pytest.mark.parametrize("rate", [100, 250, 257, 360, 1000])
def test_ten_seconds_are_fifty_segments_at_any_rate(rate):
    assert waveform.to_window(sines(10, rate))[0].segments == 50


@pytest.mark.parametrize(
    ("ecg", "message"),
    [
        (Ecg(np.zeros((2, 5000)), ("I", "II"), 500), "no lead"),
        (Ecg(np.full((1, 5000), np.nan), ("I",), 500), "no lead"),
        (Ecg(np.zeros((1, 0)), ("I",), 500), "no lead"),
        (Ecg(np.sin(np.arange(50)[None]), ("I",), 500), "shorter than one segment"),
        (Ecg(1000 * np.sin(np.arange(5000)[None]), ("I",), 500), "wrong gain or unit"),
        (sines(11), "windows"),
    ],
)
def test_what_cannot_be_a_window(ecg, message):
    with pytest.raises(ValueError, match=message):
        waveform.to_window(ecg)
