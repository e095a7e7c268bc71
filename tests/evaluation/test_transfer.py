import dataclasses

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from kmerl_jax.evaluation import classes, linear_probe, transfer
from kmerl_jax.evaluation.linear_probe import Settings
from kmerl_jax.evaluation.task import Part, Task

SUPER, CPSC = (tuple(classes.load()[task]) for task in ("ptb_xl.super", "cpsc2018"))
SPLITS = {"train": slice(0, 300), "val": slice(300, 400), "test": slice(400, 600)}


class Answers:
    """Of a model whose pretrained features tell the truth, whose random ones do not, and whose logits half do."""

    def __init__(self, features, logits, names):
        self.values, self.said, self.names, self.asked = features, logits, names, []
        self.luck, self.seen = np.random.default_rng(1).normal(size=features.shape), np.ones(len(features), bool)

    def features(self, part, encoder, view):
        self.asked.append((encoder, view))
        values = self.values if encoder == "pretrained" else self.luck
        return values[part.rows].astype(np.float32), self.seen[part.rows]

    def logits(self, part, names, view):
        columns = [self.names.index(name) for name in names]
        return self.said[part.rows][:, columns], self.seen[part.rows]


def make(name, codes, labels, split=SPLITS):
    parts = {}
    for part, rows in split.items():
        rows = np.arange(len(labels))[rows]
        parts[part] = Part(rows.astype(str), rows, labels[rows].astype(np.int8), rows, np.arange(len(rows)))
    return Task(name, f"labels of {name}", tuple(f"{name} {code}" for code in codes), codes, parts)


def latent(rng):
    """One of the nine findings of CPSC2018 each, [600, 9]; and what PTB-XL would call it, [600, 5]."""
    truth = np.eye(9)[rng.integers(0, 9, 600)]
    one = {code: truth[:, n] for n, code in enumerate(CPSC)}
    wide = {"NORM": one["NORM"], "CD": one["1AVB"] + one["CLBBB"] + one["CRBBB"], "STTC": one["STD"] + one["STE"]}
    # Infarctions are told by what CPSC2018 calls premature beats here, hypertrophy by fibrillation: neither is shared.
    wide |= {"MI": one["PAC"] + one["VPC"], "HYP": one["AFIB"]}
    return truth, np.stack([wide[code] for code in SUPER], 1)


@pytest.fixture
def domains():
    found, rng = {}, np.random.default_rng(0)
    for name, codes in (("ptb_xl.super", SUPER), ("cpsc2018", CPSC)):
        truth, wide = latent(rng)
        labels = wide if codes == SUPER else truth
        task = make(name, codes, labels)
        features = 5 * truth + 0.2 * rng.normal(size=truth.shape)
        found[name] = domain(Answers(features, labels + rng.normal(size=labels.shape), task.names), task)
    return found


def domain(answers, task, **changes):
    how = {"view": "seen", "train_view": "seen", "protocol": "strict", "seeds": 2, "settings": Settings(0.05, epochs=8)}
    return transfer.Domain(answers, task, **how | changes)


def score(domains, source="ptb_xl.super", target="cpsc2018", encoders=("pretrained", "random"), ratios=(1.0,)):
    pairs, _ = transfer.pairs({label: one.task for label, one in domains.items()})
    pair = pairs[f"{source}-to-{target}"]
    results = transfer.evaluate(pair, domains[source], domains[target], ("query",), None, encoders, ratios)
    return pair, results


def relabelled(one, split, change):
    part = one.task.parts[split]
    part = dataclasses.replace(part, labels=change(part.labels).astype(np.int8))
    task = dataclasses.replace(one.task, parts=one.task.parts | {split: part})
    return dataclasses.replace(one, task=task, _learnt={})


@pytest.mark.parametrize(("source", "target"), [("ptb_xl.super", "cpsc2018"), ("cpsc2018", "ptb_xl.super")])
def test_what_was_learnt_on_one_data_set_holds_on_another(domains, source, target):
    """From wide classes to narrow ones together, and from narrow ones, of which the highest counts, to wide ones."""
    pair, results = score(domains, source, target, ratios=(0.5, 1.0))
    assert len(pair.task.names) == 3
    for learnt in ("transfer", "in_domain"):
        for share, records in (("50 %", 150), ("100 %", 300)):
            found = results[learnt]["pretrained"][share]
            assert found["macro_auroc"] == 1
            assert found["macro_f1"] > 0.9
            assert found["records"] == records
        assert len(results[learnt]["pretrained"]["50 %"]["epochs"]) == 2
        assert abs(results[learnt]["random"]["100 %"]["macro_auroc"] - 0.5) < 0.15
    assert results["transfer"]["pretrained"]["100 %"]["threshold_from"] == "source's val"
    assert results["in_domain"]["pretrained"]["100 %"]["threshold_from"] == "val"


