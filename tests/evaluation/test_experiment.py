import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from kmerl_jax.cohorts.store import Store
from kmerl_jax.evaluation import evidence, experiment, fine_tune, linear_probe, pretrained, report
from kmerl_jax.evaluation.answers import Answers
from kmerl_jax.evaluation.inference import View
from kmerl_jax.signals.leads import STANDARD
from kmerl_jax.training import sharding
from tests.evaluation.conftest import rewritten

OPTIONS = experiment.Options(
    kind="zero_shot",
    protocol="strict",
    leads={"12": STANDARD},
    train_leads=None,
    derive=False,
    scores=("query",),
    prompts=None,
    encoders=("pretrained", "random"),
    ratios=(0.1, 1.0),
    seeds=2,
    probe=linear_probe.Settings(epochs=2),
    fine_tune=fine_tune.Settings(epochs=1, batch_size=16),
    rule="ontology",
    batch_size=16,
    seed=0,
)


def load(path, devices=1):
    return pretrained.load(path, sharding.make_mesh(devices=jax.devices()[:devices]))


@pytest.fixture(scope="module")
def run(small_run, tmp_path_factory):
    return load(shutil.copytree(small_run, tmp_path_factory.mktemp("runs") / "run"))


@pytest.fixture(scope="module")
def rhythm(rhythm_store):
    return experiment.open_tasks([rhythm_store.path], ["ptb_xl.rhythm"], None, "raw")


@pytest.fixture(scope="module")
def demo(demo_store):
    return experiment.open_tasks([demo_store], ["demo"], None, "raw")


def evaluate(run, tasks, folder="unused", **changes):
    how = dataclasses.replace(OPTIONS, **changes)
    return experiment.evaluate(run, tasks, how, folder, lambda what: lambda done, total: None)


def test_scores_by_name_are_scikit_learns_of_the_models_answers(run, demo):
    results = evaluate(run, demo, scores=("query", "cosine"))
    store, task = demo["demo"]
    out, _ = run.describe(task.names, View(store, STANDARD), task.scored.rows, batch_size=16)
    val, _ = run.describe(task.names, View(store, STANDARD), task.parts["val"].rows, batch_size=16)
    ecg = out["ecg"] / np.linalg.norm(out["ecg"], axis=1, keepdims=True)
    text = run.project_texts(task.names)
    scores = {"query": out["logits"], "cosine": ecg @ (text / np.linalg.norm(text, axis=1, keepdims=True)).T}
    scored = results["tasks"]["demo"]["lead_sets"]["12"]
    assert list(scored) == ["query", "cosine"]
    for kind, values in scores.items():
        for n, name in enumerate(task.names):
            one, truth = scored[kind]["per_class"][name], task.scored.labels[:, n]
            assert one["positives"] == truth.sum()
            if one["positives"] == 0:
                assert np.isnan(one["auroc"])
                continue
            assert one["auroc"] == pytest.approx(roc_auc_score(truth, values[:, n]), abs=1e-6)
            assert one["auprc"] == pytest.approx(average_precision_score(truth, values[:, n]), abs=1e-6)
            assert one["ci95"][0] <= one["auroc"] <= one["ci95"][1]
    name = "sinus rhythm"
    n = task.names.index(name)
    one, truth = scored["query"]["per_class"][name], task.parts["val"].labels[:, n]
    best = max(f1_score(truth, val["logits"][:, n] >= cut) for cut in val["logits"][:, n])
    assert f1_score(truth, val["logits"][:, n] >= one["threshold"] - 1e-6) == pytest.approx(best)
    called = out["logits"][:, n] >= one["threshold"] - 1e-6
    assert one["f1"] == pytest.approx(f1_score(task.scored.labels[:, n], called))
    assert one["accuracy"] == pytest.approx((called == task.scored.labels[:, n]).mean())
    everything = [scored["query"]["per_class"][name]["auroc"] for name in task.names if name not in task.unseen]
    assert scored["query"]["macro_auroc"] == pytest.approx(np.nanmean(everything))


def test_classes_with_few_positives_have_a_macro_without_them(run, demo):
    scored = evaluate(run, demo)["tasks"]["demo"]["lead_sets"]["12"]["query"]
    seen = [name for name in scored["per_class"] if name not in demo["demo"][1].unseen]
    frequent = [name for name in seen if scored["per_class"][name]["positives"] >= 10]
    assert 0 < scored["frequent"]["classes"] == len(frequent) < scored["classes"]
    expected = np.mean([scored["per_class"][name]["auroc"] for name in frequent])
    assert scored["frequent"]["macro_auroc"] == pytest.approx(expected)


