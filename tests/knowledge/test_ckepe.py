"""Prompts over a server of this machine: what becomes part of a prompt, and what is set aside."""

import pytest

from kmerl_jax.knowledge import ckepe, llm
from kmerl_jax.knowledge.llm import Server
from kmerl_jax.knowledge.source import of_ontology, of_table

CLASSES = {"MI": ("myocardial infarction",), "AFIB": ("Atrial fibrillation", "AF"), "TEA": ("tea leaves",)}


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "terms.csv"
    path.write_text(
        "code,name,synonyms,description\n"
        "1,Atrial Fibrillation,AF,no two RR intervals alike\n"
        "2,Paroxysmal atrial fibrillation,,\n"
        "3,atrial flutter,,\n"
        "4,old myocardial infarction,,\n"
    )
    return of_table(path)


def choice(name, answer):
    """Of `LlmServer.answers`: what is chosen for a class."""
    return {f"Class: {name}\nTerms:": answer}


def aside(prompts):
    return {reason: entry["count"] for reason, entry in prompts.provenance["set_aside"].items()}


def test_a_prompt_is_the_name_and_terms_of_the_source(server, served):
    prompts = ckepe.write(CLASSES, of_ontology(), server)
    assert prompts.texts == {
        "MI": "myocardial infarction, inferior myocardial infarction, abnormal q wave, t wave inversion.",
        "AFIB": "Atrial fibrillation, AF, supraventricular arrhythmia, abnormal q wave, t wave inversion.",
        "TEA": "tea leaves, abnormal q wave, t wave inversion.",
    }
    assert served.asked.total() == 5  # nothing in the ontology is near tea leaves
    assert prompts.provenance["own_names_alone"] == []
    assert aside(prompts) == {"described terms that are not in the source": 3}
    assert prompts.provenance["classes"]["AFIB"] == {
        "names": ["Atrial fibrillation", "AF"],
        "chosen": ["atrial fibrillation", "supraventricular arrhythmia"],
        "described": ["abnormal q wave", "t wave inversion"],
    }
    assert prompts.provenance["model"] == "tiny"
    assert prompts.provenance["source"]["name"] == "the ontology"
    assert prompts.provenance["questions"] == ckepe.QUESTIONS


def test_the_terms_of_a_table_are_written_as_it_spells_them(server, served, table):
    served.answers = choice(
        "Atrial fibrillation; AF", '["AF", "paroxysmal ATRIAL fibrillation", "No two RR  intervals alike"]'
    ) | {"Class: Atrial": '["fibrillating atria", "atrial flutters"]'}
    prompts = ckepe.write({"AFIB": CLASSES["AFIB"]}, table, server)
    assert prompts.texts == {
        "AFIB": "Atrial fibrillation, AF, Paroxysmal atrial fibrillation, no two RR intervals alike, atrial flutter."
    }
    assert aside(prompts) == {"described terms that are not in the source": 1}
    assert prompts.provenance["set_aside"]["described terms that are not in the source"]["examples"] == [
        "AFIB -> fibrillating atria"
    ]


def test_what_is_chosen_may_be_any_term_of_the_source_and_nothing_else(server, served, table):
    served.answers = choice("myocardial infarction", '["atrial flutter", "broken heart", "atrial flutter"]')
    served.answers |= {"Class: myocardial": "[]"}
    prompts = ckepe.write({"MI": CLASSES["MI"]}, table, server)
    assert prompts.texts == {"MI": "myocardial infarction, atrial flutter."}
    assert aside(prompts) == {"chosen terms that are not in the source": 1}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("[]", None),
        ('["atrial fibrillation", "Atrial Fibrillation"]', None),
        ('["luck"]', "{} terms that are not in the source"),
        ("I cannot help with that.", "answers with {} terms that are malformed"),
        ("[1, 2]", "answers with {} terms that are malformed"),
        ("", "answers with {} terms that are malformed"),
        (('["atrial flutter", "atri', "length"), "answers with {} terms that are cut off"),
        (("", "content_filter"), "answers with {} terms that are refused"),
    ],
)
def test_a_class_without_a_term_has_its_own_name_and_is_named(server, served, answer, reason):
    served.answers = {"Class: atrial fibrillation": answer, "Class: ": '["T wave inversion"]'}
    classes = {"MI": ("myocardial infarction",), "AFIB": ("atrial fibrillation",)}
    prompts = ckepe.write(classes, of_ontology(), server)
    assert prompts.texts == {"MI": "myocardial infarction, t wave inversion.", "AFIB": "atrial fibrillation."}
    assert prompts.provenance["own_names_alone"] == ["AFIB"]
    assert aside(prompts) == ({reason.format(said): 1 for said in ("chosen", "described")} if reason else {})


