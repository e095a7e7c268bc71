"""What a table of the paper is: rows that are models, and columns that are measures."""

import dataclasses
import re
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Measure:
    """What a column says of a model.

    Attributes:
        name: as it is printed.
        kind: "zero_shot" or "linear_probe".
        leads: name of the set that is seen.
        ratio: of the training records, for a probe.
        group: "" or, of the classes, those "seen" or "unseen" in pretraining.
        statistic: "auroc" or "f1", the mean over classes.
    """

    name: str
    kind: str
    leads: str = "12"
    ratio: float = 1.0
    group: str = ""
    statistic: str = "auroc"


@dataclasses.dataclass(frozen=True)
class Row:
    """A model, as changes of a config.

    Attributes:
        label: as it is printed.
        config: of configs/.
        changes: fields and their values.
        scaled: fields that are this many times what the recipe has, whatever that is.
        encoder: "pretrained"; "random" is one of the same shape that has learnt nothing, "supervised" one that learns
            from labels alone.
        scores: how it is asked by name; "": its own way.
        prompts: whether it is asked by the prompts of `--prompts` and not by names.
    """

    label: str
    config: str = "vit_tiny"
    changes: Mapping[str, object] = dataclasses.field(default_factory=dict)
    scaled: Mapping[str, float] = dataclasses.field(default_factory=dict)
    encoder: str = "pretrained"
    scores: str = ""
    prompts: bool = False


@dataclasses.dataclass(frozen=True)
class Table:
    """A table or figure.

    Attributes:
        title: what it shows.
        rows: the first is what the others are compared with.
        columns: of all rows.
        by_task: whether every task has columns of its own; else their mean alone.
        seeds: of pretraining, for each row.
        curve: whether its picture is a curve over the columns, whose names are numbers; else it is bars.
        tuning: whether something is to be chosen by it: then validation records are scored, never those of a test.
        published: what is to be known of the paper's numbers.
    """

    title: str
    rows: tuple[Row, ...]
    columns: tuple[Measure, ...]
    by_task: bool = False
    seeds: int = 1
    curve: bool = False
    tuning: bool = False
    published: str = ""

    def only(self, pattern: str) -> "Table":
        """The first row, and those whose label a regular expression finds.

        Raises:
            ValueError: it is no regular expression, or finds no row.
        """
        first = self.rows[0]
        try:
            found = [row for row in self.rows if re.search(pattern, row.label)]
        except re.error as error:
            raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
        if not found:
            there = "; ".join(row.label for row in self.rows)
            raise ValueError(f"{pattern!r} finds no row of {self.title!r}; there are {there}")
        return dataclasses.replace(self, rows=(first, *(row for row in found if row is not first)))
