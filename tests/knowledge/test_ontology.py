"""The ontology holds together, and a broken one is refused."""

import pandas as pd
import pytest

from kmerl_jax.knowledge import grammar, ontology

KNOWN = ontology.load()


def test_size_is_that_of_general_electrocardiography():
    assert 150 <= len(KNOWN.entities) <= 260
    assert 25 <= len(KNOWN.superclasses) <= 50


def test_names_and_phrases_stand_once():
    said = [phrase for entity in KNOWN.entities.values() for phrase in (entity.name, *entity.phrases)]
    assert len(said) == len(set(said))
    by_name = {name: entity.name for name, entity in KNOWN.entities.items()}
    assert all(key == name for key, name in by_name.items())


def test_names_are_plain_lower_case():
    for name in KNOWN.entities:
        assert name == " ".join(name.lower().split())


def test_superclasses_exist_and_nothing_is_its_own():
    for name, entity in KNOWN.entities.items():
        assert all(parent in KNOWN.entities for parent in entity.parents)
        assert name not in KNOWN.ancestors(name)


def test_ancestors_reach_the_top():
    assert KNOWN.ancestors("sinus rhythm") == frozenset()
    assert KNOWN.ancestors("inferior myocardial infarction") == {"myocardial infarction"}
    assert KNOWN.ancestors("mobitz type i second degree av block") == {
        "second degree av block",
        "av block",
        "conduction disturbance",
    }
    assert KNOWN.ancestors("multifocal premature ventricular complex") == {
        "premature ventricular complex",
        "premature complex",
        "ventricular arrhythmia",
        "arrhythmia",
    }


def test_refinements_are_members_of_their_heads():
    for (head, _), name in KNOWN.refinements.items():
        assert head in KNOWN.ancestors(name)


def test_refine_takes_a_wall_apart_and_climbs():
    assert KNOWN.refine("myocardial infarction", "anteroseptal") == ("anteroseptal myocardial infarction",)
    assert KNOWN.refine("st elevation", "anteroseptal") == ("anterior st elevation", "septal st elevation")
    assert KNOWN.refine("t wave flattening", "lateral") == ("lateral t wave abnormality",)
    assert KNOWN.refine("sinus rhythm", "lateral") == ()


def test_usual_terms_are_there():
    for name in (
        "sinus rhythm",
        "atrial fibrillation",
        "rapid ventricular response",
        "premature atrial complex",
        "premature ventricular complex",
        "first degree av block",
        "right bundle branch block",
        "incomplete right bundle branch block",
        "left bundle branch block",
        "left anterior fascicular block",
        "left ventricular hypertrophy",
        "anteroseptal myocardial infarction",
        "st elevation",
        "st depression",
        "t wave inversion",
        "t wave abnormality",
        "prolonged qt interval",
        "low qrs voltage",
        "left axis deviation",
        "right axis deviation",
        "ventricular pacing",
        "normal ecg",
        "bundle branch block",
        "supraventricular arrhythmia",
        "st-t abnormality",
    ):
        assert name in KNOWN.entities


def test_codes_belong_to_entities_and_look_like_codes():
    assert KNOWN.entities["inferior myocardial infarction"].codes == {"scp": ("IMI",)}
    assert KNOWN.entities["atrial fibrillation"].codes == {"scp": ("AFIB",), "snomed": ("164889003",)}
    for entity in KNOWN.entities.values():
        assert all(code.isdecimal() and 6 <= len(code) <= 18 for code in entity.codes.get("snomed", ()))
    assert sum("scp" in entity.codes for entity in KNOWN.entities.values()) >= 65
    assert sum("snomed" in entity.codes for entity in KNOWN.entities.values()) >= 70


def test_scp_codes_are_those_of_ptb_xl(real_data):
    """Every statement of PTB-XL has its code here, at the entity that its description names."""
    table = pd.read_csv(real_data / "ptb_xl" / "scp_statements.csv", index_col=0)
    coded = {code: name for name, entity in KNOWN.entities.items() for code in entity.codes.get("scp", ())}
    assert set(coded) == set(table.index)
    for code, description in table["description"].items():
        assert coded[code] in {mention.entity for mention in grammar.extract(description)}, (code, description)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[a]\n"x" = { is = ["y"] }', "superclass 'y' of 'x' is no entity"),
        ('[a]\n"x" = { is = ["y"] }\n"y" = { is = ["x"] }', "goes in a circle"),
        ('[a]\n"x" = { said = ["y"] }\n"y" = {}', "'y' stands for 'x' and for 'y'"),
        ('[a]\n"x" = {}\n[b]\n"x" = {}', "'x' stands for 'x' and for 'x'"),
        ('[a]\n"X" = {}', "not plain lower case"),
        ('[a]\n"x" = {}\n[codes]\n"y" = { scp = ["Y"] }', "'y' has codes but is no entity"),
        ('[a]\n"x" = {}\n[codes]\n"x" = { icd = ["Y"] }', "'icd' of 'x' is not one of scp, snomed"),
        (
            '[a]\n"x" = {}\n"y" = {}\n[codes]\n"x" = { scp = ["Y"] }\n"y" = { scp = ["Y"] }',
            "scp code 'Y' stands for 'x' and for 'y'",
        ),
        ('[a]\n"x" = {}\n[refinements]\n"y" = ["z"]', "'y' takes modifiers but is no entity"),
    ],
)
def test_broken_ontology_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        ontology.read(text)


def test_words_are_in_the_spelling_they_lead_to():
    """A word that stands for another must not itself be rewritten further: one pass has to do."""
    for word, meaning in KNOWN.words.items():
        for part in meaning.split():
            assert grammar.tokenize(part) == (part,), word
