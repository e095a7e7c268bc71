import json
import shutil

import numpy as np
import pytest

from kmerl_jax.cohorts import store
from kmerl_jax.cohorts.store import Store
from kmerl_jax.signals import waveform
from kmerl_jax.signals.files import read_wfdb
from kmerl_jax.signals.waveform import Window

RNG = np.random.default_rng(0)


def test_an_entry_decodes_to_what_was_encoded():
    for _ in range(20):
        signal = RNG.integers(-32768, 32768, (12, 5000)).astype(np.int16)
        window = Window(signal, RNG.random(12) < 0.5, int(RNG.integers(1, 51)))
        entry = store.encode(window)
        assert len(entry) == 4 + 12 * 5000 * 2
        back = store.decode(entry)
        np.testing.assert_array_equal(back.signal, window.signal)
        np.testing.assert_array_equal(back.presence, window.presence)
        assert back.segments == window.segments


def test_a_store_holds_the_files_signals(demo_store, demo_files):
    opened = Store(demo_store)
    assert len(opened) == 150
    assert len(set(opened.table["record"])) == 150
    paths = {path.stem: path for path in demo_files.glob("files/**/*.hea")}
    for row in (0, 70, 149):
        expected, _ = waveform.to_window(read_wfdb(paths[opened.table["record"][row]]))
        np.testing.assert_array_equal(opened[row].signal, expected.signal)
        np.testing.assert_array_equal(opened[row].presence, expected.presence)


def test_patients_never_cross_splits(demo_store):
    opened = Store(demo_store)
    assert opened.table.groupby("patient")["split"].nunique().max() == 1
    assert opened.table.groupby("patient").size().max() > 1
    assert {split: len(opened.rows(split)) for split in ("train", "val", "test")} == opened.manifest["splits"]


def test_labels_are_the_truth(demo_store, demo_files):
    opened = Store(demo_store)
    labels = opened.labels()
    names = list(opened.label_names)
    truth = dict(line.split(",")[1:] for line in (demo_files / "findings.csv").read_text().splitlines()[1:])
    for row in range(len(opened)):
        said = truth[opened.table["record"][row]].split("|")
        assert sorted(said) == sorted(name for name, there in zip(names, labels[row], strict=True) if there)


@pytest.fixture
def copy(demo_store, tmp_path):
    return shutil.copytree(demo_store, tmp_path / "store")


def edit(folder, **changes):
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | changes))


def shorten(path):
    path.write_bytes(path.read_bytes()[:-1000])


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (lambda d: edit(d, format_version=99), ValueError, "format version 99"),
        (lambda d: shorten(d / "records-00001.array_record"), ValueError, "truncated"),
        (
            lambda d: (d / "records-00001.array_record").unlink(),
            FileNotFoundError,
            r"lacks records-00001\.array_record",
        ),
        (lambda d: shorten(d / "table.parquet"), ValueError, "truncated"),
        (lambda d: (d / "manifest.json").write_text("{"), ValueError, "damaged"),
        (shutil.rmtree, FileNotFoundError, "no store at .*prepare"),
    ],
)
def test_a_damaged_store_is_one_clear_error(copy, damage, error, message):
    damage(copy)
    with pytest.raises(error, match=message):
        Store(copy)


def test_a_damaged_file_of_windows_can_be_left_out(copy, demo_store):
    """All entries keep their numbers; those that cannot be read have no leads, and the damage is named."""
    shorten(copy / "records-00001.array_record")
    (copy / "records-00003.array_record").unlink()
    opened, whole = Store(copy, skip_unreadable=True), Store(demo_store)
    assert len(opened.damaged) == 2
    assert "records-00001.array_record has" in opened.damaged[0]
    assert "truncated" in opened.damaged[0]
    assert "lacks records-00003.array_record" in opened.damaged[1]
    assert opened.damaged[1].endswith("its 32 windows are skipped")
    for entry in (0, 31, 64, 128, 149):
        np.testing.assert_array_equal(opened[entry].signal, whole[entry].signal)
    for entry in (32, 63, 96, 127):
        assert not opened[entry].presence.any()
        assert opened[entry].segments == 0
        assert opened.entries.file_of(entry).name == f"records-0000{entry // 32}.array_record"
        with pytest.raises(ValueError, match=rf"entry {entry} of the store, in .*records-0000{entry // 32}"):
            opened.entries[entry]


def test_an_entry_that_cannot_be_read_is_named(copy):
    path = copy / "records-00001.array_record"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    opened, unread = Store(copy), []
    for entry in range(32, 64):
        try:
            opened[entry]
        except ValueError:
            unread.append(entry)
    assert len(unread) == 1
    with pytest.raises(ValueError, match=rf"entry {unread[0]} of the store, in {path}, cannot be read \(Corrupted"):
        opened[unread[0]]
    assert not Store(copy, skip_unreadable=True)[unread[0]].presence.any()


def test_verify_finds_a_flipped_byte(copy):
    Store(copy).verify()
    path = copy / "records-00000.array_record"
    data = bytearray(path.read_bytes())
    data[50_000] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match="damaged"):
        Store(copy).verify()


def test_the_summary_tells_what_was_repaired(demo_store):
    assert "150 windows of 150 records" in Store(demo_store).summary()
