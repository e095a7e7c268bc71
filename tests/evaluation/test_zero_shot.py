import json
import shutil

import jax
import numpy as np
import pytest

from kmerl_jax.cohorts.store import Store
from kmerl_jax.evaluation import inference, linear_probe, report, zero_shot
from kmerl_jax.models.encoder import Encoder
from kmerl_jax.models.kmerl import KMerl
from kmerl_jax.models.query_network import QueryNetwork
from kmerl_jax.signals.leads import STANDARD
from kmerl_jax.training import sharding

RNG = np.random.default_rng(0)
MODEL = KMerl(Encoder(width=32, depth=1, heads=2), QueryNetwork(width=16, depth=1, heads=2), projection=8)
QUERIES = RNG.normal(size=(4, 12)).astype(np.float32)


@pytest.fixture(scope="module")
def store(demo_store):
    return Store(demo_store)


@pytest.fixture(scope="module")
def params():
    bag = inference.tokens.Tokens(
        np.zeros((1, 1, 100), np.float32), np.zeros((1, 1), int), np.zeros((1, 1), int), np.ones((1, 1), bool)
    )
    return MODEL.init(jax.random.key(0), bag, QUERIES[:1], QUERIES)["params"]


def ask(params, store, rows, leads, batch_size=16, mesh=None):
    mesh = mesh or sharding.make_mesh()
    return inference.ask(MODEL, params, QUERIES, "mv", mesh, store=store, rows=rows, leads=leads, batch_size=batch_size)


def test_answers_do_not_depend_on_batches_or_devices(params, store):
    rows = np.arange(11)
    expected, seen = ask(params, store, rows, STANDARD)
    assert expected.shape == (11, 4)
    assert seen.all()
    for batch_size, devices in ((3, 1), (100, 1), (5, 8)):
        scores, _ = ask(params, store, rows, STANDARD, batch_size, sharding.make_mesh(devices=jax.devices()[:devices]))
        np.testing.assert_allclose(scores, expected, atol=1e-5)


def test_hidden_leads_influence_nothing(params, store, tmp_path, monkeypatch):
    rows = np.arange(6)
    expected, _ = ask(params, store, rows, ("II",))
    real = Store.__getitem__

    def changed(self, entry):
        window = real(self, entry)
        signal = window.signal.copy()
        signal[[n for n, lead in enumerate(STANDARD) if lead != "II"]] = 12345
        return type(window)(signal, window.presence, window.segments)

    monkeypatch.setattr(Store, "__getitem__", changed)
    np.testing.assert_array_equal(ask(params, store, rows, ("II",))[0], expected)
    assert (ask(params, store, rows, STANDARD)[0] != expected).any()


def test_an_ecg_without_the_leads_is_not_scored(params, store, monkeypatch):
    real = Store.__getitem__

    def without_ii(self, entry):
        window = real(self, entry)
        presence = window.presence.copy()
        presence[1] = entry % 2 == 0
        return type(window)(window.signal, presence, window.segments)

    monkeypatch.setattr(Store, "__getitem__", without_ii)
    _, seen = ask(params, store, np.arange(6), ("II",))
    assert list(seen) == [True, False] * 3


def test_the_probe_is_logistic_regression():
    train, test = RNG.normal(size=(400, 6)), RNG.normal(size=(200, 6))
    labels = np.stack([train[:, 0] > 0, train[:, 1] > 1, np.ones(400)], 1).astype(np.int8)
    labels[:50, 1] = -1
    scores = linear_probe.fit_and_score(train, labels, test)
    assert np.corrcoef(scores[:, 0], test[:, 0])[0, 1] > 0.95
    assert np.corrcoef(scores[:, 1], test[:, 1])[0, 1] > 0.9
    assert np.isnan(scores[:, 2]).all()


def task(store, **options):
    none = np.zeros((len(store), 1), np.int8)
    return zero_shot.make_task(
        store, options.get("entities", ("a",)), options.get("labels", none), options.get("least", 2)
    )


def test_the_demo_is_scored_against_the_truth(store):
    one = task(store)
    assert one.split == "test"
    assert one.title == "the simulator's truth"
    np.testing.assert_array_equal(one.rows, store.rows("test"))
    names = list(store.label_names.values())
    truth = store.labels()[one.rows]
    assert one.names == tuple(name for n, name in enumerate(names) if 2 <= truth[:, n].sum() <= len(one.rows) - 2)
    for n, name in enumerate(one.names):
        np.testing.assert_array_equal(one.labels[:, n], truth[:, names.index(name)])
    assert set(one.unseen) == {
        "ventricular bigeminy",
        "lateral myocardial infarction",
        "left anterior fascicular block",
    }