def test_a_class_without_positives_is_undefined_and_in_no_macro(run, rhythm):
    scored = evaluate(run, rhythm, protocol="merl")["tasks"]["ptb_xl.rhythm"]["lead_sets"]["12"]["query"]
    assert "paroxysmal tachycardia" in scored["undefined"]
    assert np.isnan(scored["per_class"]["paroxysmal tachycardia"]["auroc"])
    assert scored["classes"] + len(scored["undefined"]) == 12
    assert np.isfinite(scored["macro_auroc"])


def test_numbers_do_not_depend_on_the_number_of_devices(small_run, tmp_path, demo):
    folders = [shutil.copytree(small_run, tmp_path / name) for name in ("a", "b")]
    changes = {"kind": "partial_leads", "leads": {"12": STANDARD, "I,II": ("I", "II")}, "scores": ("query", "cosine")}
    a = evaluate(load(folders[0]), demo, **changes)
    b = evaluate(load(folders[1], devices=8), demo, **changes)
    for leads in changes["leads"]:
        rows = [list(report.parts(one["tasks"]["demo"]["lead_sets"][leads], False)) for one in (a, b)]
        assert len(rows[0]) == 2 + 4
        for (what, one), (_, other) in zip(*rows, strict=True):
            assert str(one) == str(other), what


def test_scored_patients_must_be_new_to_the_run(run, demo, demo_store, tmp_path):
    store, _ = demo["demo"]
    table = store.table.copy()
    first = table.index[table["split"] == "train"][0]
    same = table["patient"] == table["patient"][first]
    table.loc[same, "split"] = "test"
    tasks = experiment.open_tasks([rewritten(demo_store, tmp_path / "store", table).path], ["demo"], None, "raw")
    with pytest.raises(ValueError, match=r"1 of the \d+ scored patients were in the pretraining"):
        evaluate(run, tasks)
    results = evaluate(run, tasks, protocol="merl")
    assert "scored patients were in the run's pretraining" in results["not_comparable"][0]


def test_scored_patients_must_be_new_to_the_probes(run, demo_store, tmp_path):
    """A patient with one record that trains and one that is scored."""
    table = Store(demo_store).table.copy()
    scored, validated = (table.index[table["split"] == split][0] for split in ("test", "val"))
    table.loc[validated, "patient"] = table.loc[scored, "patient"]
    tasks = experiment.open_tasks([rewritten(demo_store, tmp_path / "store", table).path], ["demo"], None, "raw")
    evaluate(run, tasks)
    with pytest.raises(ValueError, match="1 of the scored patients are among those that its probes learn from"):
        evaluate(run, tasks, kind="linear_probe")
    results = evaluate(run, tasks, kind="linear_probe", protocol="merl")
    assert any("its probes learn from" in note for note in results["not_comparable"])


def test_leads_that_no_record_has_are_undefined(run, demo_store, tmp_path, monkeypatch):
    """One set of leads without any record is no reason to lose the others."""
    real = Store.__getitem__

    def only_ii(self, entry):
        window = real(self, entry)
        return type(window)(window.signal, np.arange(12) == 1, window.segments)

    monkeypatch.setattr(Store, "__getitem__", only_ii)
    store = rewritten(demo_store, tmp_path / "store", Store(demo_store).table, plan="only II", files=[])
    monkeypatch.setattr(Store, "entries", Store(demo_store).entries)
    tasks = experiment.open_tasks([store.path], ["demo"], None, "raw")
    leads = {"V1": ("V1",), "II": ("II",)}
    results = evaluate(run, tasks, kind="partial_leads", leads=leads)
    for what, one in report.parts(results["tasks"]["demo"]["lead_sets"]["V1"], False):
        assert one["classes"] == 0, what
        assert np.isnan(one["macro_auroc"])
        assert one["records_without_these_leads"] == len(tasks["demo"][1].scored.records)
    for _, one in report.parts(results["tasks"]["demo"]["lead_sets"]["II"], False):
        assert np.isfinite(one["macro_auroc"])
    report.save(results, tmp_path / "page")
    assert "have none of these leads" in (tmp_path / "page" / "report.md").read_text()


def test_published_numbers_are_of_12_leads(run, rhythm):
    assert evaluate(run, rhythm, protocol="merl")["published"]
    assert not evaluate(run, rhythm, protocol="merl", leads={"I": ("I",)})["published"]


