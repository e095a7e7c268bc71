import itertools

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
            "entry": "int32", "signal": "int16", "presence": "bool", "segments": "int32", "index": "uint32",
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
    assert list(one["entry"]) != list(take(1, examples=examples, batch_size=size, seed=1)[0]["entry"])


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


def test_what_cannot_be_read(examples, demo_store):
    with pytest.raises(ValueError, match="not divisible by 3 processes"):
        Stream(examples, 8, 0, processes=3)
    empty = Examples(examples.entries, examples.rows[:0], examples.texts, examples.text_id[:0], examples.labels[:0])
    with pytest.raises(ValueError, match="empty"):
        Stream(empty, 8, 0)