def test_no_report_mentions_the_unseen(store):
    words = " ".join(report.lower() for report in store.table["report"])
    for name in ("bigemin", "lateral infarct", "lateral myocardial", "fascic", "lafb", "hemiblock"):
        assert name not in words


def edited(store, folder, **changes):
    copy = shutil.copytree(store.path, folder / "store")
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps(manifest | changes))
    return Store(copy)


def test_without_labels_the_mined_ones_are_scored_and_named_so(store, tmp_path):
    mined = RNG.integers(-1, 2, (len(store), 2)).astype(np.int8)
    bare = edited(store, tmp_path, label_names={}, held_out=[], labels_title="mined from held-out reports")
    one = task(bare, entities=("x", "y"), labels=mined)
    assert one.names == ("x", "y")
    assert "not comparable with the paper's six tasks" in one.title
    np.testing.assert_array_equal(one.labels, mined[one.rows])


def test_texts_made_from_labels_are_named_so(store, tmp_path):
    one = task(edited(store, tmp_path, about={"text": "statements"}))
    assert one.title.endswith("trained on texts made from the labels; not zero-shot in the paper's sense")


def test_too_few_positives_is_a_clear_error(store):
    with pytest.raises(ValueError, match="no class has 1000 positives"):
        task(store, least=1000)


def synthetic_results(blind=True):
    """A task of 4 classes where 12 leads see all, II sees nothing of an infarct, and the probe is weaker."""
    count, names = 300, ("anterior myocardial infarction", "sinus rhythm", "never heard of", "half known")
    labels = (RNG.random((count, 4)) < 0.3).astype(np.int8)
    labels[:100, 3] = -1
    one = zero_shot.Task(
        "truth", "test", np.arange(count), names, labels, np.arange(5), labels[:5], ("never heard of",)
    )
    clear, noise = labels + RNG.normal(0, 0.4, labels.shape), RNG.normal(size=labels.shape)
    scores = {"12": clear, "II": np.where((np.arange(4) == 0) & blind, noise, clear), "I": clear}
    everyone = np.ones(count, bool)
    seen = {"12": everyone, "II": np.arange(count) >= (10 if blind else 0), "I": everyone}
    asked = []

    def ask(leads):
        asked.append(leads)
        return scores[leads], seen[leads]

    results = zero_shot.score(one, np.arange(count) // 2, ask, lambda leads: noise, ("12", "II"))
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
    rows = np.arange(count)
    one = zero_shot.Task("truth", "test", rows, names, labels, rows[:5], labels[:5], ())
    either = np.repeat((left | right)[:, None], 2, 1) + RNG.normal(0, 0.1, (count, 2))
    scores = {"12": labels + RNG.normal(0, 0.1, labels.shape), "chest": either}
    everyone = np.ones(count, bool)
    scores["II"] = either
    results = zero_shot.score(one, rows, lambda leads: (scores[leads], everyone), lambda leads: either, ("12", "chest"))
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
    names, rows = ("left axis deviation", "right axis deviation"), np.arange(200)
    one = zero_shot.Task("truth", "test", rows, names, labels, rows[:5], labels[:5], ())
    scores = labels * 0.5 + RNG.normal(0, 5, (200, 1))
    everyone = np.ones(200, bool)
    results = zero_shot.score(one, rows, lambda leads: (scores, everyone), lambda leads: scores, ("12",))
    spot = results["blind_spots"][-1]
    assert spot["12 leads"]["auroc"] == 1
    assert results["lead_sets"]["12"]["per_class"]["right axis deviation"]["auroc"] < 0.65


def test_results_are_written_whole_and_readable(tmp_path):
    results, _, _ = synthetic_results()
    results["lead_sets"]["12"]["per_class"]["sinus rhythm"]["auroc"] = float("nan")
    report.save(results, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["zero_shot.json", "zero_shot.png"]
    back = json.loads((tmp_path / "zero_shot.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert back["lead_sets"]["12"]["per_class"]["sinus rhythm"]["auroc"] is None
    assert (tmp_path / "zero_shot.png").read_bytes().startswith(b"\x89PNG")
    table = report.table(back)
    assert "never heard of *" in table
    assert "what a lead cannot see" in table
    macro = results["lead_sets"]["12"]["macro_auroc"]
    assert report.last_line(back) == f"zero-shot macro AUROC {macro:.4f} (12 leads)"