def test_any_shares_can_be_pictured(run, demo, tmp_path):
    """5 % is not taken for the end of 25 %."""
    results = evaluate(run, demo, kind="linear_probe", ratios=(0.05, 0.25), seeds=1, encoders=("pretrained",))
    report.save(results, tmp_path)
    assert (tmp_path / "classes-demo.png").exists()
    assert "probe, pretrained encoder, 25 %" in (tmp_path / "report.md").read_text()


def test_merl_and_its_oracle(run, demo):
    strict, merl = (evaluate(run, demo, protocol=protocol) for protocol in ("strict", "merl"))
    a, b = (one["tasks"]["demo"]["lead_sets"]["12"]["query"] for one in (strict, merl))
    assert (a["threshold_from"], b["threshold_from"]) == ("val", "test (oracle)")
    assert a["macro_auroc"] == b["macro_auroc"]
    pairs = [(b["per_class"][name]["f1"], a["per_class"][name]["f1"]) for name in a["per_class"]]
    pairs = [pair for pair in pairs if np.isfinite(pair).all()]
    assert len(pairs) > 5
    assert all(oracle >= honest for oracle, honest in pairs)
    assert any("classes have no positive record" in note for note in merl["not_comparable"])
    assert any("oracle" in note for note in merl["not_comparable"])
    assert not any("oracle" in note for note in strict["not_comparable"])


def test_windows_of_a_record_are_averaged(run, demo_store, tmp_path):
    """Two test records become two windows of one: its score is their mean."""
    table = Store(demo_store).table.copy()
    two = table.index[table["split"] == "test"][:2]
    for column in ("record", "patient", "labels"):
        table.at[two[1], column] = table.at[two[0], column]
    tasks = experiment.open_tasks([rewritten(demo_store, tmp_path / "store", table).path], ["demo"], None, "raw")
    store, task = tasks["demo"]
    assert len(task.scored.rows) == len(task.scored.records) + 1
    out, _ = run.describe(task.names, View(store, STANDARD), task.scored.rows, batch_size=16)
    mean = np.concatenate([out["logits"][:2].mean(0, keepdims=True), out["logits"][2:]])
    scored = evaluate(run, tasks)["tasks"]["demo"]["lead_sets"]["12"]["query"]
    for n, name in enumerate(task.names):
        if np.isfinite(scored["per_class"][name]["auroc"]):
            expected = roc_auc_score(task.scored.labels[:, n], mean[:, n])
            assert scored["per_class"][name]["auroc"] == pytest.approx(expected, abs=1e-6)


def test_seen_and_unseen_classes_have_macros_of_their_own(run, demo):
    results = evaluate(run, demo, kind="seen_unseen")
    about = results["tasks"]["demo"]
    scored = about["lead_sets"]["12"]["query"]
    assert {"ventricular bigeminy", "left anterior fascicular block"} <= set(about["groups"]["unseen"])
    assert "sinus rhythm" in about["groups"]["seen"]
    for group in ("seen", "unseen"):
        values = [
            scored["per_class"][name]["auroc"]
            for name in about["groups"][group]
            if np.isfinite(scored["per_class"][name]["auroc"])
        ]
        assert scored["groups"][group]["macro_auroc"] == pytest.approx(np.mean(values))


