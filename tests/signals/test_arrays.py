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


def test_one_lead_and_all_twelve(tmp_path):
    np.save(tmp_path / "one.npy", SIGNAL[:, 0])
    assert files.read(tmp_path / "one.npy", Layout(500, names=("II",))).signal.shape == (1, 1000)
    np.save(tmp_path / "twelve.npy", np.zeros((12, 50)))
    assert files.read(tmp_path / "twelve.npy", Layout(500, names=parse_names("12"))).leads == STANDARD
