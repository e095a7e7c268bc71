"""The one stream: which record stands at which place, on any number of processes and workers.

A record's place in the endless global stream decides everything random about it: one global shuffle decides which
record stands there, and its masks are drawn from the place. A global batch is a run of consecutive places; each process
reads a contiguous block of it. So the state of the whole input is one integer.
"""

import dataclasses
from collections.abc import Iterator

import grain
import numpy as np
from absl import flags

from kmerl_jax.cohorts import store

Batch = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Examples:
    """The records of one split, with their texts and labels.

    Attributes:
        entries: the store's encoded entries.
        rows: [N] indices of the split's entries in the store.
        texts: name -> [D, ...], what is known of each of D distinct reports: "text", their embeddings, or their tokens,
            "text_tokens" and "text_valid".
        text_id: [N] int32, which of them is each record's.
        labels: [N, Q] int8: 1 present, 0 absent, -1 not known.
    """

    entries: store.ArrayRecordDataSource
    rows: np.ndarray
    texts: dict[str, np.ndarray]
    text_id: np.ndarray
    labels: np.ndarray

    def describe(self, row: np.ndarray) -> Batch:
        """Texts and labels of the records at [B] positions of the split."""
        text_id = self.text_id[row]
        texts = {name: values[text_id] for name, values in self.texts.items()}
        return texts | {"text_id": text_id.astype(np.int32), "labels": self.labels[row]}


@dataclasses.dataclass(frozen=True)
class _Signals:
    """Random access to the signals alone: all that a worker process needs to be sent."""

    entries: store.ArrayRecordDataSource
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> Batch:
        entry = int(self.rows[row])
        try:
            window = store.decode(self.entries[entry])
        except Exception as error:  # array_record raises bare RuntimeErrors
            raise ValueError(f"entry {entry} of the store cannot be read ({error}); prepare the store again") from error
        return {
            "row": np.int32(row),
            "entry": np.int32(entry),
            "signal": window.signal,
            "presence": window.presence,
            "segments": np.int32(window.segments),
        }


class _Blocks(grain.MapDataset):
    """Batches of this process: its contiguous block of each global batch, every record with its place."""

    def __init__(self, records: grain.MapDataset, start: int, batch_size: int, process: int, processes: int):
        super().__init__(records)
        self._start, self._stride, self._size = start, batch_size, batch_size // processes
        self._first = process * self._size

    def __len__(self) -> int:
        return (len(self._parent) - self._start) // self._stride

    def __getitem__(self, n: int) -> Batch:
        places = self._start + n * self._stride + self._first + np.arange(self._size)
        records = [self._parent[int(place)] for place in places]
        batch = {name: np.stack([record[name] for record in records]) for name in records[0]}
        return batch | {"index": places.astype(np.uint32)}


class Stream:
    """The endless stream of training batches, as this process sees it.

    Attributes:
        next_index: the place of the next global batch's first record; the stream's whole state.
    """

    def __init__(
        self,
        examples: Examples,
        batch_size: int,
        seed: int,
        next_index: int = 0,
        process: int = 0,
        processes: int = 1,
        workers: int = 0,
    ):
        """Args:
            examples: the records.
            batch_size: of the global batch.
            seed: of the shuffle; every pass over the records has an order of its own.
            next_index: where to begin.
            process: this process.
            processes: how many there are.
            workers: Grain worker processes; 0 reads in threads, which is enough unless a profile says otherwise.

        Raises:
            ValueError: no records, or a batch that the processes do not divide.
        """
        if len(examples.rows) == 0:
            raise ValueError("no record to read: the split is empty")
        if batch_size % processes:
            raise ValueError(f"train.batch_size={batch_size} is not divisible by {processes} processes")
        self.next_index, self._batch_size, self._workers, self._examples = next_index, batch_size, workers, examples
        signals = _Signals(examples.entries, examples.rows)
        records = grain.MapDataset.source(signals).seed(seed).shuffle().repeat(None)
        self._blocks = _Blocks(records, next_index, batch_size, process, processes)

    def __iter__(self) -> Iterator[Batch]:
        """Batches from `next_index` on; `next_index` moves with each.

        A batch holds, of each record: "index" (uint32, its place), "entry" (int32, its row in the store), "signal"
        [12, 5000] int16 µV, "presence" [12], "segments", "text_id", "labels" [Q], and what `Examples.texts` has.
        """
        # Grain's default buffers 500 elements, and an element is a batch here.
        data = self._blocks.to_iter_dataset(grain.ReadOptions(num_threads=2, prefetch_buffer_size=4))
        if self._workers:
            if not flags.FLAGS.is_parsed():  # Grain's workers read absl flags, which a library user never parsed
                flags.FLAGS.mark_as_parsed()
            data = data.mp_prefetch(grain.MultiprocessingOptions(self._workers, per_worker_buffer_size=2))
        iterator = iter(data)
        try:
            for batch in iterator:
                self.next_index += self._batch_size
                yield batch | self._examples.describe(batch.pop("row"))
        finally:
            if self._workers:
                iterator.close()