def test_a_model_that_gives_no_list_at_all_writes_no_prompts(server, served):
    """What was cut off is asked again, with room to think; what was malformed is kept."""
    served.answers = {"": ("<think>Let me", "length")}
    with pytest.raises(ValueError, match=r"none of the 5 answers of tiny .*: 5 cut off\. .*--llm\.thinking"):
        ckepe.write(CLASSES, of_ontology(), server)
    served.answers = {"": '<think>Perhaps ["ventricular pacing"]'}
    with pytest.raises(ValueError, match="list of terms: 5 malformed"):
        ckepe.write(CLASSES, of_ontology(), server)


def test_one_rejected_question_loses_no_other(served, tmp_path):
    served.failures = [400]
    with Server(served.url, "tiny", tmp_path / "answers.sqlite", connections=1) as server:
        prompts = ckepe.write(CLASSES, of_ontology(), server)
    assert aside(prompts)["answers with chosen terms that are rejected"] == 1
    assert prompts.texts["MI"] == "myocardial infarction, abnormal q wave, t wave inversion."


def test_a_prompt_holds_so_many_terms_and_no_more(server, served, monkeypatch):
    monkeypatch.setattr(ckepe, "_TERMS", 2)
    served.answers = choice("myocardial infarction", '["stemi", "old myocardial infarction", "nstemi"]')
    prompts = ckepe.write({"MI": CLASSES["MI"]}, of_ontology(), server)
    assert prompts.texts == {"MI": "myocardial infarction, stemi, old myocardial infarction."}
    assert aside(prompts)["terms beyond the first 2 of a prompt"] == 3


def test_the_same_answers_give_the_same_prompts_and_nothing_is_asked_twice(server, served):
    one = ckepe.write(CLASSES, of_ontology(), server)
    assert max(served.asked.values()) == 1
    asked = served.asked.total()
    assert len(server.unanswered(list(ckepe.questions(CLASSES, of_ontology()).values()))) == 0
    assert ckepe.write(CLASSES, of_ontology(), server) == one
    assert served.asked.total() == asked


def test_a_dead_server(tmp_path, monkeypatch):
    monkeypatch.setattr(llm, "_RETRIES", 0)
    with (
        Server("http://127.0.0.1:9/v1", "tiny", tmp_path / "answers.sqlite") as server,
        pytest.raises(ConnectionError, match="does not answer"),
    ):
        ckepe.write(CLASSES, of_ontology(), server)


def test_questions_name_the_class_and_its_candidates(table):
    asked = ckepe.questions({"AFIB": CLASSES["AFIB"], "TEA": CLASSES["TEA"]}, table)
    assert list(asked) == [("AFIB", "choose"), ("AFIB", "describe"), ("TEA", "describe")]
    assert asked["AFIB", "choose"].text == (
        "Class: Atrial fibrillation; AF\nTerms:\n"
        "Atrial Fibrillation | AF | no two RR intervals alike\n"
        "Paroxysmal atrial fibrillation\n"
        "atrial flutter"
    )
    assert asked["TEA", "describe"].content.endswith("\n\nClass: tea leaves")
