import dataclasses
import json

import numpy as np
import pytest

from kmerl_jax.prediction import table
from kmerl_jax.prediction.answer import answer
from kmerl_jax.prediction.names import Name, wanted, worth_knowing
from tests.prediction.conftest import longer, part


def test_findings_by_probability_with_what_is_known_of_them(model, ecg):
    one = answer(model, "a", ecg, wanted(model.entities, (), None), None)
    probabilities = [finding.value for finding in one.findings]
    assert probabilities == sorted(probabilities, reverse=True)
    by_name = {finding.name: finding for finding in one.findings}
    expected = dict(zip(model.entities, model.findings(ecg), strict=True))
    for name, finding in by_name.items():
        assert finding.value == pytest.approx(expected[name], abs=1e-5)
    known = by_name[model.entities[0]]
    assert known.auroc.value == 0.9
    assert known.flags == ()
    assert by_name[model.entities[-1]].auroc is None
    assert one.warnings == ()


def test_the_auroc_is_that_of_the_leads_that_are_seen(model, ecg):
    name = model.entities[0]
    for leads, value, flags in (
        (("II",), 0.55, ("near chance at these leads",)),
        (("II", "V1"), 0.55, ("near chance at these leads",)),
        (("V1",), None, ()),
    ):
        (finding,) = answer(model, "a", ecg, [Name(name)], leads).findings
        assert (finding.auroc.value if finding.auroc else None) == value
        assert finding.flags == flags
    (finding,) = answer(model, "a", part(ecg, ("II", "V1")), [Name(name)], None).findings
    assert finding.auroc.leads == ("II",)


def test_names_that_were_never_trained_are_flagged(model, ecg):
    (finding,) = answer(model, "a", ecg, [Name("brugada syndrome of the left ear")], None).findings
    assert finding.flags == ("never trained",)
    trained = "atrial fibrillation"
    assert trained in model.entities
    (finding,) = answer(model, "a", ecg, [Name("afib")], None).findings
    assert finding.flags == (f"trained as {trained!r}",)


def test_warnings(model, ecg):
    signal = longer(ecg, 2).signal.copy()
    signal[0] = 0
    signal[1, 100:120] = np.nan
    poor = dataclasses.replace(ecg, signal=signal, left_out=("vx",))
    one = answer(model, "a", poor, [Name("af")], None)
    assert one.warnings == (
        "I is left out: it is flat",
        "channels left out, none of the 12 leads: vx",
        "20 samples are missing; gaps of up to 0.2 s are filled in",
        "20.0 s long: means over 2 windows of up to 10 s",
    )
    assert "I" not in one.leads
    short = answer(model, "a", part(ecg, seconds=4), [Name("af")], None)
    assert short.warnings == ("4.0 s long; the model learnt from 10 s",)


def test_what_is_asked(model):
    assert [one.text for one in wanted(model.entities, (), None)] == list(model.entities)
    both = wanted(model.entities, [" left  atrial enlargement"], "ptb_xl.super")
    assert [one.text for one in both][:2] == ["left atrial enlargement", "normal ecg"]
    assert both[2] == Name("myocardial infarction", "ptb_xl.super", "MI")
    twice = wanted(model.entities, ["hypertrophy", "x", "hypertrophy"], "ptb_xl.super")
    assert [one.text for one in twice][:2] == ["hypertrophy", "x"]
    assert twice[0] == Name("hypertrophy", "ptb_xl.super", "HYP")
    with pytest.raises(ValueError, match="unknown labels 'luck'"):
        wanted(model.entities, (), "luck")
    with pytest.raises(ValueError, match="--finding is empty"):
        wanted(model.entities, [" "], None)


def test_names_of_all_tasks_go_with_a_model():
    names = worth_knowing(["mine"])
    assert names[0] == "mine"
    assert {"hypertrophy", "ischemic in anterior leads", "atrial fibrillation"} <= set(names)
    assert len(names) == len(set(names))


def test_tables(model, ecg):
    one = answer(model, "x/a.hea", part(ecg, ("I", "II")), wanted(model.entities, (), None), None)
    text = table.text(one, everything=False)
    assert text.splitlines()[0] == "x/a.hea: 10 s at 500 Hz, 2 leads: I II"
    assert one.findings[0].name in text.splitlines()[2]
    assert "more, none above" in text
    assert len(table.text(one, everything=True).splitlines()) == 2 + len(one.findings)
    facts = table.as_json(model.facts(), [one], {"b": "broken"})
    assert json.loads(json.dumps(facts))["failed"] == [{"record": "b", "error": "broken"}]
    assert facts["records"][0]["findings"][0]["probability"] == one.findings[0].value
    rows = table.as_csv([one], {"b": "broken"}).splitlines()
    assert len(rows) == 3
    assert rows[1].startswith("x/a.hea,I II,10,500,")
    assert rows[2].startswith("b,,,,,broken,")


def test_a_window_without_signal_is_passed_over(model, ecg):
    signal = longer(ecg, 3).signal.copy()
    signal[:, 5000:10000] = np.nan
    signal[2, 10000:] = 0
    one = answer(model, "a", dataclasses.replace(ecg, signal=signal), [Name("af")], None)
    assert [bag.window for bag in one.windows] == [0, 2]
    assert one.facts()["windows"] == [0, 20]
    assert len(one.facts()["findings"][0]["by_window"]) == 2
    lead = ecg.leads[2]
    assert f"{lead} is left out: it is flat (in 1 of 3 windows)" in one.warnings
    assert "left out, with nothing that can be seen: 10 to 20 s" in one.warnings
    features = model.embed(dataclasses.replace(ecg, signal=signal), per_token=True)
    assert set(features.segment // 50) == {0, 2}


def test_evidence_is_of_the_leads_that_every_window_has(model, ecg):
    signal = part(ecg, ("II", "V1")).signal
    signal = np.concatenate([signal, signal], 1)
    signal[0, 5000:] = 0
    (finding,) = answer(
        model, "a", dataclasses.replace(ecg, signal=signal, leads=("II", "V1")), [Name(model.entities[0])], None
    ).findings
    assert finding.auroc is None