def test_fine_tuning_and_training_from_scratch(run, rhythm, tmp_path):
    config = run.config.copy_and_resolve_references()
    config.train.microbatches = 3  # of the pretraining; these batches are small
    run = dataclasses.replace(run, config=config)
    changes = {"kind": "fine_tune", "encoders": fine_tune.STARTS, "leads": {"II": ("II",)}, "ratios": (1.0,)}
    results = evaluate(run, rhythm, tmp_path, protocol="merl", **changes)
    scored = results["tasks"]["ptb_xl.rhythm"]["lead_sets"]["II"]["fine_tune"]
    assert list(scored) == ["fine_tuned", "supervised"]
    one, other = scored["fine_tuned"]["100 %"], scored["supervised"]["100 %"]
    records = len(rhythm["ptb_xl.rhythm"][1].parts["train"].records)
    assert (one["records"], one["steps"]) == (records, -(-records // 16))
    assert one["macro_auroc"] != other["macro_auroc"]
    folders = sorted(path.name.rpartition("-")[0] for path in (tmp_path / "trained").iterdir())
    assert folders == ["ptb_xl.rhythm-fine_tuned", "ptb_xl.rhythm-supervised"]
    again = evaluate(run, rhythm, tmp_path, protocol="merl", **changes)
    assert str(again["tasks"]["ptb_xl.rhythm"]["lead_sets"]["II"]["fine_tune"]) == str(scored)


def test_domain_transfer(run, demo, rhythm, tmp_path):
    """A class that is matched with one other is scored by name, and by the target's own probe, as it is without it."""
    changes = {"ratios": (1.0,), "encoders": ("pretrained",), "leads": {"II": ("II",)}}
    results = evaluate(run, demo | rhythm, kind="domain_transfer", **changes)
    assert list(results["tasks"]) == ["demo-to-ptb_xl.rhythm", "ptb_xl.rhythm-to-demo"]
    about = results["tasks"]["demo-to-ptb_xl.rhythm"]
    assert about["classes"]["AFIB"] == "atrial fibrillation"
    scored = about["lead_sets"]["II"]
    assert scored["transfer"]["pretrained"]["100 %"]["records"] == len(demo["demo"][1].parts["train"].records)
    for kind, one in (("zero_shot", scored["query"]), ("linear_probe", scored["in_domain"]["pretrained"]["100 %"])):
        whole = evaluate(run, rhythm, kind=kind, **changes)["tasks"]["ptb_xl.rhythm"]["lead_sets"]["II"]
        expected = whole["query"] if kind == "zero_shot" else whole["linear_probe"]["pretrained"]["100 %"]
        assert one["per_class"]["AFIB"] == expected["per_class"]["atrial fibrillation"] | {
            "code": "atrial fibrillation"
        }

    report.save(results, tmp_path / "evaluation" / "one")
    page = (tmp_path / "evaluation" / "one" / "report.md").read_text()
    assert "| atrial fibrillation | = | AFIB: atrial fibrillation | atrial fibrillation (SCP AFIB, SNOMED CT " in page
    assert page.count("- left out of ptb_xl.rhythm: ") == 1
    assert "| demo-to-ptb_xl.rhythm | II | transferred probe, pretrained encoder, 100 % |" in page
    assert (tmp_path / "evaluation" / "one" / "tasks.png").exists()
    assert evidence.gather(tmp_path) == []  # what it scores are groups of classes, no findings


def test_what_cannot_be_transferred_is_told(run, demo, rhythm, demo_store, tmp_path):
    with pytest.raises(ValueError, match="demo alone has nothing to be transferred to"):
        evaluate(run, demo, kind="domain_transfer")
    table = Store(demo_store).table.copy()
    table.loc[table["split"] == "val", "split"] = "train"
    tasks = experiment.open_tasks([rewritten(demo_store, tmp_path / "store", table).path], ["demo"], None, "raw")
    changes = {"ratios": (1.0,), "encoders": ("pretrained",), "leads": {"II": ("II",)}}
    results = evaluate(run, tasks | rhythm, kind="domain_transfer", **changes)
    assert list(results["tasks"]) == ["ptb_xl.rhythm-to-demo"]  # the other way there is nothing to choose by
    assert list(results["tasks"]["ptb_xl.rhythm-to-demo"]["lead_sets"]["II"]) == ["query", "transfer"]
    assert any("demo has no records to learn from and to choose by" in note for note in results["not_comparable"])


def test_the_page(run, rhythm, tmp_path):
    """It opens with what is not comparable, and does not call a score zero-shot that is none."""
    trained_on = run.trained_on | {"texts_from_labels": True, "cohort": "ptb_xl"}
    results = evaluate(dataclasses.replace(run, trained_on=trained_on), rhythm, protocol="merl")
    report.save(results, tmp_path / "page")
    page = (tmp_path / "page" / "report.md").read_text()
    opening = page[: page.index("## Macro averages")]
    for said in (
        "its query and cosine scores are not zero-shot scores",
        "pretrained on ptb_xl, not on MIMIC-IV-ECG",
        "signals at 100 Hz",
        "an oracle",
        "not by MedCPT",
    ):
        assert said in opening
    assert "query score, texts made from labels" in page
    assert "| zero-shot" not in page
    assert run.checksum in page
    macro = results["tasks"]["ptb_xl.rhythm"]["lead_sets"]["12"]["query"]["macro_auroc"]
    assert f"| {macro:.3f} (" in page
    for line in page.splitlines():
        if line.startswith("!["):
            name = line.rpartition("(")[2].rstrip(")")
            assert (tmp_path / "page" / name).read_bytes().startswith(b"\x89PNG")
    back = json.loads((tmp_path / "page" / "results.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert back["tasks"]["ptb_xl.rhythm"]["lead_sets"]["12"]["query"]["macro_auroc"] == macro
    assert back["versions"]["kmerl_jax"]


def test_what_was_published_stands_beside_it():
    zero_shot = report.published("zero_shot", ())
    assert zero_shot["K-MERL, 12 leads"] == {"mean": pytest.approx(0.7652)}
    probes = report.published("linear_probe", (0.01, 1.0))
    assert probes["K-MERL, 1 %"]["csn"] == pytest.approx(0.6951)
    assert not any("10 %" in what for what in probes)
    assert report.published("fine_tune", (1.0,)) == {}


def test_stores_and_labels_that_do_not_fit(rhythm_store, demo_store):
    with pytest.raises(ValueError, match="--labels=csn needs a store of csn; --store names one of ptb_xl"):
        experiment.open_tasks([rhythm_store.path], ["csn"], None, "raw")
    with pytest.raises(ValueError, match="unknown labels 'nothing'"):
        experiment.open_tasks([rhythm_store.path], ["nothing"], None, "raw")
    with pytest.raises(ValueError, match="are both of one cohort"):
        experiment.open_tasks([demo_store, demo_store], ["demo"], None, "raw")


def as_cpsc2018(demo_store, folder):
    """The demo's ECGs as a store of CPSC2018, where each split has one record of two windows."""
    table = Store(demo_store).table.copy()
    table["labels"] = [["AFIB"] if "atrial fibrillation" in row else ["NORM"] for row in table["labels"]]
    for split in ("train", "val", "test"):
        two = table.index[table["split"] == split][:2]
        for column in ("record", "patient", "labels"):
            table.at[two[1], column] = table.at[two[0], column]
    words = {code: code for code in ("NORM", "AFIB", "1AVB", "CLBBB", "CRBBB", "PAC", "VPC", "STD", "STE")}
    about = {"cohort": "cpsc2018", "label_names": words, "held_out": [], "patient_ids": False, "about": {}}
    return rewritten(demo_store, folder, table, **about)


def test_cpsc2018_as_merl_cuts_it(run, demo_store, tmp_path):
    """The first window alone, its first 2,500 samples, then zeros; without published splits the page says so."""
    store = as_cpsc2018(demo_store, tmp_path / "store")
    tasks = experiment.open_tasks([store.path], ["cpsc2018"], None, "raw")
    scored = {}
    for protocol in ("strict", "merl"):
        results = evaluate(run, tasks, protocol=protocol, leads={"II": ("II",)})
        scored[protocol] = results["tasks"]["cpsc2018"]["lead_sets"]["II"]["query"]["per_class"]["AFIB"]["auroc"]
    assert any("no patient ids" in note for note in results["not_comparable"])
    assert any("not MERL's" in note for note in results["not_comparable"])
    part = tasks["cpsc2018"][1].scored.first_windows()
    assert len(part.rows) == len(part.records) == len(tasks["cpsc2018"][1].scored.rows) - 1
    names = tasks["cpsc2018"][1].names
    cut, _ = run.describe(names, View(store, ("II",), samples=2500), part.rows, batch_size=16)
    column = names.index("AFIB")
    truth = tasks["cpsc2018"][1].scored.labels[:, column]
    assert scored["merl"] == pytest.approx(roc_auc_score(truth, cut["logits"][:, column]), abs=1e-6)
    assert scored["merl"] != scored["strict"]


def test_probes_are_transferred_between_what_the_protocol_shows(run, rhythm, demo_store, tmp_path, monkeypatch):
    """As MERL cuts CPSC2018, also where it is the target: windows that no probe learnt from are none that it scores."""
    store = as_cpsc2018(demo_store, tmp_path / "store")
    tasks = rhythm | experiment.open_tasks([store.path], ["cpsc2018"], None, "raw")
    asked, features = [], Answers.features

    def spy(self, part, encoder, view):
        asked.append((view.samples, len(part.rows), len(part.records)))
        return features(self, part, encoder, view)

    monkeypatch.setattr(Answers, "features", spy)
    evaluate(run, tasks, kind="domain_transfer", protocol="merl", leads={"II": ("II",)}, ratios=(1.0,))
    cut = [(rows, records) for samples, rows, records in asked if samples]
    assert len(cut) >= 3  # of each split
    assert all(rows == records for rows, records in cut)
