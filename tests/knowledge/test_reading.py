"""What records mention, by closed form; and what is written of it."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmerl_jax.knowledge import reading
from kmerl_jax.knowledge.reading import NEGATED, POSSIBLE, PRESENT, PREVIOUS, STATUSES, UNMENTIONED, build, load, save

ABOVE = {"af": {"arrhythmia", "rhythm"}, "pvc": {"arrhythmia", "rhythm"}, "arrhythmia": {"rhythm"}}
MENTIONS = {
    "fibrillates": [("af", "present")],
    "may fibrillate": [("af", "possible")],
    "no fibrillation": [("af", "negated"), ("pvc", "present")],
    "used to fibrillate": [("af", "previous")],
}


def read(*records):
    return build(reading.rows_of(records), MENTIONS, ABOVE, len(records), {"af": {"synonyms": ["a"]}}, {"by": "hand"})


def column(one, name):
    return one.statuses[:, one.names.index(name)].tolist()


def test_statuses_and_superclasses():
    one = read(["Fibrillates."], ["may fibrillate"], ["no fibrillation"], ["used to fibrillate"], [])
    assert one.names == ("af", "arrhythmia", "pvc", "rhythm")
    assert column(one, "af") == [PRESENT, POSSIBLE, NEGATED, PREVIOUS, UNMENTIONED]
    assert column(one, "arrhythmia") == [PRESENT, POSSIBLE, PRESENT, UNMENTIONED, UNMENTIONED]
    assert one.superclasses == {"arrhythmia": ("af", "pvc"), "rhythm": ("af", "arrhythmia", "pvc")}
    assert one.about == {"af": {"synonyms": ["a"]}, "arrhythmia": {}, "pvc": {}, "rhythm": {}}


def test_an_entity_that_no_record_mentions_is_not_there():
    one = read(["used to fibrillate"])
    assert (one.names, one.superclasses) == (("af",), {})


@given(st.lists(st.sampled_from(sorted(MENTIONS)), max_size=6))
def test_the_strongest_status_of_a_record_holds_in_any_order(texts):
    one, other = read(texts, ["fibrillates"]), read(texts[::-1] * 2, ["fibrillates"])
    np.testing.assert_array_equal(one.statuses, other.statuses)
    said = [dict(MENTIONS[text]).get("af") for text in texts]
    strongest = max((STATUSES.index(status) + 1 for status in said if status), default=UNMENTIONED)
    assert column(one, "af")[0] == strongest


def test_rows_of_normalised_texts():
    assert reading.rows_of([["A.", "*** b ***"], [], ["a", ""], ["A"]]) == {"a": [0, 2, 3], "b": [0]}


@pytest.fixture
def saved(tmp_path):
    one = read(["fibrillates"], ["may fibrillate"], ["no fibrillation"])
    save(one, tmp_path / "knowledge" / "hand")
    return one, tmp_path / "knowledge" / "hand"


def test_save_and_load(saved):
    one, folder = saved
    again = load(folder)
    assert (again.names, again.superclasses, again.about) == (one.names, one.superclasses, one.about)
    assert again.provenance == {"by": "hand"}
    np.testing.assert_array_equal(again.statuses, one.statuses)
    head = json.loads((folder / "entities.json").read_text())
    assert head["entities"][0] == {
        "name": "af",
        "synonyms": ["a"],
        "records": {"negated": 1, "previous": 0, "possible": 1, "present": 1},
    }
    assert head["statuses"] == {"unmentioned": 0, "negated": 1, "previous": 2, "possible": 3, "present": 4}
    assert [path.name for path in folder.parent.iterdir()] == ["hand"]


def test_save_does_not_write_over(saved):
    one, folder = saved
    with pytest.raises(FileExistsError, match="choose another name"):
        save(one, folder)


def test_of_two_processes_that_save_one_is_refused(saved, monkeypatch):
    one, folder = saved
    monkeypatch.setattr(reading.Path, "exists", lambda _: False)  # when the second began, there was nothing yet
    with pytest.raises(FileExistsError, match="by another process"):
        save(one, folder)
    assert [path.name for path in folder.parent.iterdir()] == ["hand"]


def test_interrupted_save_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(reading.np, "save", lambda *_, **__: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        save(read(["fibrillates"]), tmp_path / "hand")
    assert list(tmp_path.iterdir()) == []


def test_missing_files(saved, tmp_path):
    _, folder = saved
    with pytest.raises(FileNotFoundError, match=r"entities\.json is missing; python -m kmerl_jax\.mine writes it"):
        load(tmp_path / "nowhere")
    (folder / "statuses.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"statuses\.npy is missing"):
        load(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 99}, "is of version 99, this is version 2"),
        ({"format": "something"}, "is not a file of kmerl_jax knowledge"),
        ({"records": 7}, r"holds int8 \(3, 4\), entities\.json says int8 \(7, 4\)"),
        ({"entities": [{"name": "af"}]}, r"entities\.json says int8 \(3, 1\)"),
    ],
)
def test_files_that_do_not_fit_are_refused(saved, change, message):
    _, folder = saved
    head = json.loads((folder / "entities.json").read_text())
    (folder / "entities.json").write_text(json.dumps(head | change))
    with pytest.raises(ValueError, match=message):
        load(folder)


@pytest.mark.parametrize("name", ["entities.json", "statuses.npy"])
def test_damaged_files_are_refused(saved, name):
    _, folder = saved
    (folder / name).write_bytes(b"{ half a fi")
    with pytest.raises(ValueError, match="is damaged"):
        load(folder)


def test_an_array_of_python_objects_is_refused(saved):
    _, folder = saved
    np.save(folder / "statuses.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(ValueError, match="is damaged"):
        load(folder)