def test_labels_at_random_transfer_nothing(domains):
    domains["cpsc2018"] = relabelled(domains["cpsc2018"], "test", np.random.default_rng(2).permutation)
    _, results = score(domains)
    assert abs(results["transfer"]["pretrained"]["100 %"]["macro_auroc"] - 0.5) < 0.07


def test_shared_classes_are_scored_as_they_are_together(domains):
    pair, results = score(domains)
    assert pair.task.names == ("NORM", "STD + STE", "1AVB + CLBBB + CRBBB")
    assert pair.task.codes == ("NORM", "STTC", "CD")
    target = domains["cpsc2018"]
    test = target.task.parts["test"]
    logits, _ = target.answers.logits(test, target.task.names, "seen")
    columns = [CPSC.index(code) for code in ("1AVB", "CLBBB", "CRBBB")]
    truth = test.labels[:, columns].any(1)
    found = results["query"]["per_class"]["1AVB + CLBBB + CRBBB"]
    assert found["auroc"] == pytest.approx(roc_auc_score(truth, logits[:, columns].max(1)))
    assert found["positives"] == truth.sum()
    assert results["query"]["threshold_from"] == "val"


def test_the_transferred_probe_is_the_sources_own(domains):
    """Its scores are those of the probe that `linear_probe` trains; what the target's labels are decides nothing."""
    source, target = domains["ptb_xl.super"], domains["cpsc2018"]
    _, results = score(domains)
    train, val = (source.task.parts[split] for split in ("train", "val"))
    features = [(source.answers.features(part, "pretrained", None)[0], part.labels) for part in (train, val)]
    probes = linear_probe.learn(*features, 1.0, seeds=1, protocol="strict", settings=source.settings)
    test = target.task.parts["test"]
    logits = linear_probe.predict(probes.best[0], target.answers.features(test, "pretrained", None)[0])
    found = results["transfer"]["pretrained"]["100 %"]
    truth = test.labels[:, [CPSC.index("STD"), CPSC.index("STE")]].any(1)
    expected = roc_auc_score(truth, logits[:, SUPER.index("STTC")])
    assert found["per_class"]["STD + STE"]["auroc"] == pytest.approx(expected)
    assert found["epochs"] == [probes.epochs[0] + 1]

    other = dict(domains)
    for split in SPLITS:
        other["cpsc2018"] = relabelled(other["cpsc2018"], split, np.random.default_rng(2).permutation)
    again = score(other)[1]["transfer"]["pretrained"]["100 %"]
    assert again["epochs"] == found["epochs"]
    for name, one in found["per_class"].items():
        assert again["per_class"][name]["threshold"] == one["threshold"]


def test_as_merl_does_thresholds_are_of_the_test_records(domains):
    merl = {label: dataclasses.replace(one, protocol="merl", _learnt={}) for label, one in domains.items()}
    _, results = score(merl)
    for found in (results["query"], *(results[name]["pretrained"]["100 %"] for name in ("transfer", "in_domain"))):
        assert found["threshold_from"] == "test (oracle)"


def test_a_probe_is_trained_once(domains, monkeypatch):
    trained, learn = [], linear_probe.learn
    monkeypatch.setattr(linear_probe, "learn", lambda *given, **how: trained.append(given) or learn(*given, **how))
    for ends in (("ptb_xl.super", "cpsc2018"), ("cpsc2018", "ptb_xl.super")):
        score(domains, *ends)
    assert len(trained) == 4  # of two encoders; each is what one pair transfers and the other compares with


def without_records(one, *splits):
    none = slice(0, 0)
    labels = np.concatenate([one.task.parts[split].labels for split in SPLITS])
    split = SPLITS | dict.fromkeys(splits, none)
    return dataclasses.replace(one, task=make(one.task.name, one.task.codes, labels, split), _learnt={})


def test_what_is_all_test_records_is_transferred_to_and_teaches_nothing(domains):
    _, whole = score(domains)
    domains["cpsc2018"] = without_records(domains["cpsc2018"], "train", "val")
    pairs, notes = transfer.pairs({label: one.task for label, one in domains.items()})
    assert list(pairs) == ["ptb_xl.super-to-cpsc2018"]
    assert notes == [
        "no transfer from cpsc2018 to ptb_xl.super: cpsc2018 has no records to learn from and to choose by: "
        "0 / 0 / 200 (train / val / test)"
    ]
    _, results = score(domains)
    assert set(results) == {"query", "transfer"}
    assert results["transfer"] == whole["transfer"]
    assert results["query"]["macro_auroc"] == whole["query"]["macro_auroc"]
    assert results["query"]["threshold_from"] is None
    assert "macro_f1" not in results["query"]


