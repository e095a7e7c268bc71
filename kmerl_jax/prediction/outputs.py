"""The files of a prediction: pictures and pages as recordings are answered, JSON and CSV at the end."""

import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kmerl_jax.evaluation import files
from kmerl_jax.prediction import table
from kmerl_jax.prediction.answer import Answer
from kmerl_jax.prediction.model import Model

log = logging.getLogger(__name__)


class Outputs:
    """Where what is said goes; nothing is there half."""

    def __init__(self, plot: str | None, html: str | None, json: str | None, csv: str | None, count: int, progress):
        """Args:
        plot: a .png file, or a folder; None: no pictures.
        html: an .html file, or a folder.
        json: a file.
        csv: a file.
        count: of recordings.
        progress: makes, of what is done and what is counted, a function of the number done and the number in all.

        Raises:
            ValueError: one file for several pictures, another kind of file, or one that cannot be written.
            OSError: a folder that cannot be made.
        """
        self._plot, self._html = _place("plot", plot, ".png", count), _place("html", html, ".html", count)
        self._json, self._csv = (Path(path) if path else None for path in (json, csv))
        if self._json and self._json == self._csv:
            raise ValueError(f"--json and --csv are both {self._json}")
        self._used: set[Path] = set()
        self._progress = progress
        for path in filter(None, (self._json, self._csv, self._plot, self._html)):
            folder = path if path in (self._plot, self._html) and not path.suffix else path.parent
            folder.mkdir(parents=True, exist_ok=True)
            if not os.access(folder, os.W_OK) or (path != folder and path.is_dir()):
                raise ValueError(f"{path} cannot be written")

    def draw(self, model: Model, answer: Answer, about: str | None) -> None:
        """Writes the picture and the page of an answer, of the window where what they are about is most probable.

        Args:
            model: who answered.
            answer: of a recording.
            about: one of its findings; None: the most probable.

        Raises:
            ValueError: a model that cannot say where it looked.
        """
        if not self._plot and not self._html:
            return
        model.check_looking()
        from kmerl_jax.prediction import looking, page, paper  # Matplotlib takes a second to import

        names = [one.name for one in answer.findings]
        finding = names.index(about) if about else 0
        window = int(np.argmax(answer.findings[finding].by_window))
        looked = looking.look(model, answer.windows[window], names)
        if self._plot:
            target = self._target(self._plot, ".png", answer.record)
            files.write_picture(target, paper.draw(answer, window, finding, looked))
            log.info(f"  picture: {target}")
        if self._html:
            target = self._target(self._html, ".html", answer.record)
            progress = self._progress("asking with every set of leads", "sets")
            subsets = looking.every_subset(model, answer.windows[window], names, progress)
            files.write_text(target, page.write(model, answer, window, finding, looked, subsets))
            log.info(f"  page: {target}")

    def write(self, model: Model, answers: Sequence[Answer], failed: dict[str, str]) -> None:
        """Writes JSON and CSV."""
        if self._json:
            files.write_json(self._json, table.as_json(model.facts(), answers, failed))
        if self._csv:
            files.write_text(self._csv, table.as_csv(answers, failed))

    def _target(self, path: Path, suffix: str, record: str) -> Path:
        """A file in the folder, named after the record; no two are called alike."""
        if path.suffix:
            return path
        # Of the whole path: names repeat in folders.
        name = re.sub(r"[^\w.-]+", "_", record.strip("./").removesuffix(".hea"))[-200:] or "record"
        target, number = path / f"{name}{suffix}", 2
        while target in self._used:
            target, number = path / f"{name}_{number}{suffix}", number + 1
        self._used.add(target)
        return target


def _place(flag: str, path: str | None, suffix: str, count: int) -> Path | None:
    """The file or the folder that a flag names."""
    if not path:
        return None
    place = Path(path)
    if place.suffix.lower() not in ("", suffix) or (place.suffix and place.is_dir()):
        raise ValueError(f"--{flag}={path}: a {suffix} file, or a folder (without a dot in its name)")
    if place.suffix and count > 1:
        raise ValueError(f"--{flag}={path} is one file for {count} recordings; name a folder")
    return place
