import numpy as np
import pytest
import scipy.io
import wfdb

from kmerl_jax.signals import files, matlab, plain
from kmerl_jax.signals.files import read, read_wfdb
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


def assert_equals_wfdb(header, is_plain=True):
    """Every sample is what wfdb reads, as float32; and it was, or was not, the plain reader that read it."""
    record = wfdb.rdrecord(str(header.with_suffix("")))
    ecg = read(header)
    assert ecg.rate == record.fs
    assert (plain.read(header, files._lines(header)) is not None) == is_plain
    named = dict(zip(map(str.upper, record.sig_name), record.p_signal.T, strict=True))
    assert [lead.upper() for lead in ecg.leads] == [name for name in named if name in map(str.upper, STANDARD)]
    for lead, row in zip(ecg.leads, ecg.signal, strict=True):
        np.testing.assert_array_equal(row, named[lead.upper()].astype(np.float32))


@pytest.mark.parametrize("gain", [200.0, 1000.0, 204.8, 0.37, 20971.52])
@pytest.mark.parametrize("baseline", [0, 1024, -7])
def test_plain_records_equal_wfdb(tmp_path, gain, baseline):
    signal = RNG.normal(0, 1500 / gain, (777, 3))
    signal[5:9, 0] = np.nan
    write(tmp_path, signal=signal, gain=gain, baseline=baseline, rate=257)
    assert_equals_wfdb(tmp_path / "a.hea")


@pytest.mark.parametrize(
    ("old", "new", "is_plain"),
    [
        ("a.dat 16 ", "a.dat 16+0 ", True),
        ("a 3 500 1000", "a 3 500 1000 08:44:00 23/07/2180", True),
        ("a 3 500 1000", "a 3 500 1000 23-Mar-2021 20:20:47", True),
        ("a 3 500 1000", "# a comment\na 3 500 1000", True),
        ("1000.0(0)/mV 16 0", "1000/mV 16 12", True),  # the ADC's zero stands for the baseline
        ("a 3 500 1000", "a 3 500/1000 1000", False),
        ("a 3 500 1000", "a 3 500", False),
        ("1000.0(0)/mV 16 0", "1000.0(0) 16 0", False),
        ("a.dat 16 ", "a.dat  16 ", False),
        ("0 I\n", "0 I # left arm\n", False),
    ],
)
def test_other_spellings_of_a_header_equal_wfdb(tmp_path, old, new, is_plain):
    write(tmp_path)
    text = (tmp_path / "a.hea").read_text().replace(old, new)
    assert new in text
    (tmp_path / "a.hea").write_text(text)
    assert_equals_wfdb(tmp_path / "a.hea", is_plain)


@pytest.mark.parametrize(("old", "new"), [("/mV", "/m.V"), ("1000.0(0)", "10/00.0(0)"), ("0 II\n", "0 I\tI\n")])
def test_a_line_that_wfdb_reads_in_its_own_way_is_left_to_it(tmp_path, old, new):
    write(tmp_path)
    assert plain.read(tmp_path / "a.hea", files._lines(tmp_path / "a.hea")) is not None
    edit_header(tmp_path, old, new)
    assert plain.read(tmp_path / "a.hea", files._lines(tmp_path / "a.hea")) is None


def test_what_lies_behind_the_last_sample_is_not_read(tmp_path):
    write(tmp_path)
    with open(tmp_path / "a.dat", "ab") as file:
        file.write(bytes(600))
    assert_equals_wfdb(tmp_path / "a.hea")


def test_real_records_equal_wfdb(real_data):
    headers = [
        header for rate in (100, 500) for header in sorted(real_data.glob(f"ptb_xl/records{rate}/*/*.hea"))[::50]
    ]
    headers += [*real_data.glob("csn/**/*.hea"), *real_data.glob("cpsc2018/**/*.hea")]
    assert len(headers) >= 60
    for header in headers:
        assert_equals_wfdb(header)
    (header,) = real_data.glob("ptb_diagnostic/*.hea")
    assert_equals_wfdb(header, is_plain=False)  # two signal files


