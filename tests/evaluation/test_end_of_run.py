import json

import numpy as np
import pytest

from kmerl_jax.evaluation import end_of_run
from kmerl_jax.evaluation.task import Part, Task

RNG = np.random.default_rng(0)


def make_task(names, labels, unseen=(), patients=None):
    rows = np.arange(len(labels))
    scored = Part(rows.astype(str), rows if patients is None else patients, labels, rows, rows)
    nothing = Part(rows[:0].astype(str), rows[:0], labels[:0], rows[:0], rows[:0])
    return Task("demo", "truth", names, names, {"train": scored, "val": nothing, "test": scored}, unseen)


def synthetic_results(blind=True):
    """A task of 4 classes where 12 leads see all, II sees nothing of an infarct, and the probe is weaker."""
    count, names = 300, ("anterior myocardial infarction", "sinus rhythm", "never heard of", "half known")
    labels = (RNG.random((count, 4)) < 0.3).astype(np.int8)
    labels[:100, 3] = -1
    one = make_task(names, labels, ("never heard of",), np.arange(count) // 2)
    clear, noise = labels + RNG.normal(0, 0.4, labels.shape), RNG.normal(size=labels.shape)
    scores = {"12": clear, "II": np.where((np.arange(4) == 0) & blind, noise, clear), "I": clear}
    everyone = np.ones(count, bool)
    seen = {"12": everyone, "II": np.arange(count) >= (10 if blind else 0), "I": everyone}
    asked = []

    def ask(leads):
        asked.append(leads)
        return scores[leads], seen[leads]

    results = end_of_run.score(one, ask, lambda leads: noise, ("12", "II"))
    return results, labels, asked


def test_scores():
    results, labels, _ = synthetic_results()
    twelve, two = results["lead_sets"]["12"], results["lead_sets"]["II"]
    assert results["records"] == 300
    assert results["patients"] == 150
    assert results["unseen"] == ["never heard of"]
    per_class = twelve["per_class"]
    assert per_class["sinus rhythm"]["positives"] == labels[:, 1].sum()
    assert per_class["half known"]["positives"] == (labels[100:, 3] == 1).sum()
    known = [per_class[name]["auroc"] for name in ("anterior myocardial infarction", "sinus rhythm", "half known")]
    assert twelve["macro_auroc"] == pytest.approx(np.mean(known))
    assert twelve["macro_ci95"][0] < twelve["macro_auroc"] < twelve["macro_ci95"][1]
    assert twelve["macro_auroc_unseen"] == per_class["never heard of"]["auroc"]
    assert twelve["random_probe_macro_auroc"] < 0.6
    assert two["records_without_these_leads"] == 10
    assert two["per_class"]["sinus rhythm"]["positives"] == labels[10:, 1].sum()


def test_a_class_that_a_probe_could_not_learn():
    """There is nothing of it, in the macro and among the blind spots; the rest is there, and again from the file."""
    labels = (RNG.random((300, 2)) < 0.3).astype(np.int8)
    one = make_task(("anterior myocardial infarction", "sinus rhythm"), labels)
    clear = labels + RNG.normal(0, 0.4, labels.shape)
    clear[:, 0] = np.nan
    seen = np.ones(300, bool)
    results = end_of_run.score(one, lambda leads: (clear, seen), lambda leads: clear, ("12", "II"), "linear probe")
    assert results["blind_spots"] == []
    twelve = results["lead_sets"]["12"]
    assert twelve["macro_auroc"] == twelve["per_class"]["sinus rhythm"]["auroc"] > 0.8
    assert end_of_run.last_line(results).startswith("linear probe macro AUROC 0.")
    assert end_of_run.last_line({"lead_sets": {"12": {"macro_auroc": None}}}) == "zero-shot macro AUROC - (12 leads)"


def test_a_blind_spot_is_found_and_one_that_is_none_is_not():
    results, _, asked = synthetic_results()
    two, one = results["blind_spots"]
    assert (two["class"], two["leads"], two["below"]) == ("anterior myocardial infarction", "II", True)
    assert (one["class"], one["leads"], one["below"]) == ("anterior myocardial infarction", "I", False)
    # Leads that are in no table are asked for the blind spots alone, and no leads twice.
    assert asked == ["12", "II", "I"]
    assert list(results["lead_sets"]) == ["12", "II"]
    assert not any(spot["below"] for spot in synthetic_results(blind=False)[0]["blind_spots"])


def test_one_axis_against_the_other():
    """The chest leads find that there is a deviation, and not to which side."""
    count = 400
    left = np.arange(count) < 60
    right = (np.arange(count) >= 60) & (np.arange(count) < 130)
    names = ("left axis deviation", "right axis deviation")
    labels = np.stack([left, right], 1).astype(np.int8)
    one = make_task(names, labels)
    either = np.repeat((left | right)[:, None], 2, 1) + RNG.normal(0, 0.1, (count, 2))
    scores = {"12": labels + RNG.normal(0, 0.1, labels.shape), "chest": either}
    everyone = np.ones(count, bool)
    scores["II"] = either
    results = end_of_run.score(one, lambda leads: (scores[leads], everyone), lambda leads: either, ("12", "chest"))
    assert results["lead_sets"]["chest"]["per_class"]["right axis deviation"]["auroc"] > 0.85
    spot = results["blind_spots"][-1]
    assert (spot["class"], spot["against"], spot["leads"]) == (names[1], names[0], "chest")
    assert spot["blind"]["positives"] == 70
    assert 0.4 < spot["blind"]["auroc"] < 0.6
    assert spot["12 leads"]["auroc"] == 1
    assert spot["below"]


def test_of_two_answers_the_larger_decides():
    """A class that is called likely whenever the other is: the answers still say which of the two it is."""
    labels = np.repeat(np.eye(2, dtype=np.int8), 100, 0)
    one = make_task(("left axis deviation", "right axis deviation"), labels)
    scores = labels * 0.5 + RNG.normal(0, 5, (200, 1))
    everyone = np.ones(200, bool)
    results = end_of_run.score(one, lambda leads: (scores, everyone), lambda leads: scores, ("12",))
    spot = results["blind_spots"][-1]
    assert spot["12 leads"]["auroc"] == 1
    assert results["lead_sets"]["12"]["per_class"]["right axis deviation"]["auroc"] < 0.65


def test_results_are_written_whole_and_readable(tmp_path):
    results, _, _ = synthetic_results()
    results["lead_sets"]["12"]["per_class"]["sinus rhythm"]["auroc"] = float("nan")
    end_of_run.save(results, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["zero_shot.json", "zero_shot.png"]
    back = json.loads((tmp_path / "zero_shot.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert back["lead_sets"]["12"]["per_class"]["sinus rhythm"]["auroc"] is None
    assert (tmp_path / "zero_shot.png").read_bytes().startswith(b"\x89PNG")
    table = end_of_run.table(back)
    assert "never heard of *" in table
    assert "what a lead cannot see" in table
    macro = results["lead_sets"]["12"]["macro_auroc"]
    assert end_of_run.last_line(back) == f"zero-shot macro AUROC {macro:.4f} (12 leads)"
