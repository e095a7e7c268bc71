import dataclasses
import itertools
import re
import threading

import numpy as np
import pytest

from kmerl_jax.cohorts.store import Store
from kmerl_jax.training.stream import Examples, Stream


@pytest.fixture(scope="module")
def examples(demo_store):
    opened = Store(demo_store)
    rows = opened.rows("train")
    rng = np.random.default_rng(0)
    labels = rng.integers(-1, 2, (len(rows), 3)).astype(np.int8)
    text_id = rng.integers(7, size=len(rows)).astype(np.int32)
    return Examples(opened.entries, rows, {"text": rng.normal(size=(7, 5)).astype(np.float32)}, text_id, labels)


def take(count, **options):
    iterator = iter(Stream(**options))
    batches = list(itertools.islice(iterator, count))
    iterator.close()
    return batches


def joined(parts):
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def test_a_batch_is_what_the_store_holds(examples, demo_store):
    opened = Store(demo_store)
    for batch in take(2, examples=examples, batch_size=6, seed=3):
        assert {name: value.dtype.name for name, value in batch.items()} == {
            "entry": "int32", "unreadable": "int32", "signal": "int16", "presence": "bool",
            "segments": "int32", "index": "uint32", "first": "uint32",
            "text": "float32", "text_id": "int32", "labels": "int8",
        }  # fmt: skip
        for n, entry in enumerate(batch["entry"]):
            position = list(examples.rows).index(entry)
            window = opened[int(entry)]
            np.testing.assert_array_equal(batch["signal"][n], window.signal)
            np.testing.assert_array_equal(batch["presence"][n], window.presence)
            assert batch["segments"][n] == window.segments
            np.testing.assert_array_equal(batch["labels"][n], examples.labels[position])
            np.testing.assert_array_equal(batch["text"][n], examples.texts["text"][examples.text_id[position]])


def test_each_pass_shows_every_record_once_in_another_order(examples):
    size = len(examples.rows)
    one, two = take(2, examples=examples, batch_size=size, seed=0)
    assert sorted(one["entry"]) == sorted(two["entry"]) == sorted(examples.rows)
    assert list(one["entry"]) != list(two["entry"])
    assert list(one["index"]) == list(range(size))
    assert list(two["index"]) == list(range(size, 2 * size))
    assert list(two["first"]) == [size] * size
    assert list(one["entry"]) != list(take(1, examples=examples, batch_size=size, seed=1)[0]["entry"])


def test_the_order_is_that_of_earlier_versions(examples):
    """A run that was begun with one goes on with the records that it has not seen."""
    ten = dataclasses.replace(examples, rows=examples.rows[:10])
    passes = take(2, examples=ten, batch_size=10, seed=3)
    order = [[list(ten.rows).index(entry) for entry in batch["entry"]] for batch in passes]
    assert order == [[4, 6, 9, 7, 5, 3, 1, 8, 2, 0], [8, 1, 3, 7, 9, 0, 5, 4, 2, 6]]


@pytest.mark.parametrize("processes", [2, 4])
def test_processes_read_contiguous_blocks_of_the_same_batches(examples, processes):
    whole = take(3, examples=examples, batch_size=8, seed=0)
    parts = [take(3, examples=examples, batch_size=8, seed=0, process=n, processes=processes) for n in range(processes)]
    for step, batch in enumerate(whole):
        together = joined([part[step] for part in parts])
        for name, value in batch.items():
            np.testing.assert_array_equal(together[name], value)


def test_workers_change_nothing(examples):
    plain, worked = (take(5, examples=examples, batch_size=4, seed=0, workers=n) for n in (0, 2))
    for a, b in zip(plain, worked, strict=True):
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])


