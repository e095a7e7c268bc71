import numpy as np
import pytest

from kmerl_jax.signals import files
from kmerl_jax.signals.arrays import Layout, parse_names
from kmerl_jax.signals.leads import STANDARD

SIGNAL = np.random.default_rng(0).normal(0, 0.3, (1000, 3)).round(4)


def write(path, lines, header="V1,II,aVR", between=","):
    rows = [between.join(f"{x:.4f}" for x in row) for row in lines]
    path.write_text("\n".join([header] * bool(header) + rows) + "\n")
    return path


def test_a_csv_with_names_in_any_order(tmp_path):
    ecg = files.read(write(tmp_path / "a.csv", SIGNAL, "v1, Lead II,AVR"), Layout(250))
    assert (ecg.leads, ecg.rate, ecg.left_out) == (("V1", "II", "aVR"), 250, ())
    np.testing.assert_allclose(ecg.signal, SIGNAL.T, rtol=1e-6)


@pytest.mark.parametrize("between", [",", ";", "\t", "  "])
def test_separators(tmp_path, between):
    ecg = files.read(write(tmp_path / "a.txt", SIGNAL, between.join(("V1", "II", "aVR")), between), Layout(500))
    np.testing.assert_allclose(ecg.signal, SIGNAL.T, rtol=1e-6)


def test_decimal_commas(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("I;II\n" + "".join(f"{a:.4f};{b:.4f}\n".replace(".", ",") for a, b, _ in SIGNAL))
    np.testing.assert_allclose(files.read(path, Layout(500)).signal, SIGNAL[:, :2].T, rtol=1e-6)


def test_names_that_are_given_name_the_columns(tmp_path):
    path = write(tmp_path / "a.csv", SIGNAL, header="")
    ecg = files.read(path, Layout(500, names=parse_names("II, -,V6")))
    assert (ecg.leads, ecg.left_out) == (("II", "V6"), ("-",))
    np.testing.assert_allclose(ecg.signal, SIGNAL[:, [0, 2]].T, rtol=1e-6)


def test_other_columns_and_empty_cells(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("time,I\n0,0.1\n0.1,\n0.2,0.3\n")
    ecg = files.read(path, Layout(500))
    assert (ecg.leads, ecg.left_out) == (("I",), ("time",))
    np.testing.assert_allclose(ecg.signal, [[0.1, np.nan, 0.3]], rtol=1e-6)


@pytest.mark.parametrize(("unit", "scale"), [("mV", 1), ("uV", 1e-3), ("µV", 1e-3), ("V", 1e3), ("nV", 1e-6)])
def test_units(tmp_path, unit, scale):
    np.save(tmp_path / "a.npy", SIGNAL)
    ecg = files.read(tmp_path / "a.npy", Layout(500, unit, ("I", "II", "III")))
    np.testing.assert_allclose(ecg.signal, SIGNAL.T * scale, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.int16, np.float64, ">f4"])
def test_arrays_either_way_round(tmp_path, dtype):
    signal = (SIGNAL * 1000).astype(dtype)
    np.save(tmp_path / "a.npy", signal)
    np.savez_compressed(tmp_path / "b.npz", ecg=signal.T)
    layout = Layout(500, "uV", ("I", "II", "III"))
    for path in (tmp_path / "a.npy", tmp_path / "b.npz"):
        np.testing.assert_allclose(files.read(path, layout).signal, signal.T.astype(float) / 1000, rtol=1e-6)


def test_names_in_capitals(tmp_path):
    path = write(tmp_path / "a.CSV", SIGNAL)
    np.save(tmp_path / "a.npy", SIGNAL)
    (tmp_path / "a.npy").rename(tmp_path / "A.NPY")
    a, b = files.read(path, Layout(500)), files.read(tmp_path / "A.NPY", Layout(500, names=("V1", "II", "aVR")))
    np.testing.assert_allclose(a.signal, b.signal, rtol=1e-6)


def test_one_lead_and_all_twelve(tmp_path):
    np.save(tmp_path / "one.npy", SIGNAL[:, 0])
    assert files.read(tmp_path / "one.npy", Layout(500, names=("II",))).signal.shape == (1, 1000)
    np.save(tmp_path / "twelve.npy", np.zeros((12, 50)))
    assert files.read(tmp_path / "twelve.npy", Layout(500, names=parse_names("12"))).leads == STANDARD


@pytest.mark.parametrize(
    ("text", "leads", "expected"),
    [
        ("I,II\n0.5,\n,0.7\n", None, [[0.5, np.nan], [np.nan, 0.7]]),
        ('"I","II"\n"0.5","0.6"\n', None, [[0.5], [0.6]]),
        ("0.5,,0.7\n1,2,3\n", ("I", "-", "II"), [[0.5, 1], [0.7, 3]]),
        ("0,5;0,7\n0,1;0,2\n", ("I", "II"), [[0.5, 0.1], [0.7, 0.2]]),
        ("I\tII\n1\t2\n\n\n", None, [[1], [2]]),
        ("I II\n 1 NaN\n", None, [[1], [np.nan]]),
    ],
)
def test_what_people_write(tmp_path, text, leads, expected):
    (tmp_path / "a.csv").write_text(text)
    np.testing.assert_allclose(files.read(tmp_path / "a.csv", Layout(500, names=leads)).signal, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("I,I\n0,1\n", "lead I is there twice"),
        ("I,II\n0,1\n\n2,3\n", "line 3: 0 cells, and 2"),
        ("I,II\n0,012,0,034\n", "line 2: 4 cells, and 2"),
        ("1,,2\n", "has no line of names"),
    ],
)
def test_what_cannot_be_meant(tmp_path, text, message):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        files.read(tmp_path / "a.csv", Layout(500))
