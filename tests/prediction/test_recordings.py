import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kmerl_jax.command import line_about
from kmerl_jax.prediction import bags, recordings
from kmerl_jax.signals import files
from kmerl_jax.signals.arrays import Layout
from kmerl_jax.signals.leads import STANDARD
from tests.prediction import malformed

LAYOUT = Layout(500, names=STANDARD)


def test_each_malformed_file_is_one_clear_error(tmp_path):
    wrong = malformed.write_all(tmp_path)
    assert len(wrong) >= 60
    for path, message in wrong.items():
        layout = Layout(500) if path.suffix == ".csv" else LAYOUT
        with pytest.raises((ValueError, OSError)) as error:
            bags.of_ecg(files.read(path, layout))
        said = line_about(path, error.value)
        assert str(path.with_suffix("")) in said
        assert message in said, path.name
        assert len(said) < 400, path.name


@settings(max_examples=150, deadline=None)
@given(data=st.binary(max_size=300), start=st.sampled_from(["", "I,II\n0,1\n", "I;II\n", "time,V1\n"]))
def test_any_text_is_read_or_refused(data, start, tmp_path_factory):
    path = tmp_path_factory.mktemp("any") / "a.csv"
    path.write_bytes(start.encode() + data)
    try:
        ecg = files.read(path, Layout(500))
    except (ValueError, OSError):
        return
    assert ecg.signal.shape[0] == len(ecg.leads) > 0


@settings(max_examples=100, deadline=None)
@given(at=st.integers(0, 3000), value=st.integers(0, 255), cut=st.integers(0, 3000))
@pytest.mark.parametrize("suffix", [".npy", ".dcm", ".hea"])
def test_a_damaged_file_is_read_or_refused(at, value, cut, suffix, tmp_path_factory):
    from tests.signals import dicoms

    folder = tmp_path_factory.mktemp("damaged")
    path = folder / f"a{suffix}"
    steps = np.arange(600).reshape(2, 300)
    if suffix == ".npy":
        np.save(path, steps)
    elif suffix == ".dcm":
        dicoms.write(path, dicoms.group(steps, ("I", "II"), 500))
    else:
        path.write_text("a 2 500 300\n" + "".join(f"a.dat 16 1000/mV 16 0 0 0 0 {lead}\n" for lead in ("I", "II")))
        (folder / "a.dat").write_bytes(bytes(1200))
    data = bytearray(path.read_bytes())
    data[at % len(data)] = value
    path.write_bytes(data[: len(data) - cut % len(data)])
    try:
        ecg = files.read(path, Layout(500, names=("I", "II")))
    except (ValueError, OSError):
        return
    assert ecg.signal.shape[0] == len(ecg.leads) > 0


@pytest.fixture
def folder(tmp_path):
    for name in ("a.hea", "a.dat", "b.mat", "c.csv", "d.npy", "e.dcm", "notes.md", "in/f.hea"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def names(found, folder):
    return [str(path.relative_to(folder)) for path in found]


def test_a_folder(folder):
    assert names(recordings.find([str(folder)], False), folder) == ["a.hea", "b.mat", "e.dcm", "in/f.hea"]
    assert names(recordings.find([str(folder)], True), folder) == [
        "a.hea",
        "b.mat",
        "c.csv",
        "d.npy",
        "e.dcm",
        "in/f.hea",
    ]


def test_each_once(folder):
    named = [str(folder / name) for name in ("a", "a.dat", "c.csv", "a.hea")]
    assert names(recordings.find(named, False), folder) == ["a", "c.csv"]


def test_patterns(folder):
    assert names(recordings.find([str(folder / "**/*.hea")], False), folder) == ["a.hea", "in/f.hea"]
    with pytest.raises(FileNotFoundError, match="no recording is in"):
        recordings.find([str(folder / "*.xyz")], False)
    (folder / "none").mkdir()
    with pytest.raises(FileNotFoundError, match="CSV and NumPy need --rate"):
        recordings.find([str(folder / "none")], False)
