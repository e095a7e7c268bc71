import numpy as np
import pydicom.data
import pytest

from kmerl_jax.signals import files
from kmerl_jax.signals.leads import STANDARD
from tests.signals import dicoms

STEPS = np.random.default_rng(0).integers(-300, 300, (12, 5000))


@pytest.mark.parametrize(("unit", "millivolts"), [("uV", 0.005), ("mV", 5.0)])
@pytest.mark.parametrize("scheme", ["5.6.3-9-", "2:", ""])
def test_values_leads_and_units(tmp_path, unit, millivolts, scheme):
    order = STANDARD[::-1]
    path = dicoms.write(tmp_path / "a.dcm", dicoms.group(STEPS, order, 500, unit, scheme=scheme))
    ecg = files.read(path)
    assert (ecg.leads, ecg.rate) == (order, 500)
    np.testing.assert_allclose(ecg.signal, STEPS * millivolts, rtol=1e-6)


def test_the_rhythm_is_taken_and_not_the_median_beat(tmp_path):
    beat = dicoms.group(STEPS[:, :600], STANDARD, 500)
    path = dicoms.write(tmp_path / "a.dcm", beat, dicoms.group(STEPS, STANDARD, 500))
    assert files.read(path).signal.shape == (12, 5000)


def test_a_name_without_an_extension_or_in_capitals(tmp_path):
    whole = dicoms.write(tmp_path / "a.DCM", dicoms.group(STEPS, STANDARD, 500))
    (tmp_path / "1.2.840.7").write_bytes(whole.read_bytes())
    for name in ("a.DCM", "1.2.840.7"):
        assert files.read(tmp_path / name).leads == STANDARD


def test_a_real_file():
    """The ECG that pydicom carries: 10 s of 12 leads at 1,000 Hz, and median beats."""
    ecg = files.read(pydicom.data.get_testdata_file("waveform_ecg.dcm"))
    assert (ecg.leads, ecg.rate, ecg.seconds) == (STANDARD, 1000, 10.0)
    i, ii, iii = ecg.signal[:3]
    assert np.abs(i + iii - ii).max() < 0.01, "Einthoven's law holds, so the leads are the right ones"
    assert 0.5 < np.ptp(ii) < 5