def test_the_fifteen_lead_record_gives_its_twelve(real_data):
    ecg = read_wfdb(real_data / "ptb_diagnostic" / "s0010_re")
    assert ecg.leads == STANDARD
    assert ecg.rate == 1000
    assert ecg.seconds == pytest.approx(38.4)


def test_micro_signs_in_any_encoding(tmp_path):
    signal = write(tmp_path, signal=RNG.normal(0, 300, (1000, 1)), leads=("I",), units="uV", gain=1.0)
    header = (tmp_path / "a.hea").read_text()
    for encoding in ("utf-8", "latin-1"):
        (tmp_path / "a.hea").write_bytes(header.replace("/uV", "/µV").encode(encoding))
        np.testing.assert_allclose(read(tmp_path / "a").signal, signal.T / 1000, atol=0.001)


def test_a_header_that_states_an_absurd_length_allocates_nothing(tmp_path):
    write(tmp_path)
    edit_header(tmp_path, "a 3 500 1000", "a 3 500 1000000000000000")
    with pytest.raises(ValueError, match="truncated"):
        read(tmp_path / "a")


def struct(path, data, **fields):
    scipy.io.savemat(path, {"ECG": {"sex": "Male", "age": 74.0, "data": data} | fields})


def test_an_original_cpsc2018_file(tmp_path):
    data = RNG.normal(0, 0.3, (12, 3210))
    struct(tmp_path / "A0001.mat", data)
    for name in ("A0001", "A0001.mat"):
        ecg = read(tmp_path / name)
        assert (ecg.leads, ecg.rate) == (STANDARD, 500)
        np.testing.assert_array_equal(ecg.signal, data.astype(np.float32))


def test_a_header_makes_a_mat_file_wfdb(real_data, tmp_path):
    (header, *_) = sorted(real_data.glob("cpsc2018/**/*.hea"))
    np.testing.assert_array_equal(read(header.with_suffix(".mat")).signal, read_wfdb(header).signal)
    (tmp_path / "A0001.mat").write_bytes(header.with_suffix(".mat").read_bytes())
    with pytest.raises(ValueError, match=r"no struct ECG .* and no WFDB header beside it"):
        read(tmp_path / "A0001")


def cut(path):
    struct(path, np.ones((12, 500)))
    path.write_bytes(path.read_bytes()[:9000])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.write_bytes(b""), "not a MATLAB file"),
        (lambda path: path.write_bytes(b"\x00\xff" * 4000), "not a MATLAB file"),
        (cut, "not a MATLAB file"),
        (lambda path: scipy.io.savemat(path, {"val": np.ones((12, 500))}), "no struct ECG"),
        (lambda path: scipy.io.savemat(path, {"ECG": np.ones((12, 500))}), "no struct ECG"),
        (lambda path: scipy.io.savemat(path, {"ECG": {"sex": "Male"}}), "no struct ECG"),
        (lambda path: struct(path, np.ones((500, 12))), r"shape \(500, 12\)"),
        (lambda path: struct(path, np.zeros((12, 0))), r"shape \(12, 0\)"),
        (lambda path: struct(path, "twelve leads"), "real numbers"),
        (lambda path: struct(path, np.full((12, 9), 1j)), "real numbers"),
        (lambda path: struct(path, {"data": 1}), "real numbers"),
    ],
)
def test_a_damaged_original_file_is_one_clear_error(tmp_path, make, message):
    make(tmp_path / "A0001.mat")
    with pytest.raises(ValueError, match=message) as caught:
        read(tmp_path / "A0001")
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "A0001.mat") in str(caught.value)


def test_neither_header_nor_mat(tmp_path):
    with pytest.raises(FileNotFoundError, match="no WFDB header"):
        read(tmp_path / "A0001")
    with pytest.raises(FileNotFoundError, match="no file"):
        matlab.read(tmp_path / "A0001.mat")