def test_one_integer_is_the_whole_state(examples):
    whole = take(6, examples=examples, batch_size=4, seed=0)
    stream = Stream(examples, 4, 0)
    iterator = iter(stream)
    for _ in range(3):
        next(iterator)
    iterator.close()
    assert stream.next_index == 12
    for a, b in zip(whole[3:], take(3, examples=examples, batch_size=4, seed=0, next_index=12), strict=True):
        np.testing.assert_array_equal(a["entry"], b["entry"])
        np.testing.assert_array_equal(a["index"], b["index"])
    # Another batch size goes on with the same records.
    other = take(2, examples=examples, batch_size=6, seed=0, next_index=12)
    assert list(joined(other)["entry"]) == list(joined(whole[3:])["entry"])


class Damaged:
    """Entries of which some cannot be read."""

    def __init__(self, entries, bad):
        self.entries, self.bad = entries, set(bad)

    def __getitem__(self, entry):
        if entry in self.bad:
            raise ValueError(f"entry {entry} of the store, in records, cannot be read (hash mismatch)")
        return self.entries[entry]

    def file_of(self, entry):
        return self.entries.file_of(entry)


def test_another_record_stands_in_for_one_that_cannot_be_read(examples):
    bad = [int(entry) for entry in examples.rows[[3, 40, 41]]]
    damaged = dataclasses.replace(examples, entries=Damaged(examples.entries, bad))
    size = len(examples.rows)
    [whole] = take(1, examples=examples, batch_size=size, seed=0)
    [batch] = take(1, examples=damaged, batch_size=size, seed=0, skip_unreadable=True)
    skipped = np.isin(whole["entry"], bad)
    assert skipped.sum() == 3
    np.testing.assert_array_equal(batch["unreadable"], np.where(skipped, whole["entry"], -1))
    for name in whole:
        np.testing.assert_array_equal(batch[name][~skipped], whole[name][~skipped])
    assert not np.isin(batch["entry"], bad).any()
    for n in np.flatnonzero(skipped):  # a stand-in comes with its own labels and text
        row = list(examples.rows).index(batch["entry"][n])
        np.testing.assert_array_equal(batch["labels"][n], examples.labels[row])
        assert batch["text_id"][n] == examples.text_id[row]
    parts = [
        take(1, examples=damaged, batch_size=size, seed=0, skip_unreadable=True, process=n, processes=2)[0]
        for n in range(2)
    ]
    np.testing.assert_array_equal(joined(parts)["entry"], batch["entry"])  # the same ones on any process


def test_a_record_that_cannot_be_read_is_an_error_that_names_it(examples):
    bad = int(examples.rows[3])
    damaged = dataclasses.replace(examples, entries=Damaged(examples.entries, [bad]))
    with pytest.raises(ValueError, match=rf"entry {bad} of the store.*--config.data.unreadable=skip goes on"):
        take(1, examples=damaged, batch_size=len(examples.rows), seed=0)
    nothing = dataclasses.replace(examples, entries=Damaged(examples.entries, examples.rows.tolist()))
    with pytest.raises(ValueError, match="nothing of the split can be read"):
        take(1, examples=nothing, batch_size=4, seed=0, skip_unreadable=True)


def test_what_is_being_read_can_be_told(examples):
    started, go_on = threading.Event(), threading.Event()

    class Slow(Damaged):
        def __getitem__(self, entry):
            started.set()
            go_on.wait()
            return super().__getitem__(entry)

    stream = Stream(dataclasses.replace(examples, entries=Slow(examples.entries, [])), 4, 0)
    thread = threading.Thread(target=lambda: next(iter(stream)))
    thread.start()
    started.wait()
    assert re.fullmatch(r"reading entry \d+, in .*records-\d+.array_record, for 0 s", stream.doing())
    go_on.set()
    thread.join()
    assert Stream(examples, 4, 0, workers=2).doing() == "waiting for 2 worker processes that read records"


def test_what_cannot_be_read(examples, demo_store):
    with pytest.raises(ValueError, match="not divisible by 3 processes"):
        Stream(examples, 8, 0, processes=3)
    empty = Examples(examples.entries, examples.rows[:0], examples.texts, examples.text_id[:0], examples.labels[:0])
    with pytest.raises(ValueError, match="empty"):
        Stream(empty, 8, 0)
