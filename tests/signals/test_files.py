import numpy as np
import pytest
import wfdb

from kmerl_jax.signals.files import read_wfdb
from kmerl_jax.signals.leads import STANDARD

RNG = np.random.default_rng(0)


def write(folder, name="a", signal=None, leads=("I", "II", "V1"), rate=500, units="mV", gain=1000.0, **options):
    signal = RNG.normal(0, 0.3, (1000, len(leads))) if signal is None else signal
    wfdb.wrsamp(
        name,
        fs=rate,
        units=[units] * len(leads),
        sig_name=list(leads),
        p_signal=signal,
        fmt=[options.get("fmt", "16")] * len(leads),
        adc_gain=[gain] * len(leads),
        baseline=[options.get("baseline", 0)] * len(leads),
        write_dir=str(folder),
    )
    return signal


@pytest.mark.parametrize("suffix", ["", ".hea", ".dat"])
def test_values_and_names(tmp_path, suffix):
    signal = write(tmp_path, leads=("v1", "AVR", "MLII"))
    ecg = read_wfdb(tmp_path / f"a{suffix}")
    assert ecg.leads == ("V1", "aVR", "II")
    assert ecg.rate == 500
    np.testing.assert_allclose(ecg.signal, signal.T, atol=0.0006)


@pytest.mark.parametrize(("units", "scale"), [("uV", 1e3), ("V", 1e-3), ("mV", 1)])
def test_units_become_millivolts(tmp_path, units, scale):
    signal = RNG.normal(0, 0.3, (1000, 1))
    write(tmp_path, signal=signal * scale, leads=("I",), units=units, gain=2000 / scale)
    np.testing.assert_allclose(read_wfdb(tmp_path / "a").signal, signal.T, atol=0.001)


@pytest.mark.parametrize("fmt", ["16", "24", "32", "212"])
def test_formats_gains_and_baselines(tmp_path, fmt):
    signal = write(tmp_path, gain=500.0, baseline=100, fmt=fmt)
    np.testing.assert_allclose(read_wfdb(tmp_path / "a").signal, signal.T, atol=0.0011)


def test_missing_samples_are_nan(tmp_path):
    signal = RNG.normal(0, 0.3, (1000, 3))
    signal[10:20, 1] = np.nan
    write(tmp_path, signal=signal)
    assert np.array_equal(np.isnan(read_wfdb(tmp_path / "a").signal), np.isnan(signal.T))


def test_other_channels_are_left_out(tmp_path):
    write(tmp_path, leads=("I", "vx", "PLETH"))
    assert read_wfdb(tmp_path / "a").leads == ("I",)


def edit_header(folder, old, new):
    header = folder / "a.hea"
    text = header.read_text()
    assert old in text
    header.write_text(text.replace(old, new))


def truncate(folder):
    data = (folder / "a.dat").read_bytes()
    (folder / "a.dat").write_bytes(data[: len(data) // 2])


def flip(folder):
    data = bytearray((folder / "a.dat").read_bytes())
    data[100] ^= 1
    (folder / "a.dat").write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (truncate, ValueError, "a: "),
        (flip, ValueError, "checksum"),
        (lambda d: (d / "a.dat").unlink(), FileNotFoundError, r"a\.dat is missing"),
        (lambda d: (d / "a.hea").unlink(), FileNotFoundError, "no WFDB header"),
        (lambda d: (d / "a.hea").write_text(""), ValueError, "a: "),
        (lambda d: (d / "a.hea").write_bytes(bytes(range(256))), (ValueError, FileNotFoundError), "a"),
        (lambda d: edit_header(d, "a.dat", "../a.dat"), ValueError, "outside"),
        (lambda d: edit_header(d, "a.dat", "/etc/passwd"), ValueError, "outside"),
        (lambda d: edit_header(d, "/mV", "/mmHg"), ValueError, "unit"),
        (lambda d: edit_header(d, "0 II\n", "0 I\n"), ValueError, "twice"),
    ],
)
def test_damage_is_one_clear_error(tmp_path, damage, error, message):
    write(tmp_path)
    damage(tmp_path)
    with pytest.raises(error, match=message) as caught:
        read_wfdb(tmp_path / "a")
    assert "\n" not in str(caught.value)


def test_a_record_without_ecg_leads(tmp_path):
    write(tmp_path, leads=("vx", "vy"))
    with pytest.raises(ValueError, match="none of its channels"):
        read_wfdb(tmp_path / "a")


def test_real_records_equal_wfdb(real_data):
    headers = [*sorted(real_data.glob("ptb_xl/records*/*/*.hea"))[::200], *real_data.glob("csn/**/*.hea")]
    headers += [*real_data.glob("cpsc2018/**/*.hea"), *real_data.glob("ptb_diagnostic/*.hea")]
    assert len(headers) >= 20
    for header in headers:
        record = wfdb.rdrecord(str(header.with_suffix("")))
        ecg = read_wfdb(header)
        for name, row in zip(record.sig_name, record.p_signal.T, strict=True):
            lead = next((lead for lead in STANDARD if lead.lower() == name.lower()), None)
            if lead:
                np.testing.assert_array_equal(ecg.signal[ecg.leads.index(lead)], row.astype(np.float32))


def test_the_fifteen_lead_record_gives_its_twelve(real_data):
    ecg = read_wfdb(real_data / "ptb_diagnostic" / "s0010_re")
    assert ecg.leads == STANDARD
    assert ecg.rate == 1000
    assert ecg.seconds == pytest.approx(38.4)
