import errno
import json
import os

from kmerl_jax.training.writers import Metrics


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_lines_of_steps_that_are_taken_again_are_dropped(tmp_path):
    metrics = Metrics(tmp_path, 0)
    for step in (1, 2, 3):
        metrics.write(step, {"loss": step / 2})
    metrics.write(2, {"loss": 7.0}, split="val")
    metrics.close()
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"step": 4, "lo')  # killed here
    metrics = Metrics(tmp_path, 2)
    metrics.write(3, {"loss": 9.0})
    metrics.close()
    assert [(line["step"], line["loss"], line.get("split")) for line in lines(tmp_path)] == [
        (1, 0.5, None), (2, 1.0, None), (2, 7.0, "val"), (3, 9.0, None),
    ]  # fmt: skip


class Full:
    """A file on a disk that takes ten more bytes, until there is room."""

    def __init__(self, file):
        self.file, self.name, self.room = file, file.name, 10

    def write(self, data):
        if self.room is None:
            return self.file.write(data)
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written, self.room = self.file.write(data[: self.room]), 0
        return written

    def __getattr__(self, name):
        return getattr(self.file, name)


def test_a_full_disk_loses_no_line_and_leaves_no_half_one(tmp_path, caplog):
    metrics = Metrics(tmp_path, 0)
    metrics.write(1, {"loss": 1.0})
    metrics._file = Full(metrics._file)
    for step in (2, 3):
        metrics.write(step, {"loss": 1.0})
        assert [line["step"] for line in lines(tmp_path)] == [1]
    assert "No space left on device; 2 line(s) wait to be written" in caplog.text
    metrics._file.room = None
    metrics.write(4, {"loss": 1.0})
    metrics.close()
    assert [line["step"] for line in lines(tmp_path)] == [1, 2, 3, 4]