def test_what_has_no_test_records_teaches_alone(domains):
    domains["cpsc2018"] = without_records(domains["cpsc2018"], "test")
    pairs, notes = transfer.pairs({label: one.task for label, one in domains.items()})
    assert list(pairs) == ["cpsc2018-to-ptb_xl.super"]
    assert "cpsc2018 has no records to be scored on: 300 / 100 / 0" in notes[0]


def test_probes_learn_from_the_leads_that_they_are_told(domains):
    source = dataclasses.replace(domains["ptb_xl.super"], train_view="all", _learnt={})
    source.answers.asked.clear()
    score(domains | {"ptb_xl.super": source})
    assert {view for _, view in source.answers.asked} == {"all"}


def test_without_the_leads_nothing_is_defined(domains):
    domains["ptb_xl.super"].answers.seen[:400] = False
    _, results = score(domains)
    assert np.isnan(results["transfer"]["pretrained"]["100 %"]["macro_auroc"])
    assert results["transfer"]["pretrained"]["100 %"]["records"] == 0
    assert results["in_domain"]["pretrained"]["100 %"]["macro_auroc"] > 0.999


def test_classes_that_no_training_record_has_teach_nothing(domains):
    def without(codes):
        return lambda labels: labels * ~np.isin(CPSC, codes)

    domains["cpsc2018"] = relabelled(domains["cpsc2018"], "train", without(["1AVB", "STD", "STE"]))
    pairs, notes = transfer.pairs({label: one.task for label, one in domains.items()})
    assert notes == ["cpsc2018 to ptb_xl.super: left out, as no training record has them: 1AVB, STD, STE"]
    assert pairs["cpsc2018-to-ptb_xl.super"].task.codes == ("NORM", "CLBBB + CRBBB")
    assert pairs["ptb_xl.super-to-cpsc2018"].task.names == ("NORM", "STD + STE", "1AVB + CLBBB + CRBBB")


def test_what_is_said_of_a_pair(domains):
    pair, _ = score(domains)
    about = transfer.describe(pair, domains["ptb_xl.super"].task, domains["cpsc2018"].task)
    assert about["links"][0] == {"source": "NORM", "relation": "=", "target": "NORM", "by": ("normal ecg",)}
    assert about["left_out"] == {"ptb_xl.super": {"MI": (), "HYP": ()}, "cpsc2018": {"AFIB": (), "PAC": (), "VPC": ()}}
    labels = domains["ptb_xl.super"].task.parts["train"].labels
    assert about["learnt_positives"]["STD + STE"] == labels[:, SUPER.index("STTC")].sum()


def test_labels_of_a_group():
    """1 if any is, not known if any may be."""
    labels = np.array([[1, 0, -1], [0, 0, -1], [0, 0, 0], [-1, 0, 1]], np.int8)
    assert transfer.any_of(labels, [[0, 1], [0, 2], [1]]).T.tolist() == [[1, 0, 0, -1], [1, -1, 0, 1], [0, 0, 0, 0]]
    scores = np.array([[[1.0, 3.0, 2.0]]])
    assert transfer.highest(scores, [[0, 2], [1]]).tolist() == [[[2.0, 3.0]]]


def test_tasks_that_cannot_be_transferred():
    truth, wide = latent(np.random.default_rng(0))
    cpsc, ptb = make("cpsc2018", CPSC, truth), make("ptb_xl.super", SUPER, wide)
    form, own = make("ptb_xl.form", SUPER[:1], wide[:, :1]), make("table", ("mitral stenosis",), wide[:, :1])
    form = dataclasses.replace(form, codes=("DIG",))
    with pytest.raises(ValueError, match=r"ptb_xl.super alone has nothing to be transferred to. --labels and --store"):
        transfer.pairs({"ptb_xl.super": ptb})
    with pytest.raises(ValueError, match=r"ptb_xl.super and ptb_xl.form: one cohort, the same people. --labels"):
        transfer.pairs({"ptb_xl.super": ptb, "ptb_xl.form": form})
    with pytest.raises(ValueError, match="between cpsc2018 and table: by the ontology they share no class"):
        transfer.pairs({"cpsc2018": cpsc, "table": own})
    pairs, notes = transfer.pairs({"ptb_xl.super": ptb, "ptb_xl.form": form, "cpsc2018": cpsc})
    assert list(pairs) == ["ptb_xl.super-to-cpsc2018", "cpsc2018-to-ptb_xl.super"]
    assert notes == [
        "no transfer between ptb_xl.super and ptb_xl.form: one cohort, the same people",
        "no transfer between ptb_xl.form and cpsc2018: by the ontology they share no class",
    ]
