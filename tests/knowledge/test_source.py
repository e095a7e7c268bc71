"""Terms in the ontology and in tables: which are found, and which are near a name."""

import hashlib

import pytest

from kmerl_jax.knowledge import ontology, source
from kmerl_jax.knowledge.source import Entry, of_ontology, of_table, words


@pytest.fixture
def table(tmp_path):
    """Writes a table and reads it."""

    def make(text, encoding="utf-8"):
        path = tmp_path / "terms.csv"
        path.write_bytes(text.encode(encoding))
        return of_table(path)

    return make


def names(entries):
    return [entry.texts[0] for entry in entries]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("PVCs", "pvc"),
        ("Ventricular premature beats", "ventricular premature complex"),
        ("ventricular premature complex (beat)", "ventricular premature complex complex"),
        ("AV block, complete", "av block complete"),
        ("ST-T changes", "st-t change"),
    ],
)
def test_words_are_of_one_spelling(one, other):
    assert words(one) == words(other)


def test_the_ontology_has_every_entity_and_every_way_to_say_it():
    terms, known = of_ontology(), ontology.load()
    assert names(terms.entries) == list(known.entities)
    for entry in terms.entries:
        for text in entry.texts:
            assert words(terms.find(text)) == words(text)
    file = (source.importlib.resources.files("kmerl_jax.knowledge") / "ontology.toml").read_bytes()
    assert terms.digest == hashlib.sha256(file).hexdigest()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("T-WAVE inversions", "t wave inversion"),
        ("Left bundle-branch block", "left bundle branch block"),
        ("LBBB", "lbbb"),
        ("premature ventricular contractions", "premature ventricular complex"),
        ("left bundle branch block with a lucky wave", None),
        ("block", None),
        ("", None),
        ("...", None),
    ],
)
def test_a_term_is_found_word_for_word(text, found):
    assert of_ontology().find(text) == found


def test_what_a_table_calls_otherwise_is_found_by_the_ontology(table):
    terms = table("code,name\nX,ventricular premature complex\nY,Wolf-Parkinson-White syndrome\nZ,widened smile\n")
    assert terms.find("PVC") == "ventricular premature complex"
    assert terms.find("wpw") == "Wolf-Parkinson-White syndrome"
    assert terms.find("Widened  smiles") == "widened smile"
    assert terms.find("premature atrial complex") is None
    assert terms.find("smile") is None


def test_a_sign_is_a_word_and_so_is_what_is_written_in_other_letters(table):
    terms = table("code,name\n1,ST↑\n2,ST↓\n3,T+\n4,QRS<120\n5,心房細動\n6,sinus rhythm\u2028or not\n")
    assert [terms.find(text) for text in ("st↓", "ST ↓", "T+", "T-", "QRS 120")] == ["ST↓", "ST↓", "T+", None, None]
    assert terms.find("心房細動") == "心房細動"
    assert names(terms.near(["心房細動"], 5)) == ["心房細動"]
    assert terms.find("心室細動") is None
    assert terms.find("sinus rhythm or not") == "sinus rhythm or not"


def test_near_are_the_same_then_those_below_then_those_with_common_words(table):
    lines = ["bundle branch block", "left bundle branch block", "IRBBB", "av block", "branch of a tree", "sinus rhythm"]
    terms = table("code,name\n" + "\n".join(f"{n},{line}" for n, line in enumerate(lines)) + "\n")
    near = ["bundle branch block", "left bundle branch block", "IRBBB", "av block", "branch of a tree"]
    assert names(terms.near(["bundle branch block"], 10)) == near
    # What is above it is near by its words alone.
    assert names(terms.near(["LBBB"], 10)) == ["left bundle branch block"]
    assert names(terms.near(["LBBB", "a tree"], 1)) == ["left bundle branch block"]
    assert names(terms.near(["LBBB", "a tree"], 10)) == ["left bundle branch block", "branch of a tree"]
    assert terms.near(["digitalis"], 10) == []


def test_near_in_the_ontology_is_the_tree_below():
    known = ontology.load()
    near = names(of_ontology().near(["conduction disturbance"], 30))
    assert near[0] == "conduction disturbance"
    below = [name for name in known.entities if "conduction disturbance" in known.ancestors(name)]
    assert set(near[1:]) == set(below)
    assert names(of_ontology().near(["WPW"], 5)) == ["wolff-parkinson-white syndrome"]


def test_a_table_of_ones_own(table):
    terms = table(
        '﻿code,name,synonyms,description,rank\nL,"Block,  left",LBBB|left  bundle | block,"QRS > 0.12 s",1\nA,AF,,,2\n'
    )
    assert terms.entries == (Entry("L", ("Block, left", "LBBB", "left bundle", "QRS > 0.12 s")), Entry("A", ("AF",)))
    assert terms.find("qrs > 0.12 s") == "QRS > 0.12 s"


@pytest.mark.parametrize(
    "text",
    [
        "Dx,SNOMEDCTCode,Abbreviation,Total\natrial fibrillation,164889003,AF,5255\n",
        "Dx,SNOMED CT Code,Abbreviation,Total\natrial fibrillation,164889003,AF,3475\n",
        "Acronym Name,Full Name,Snomed_CT\n164889003,atrial fibrillation,7\n",
        ",description,SCP-ECG Statement Description\n164889003,atrial fibrillation,fibrillation\n",
    ],
)
def test_tables_of_others_are_read_as_they_are(table, text):
    assert table(text).entries == (Entry("164889003", ("atrial fibrillation",)),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no columns 'code' and 'name'.* it has none"),
        ("code,term\nA,b\n", "no columns 'code' and 'name'.* it has 'code', 'term'"),
        ("code,name\n", "no row"),
        ("code,name\nA,b\nB, \n", r"terms.csv, line 3: no 'name'"),
        ("code,name\nA,b\nB\n", "line 3: .* not as many cells"),
        ("code,name\nA,b,c\n", "line 2: .* not as many cells"),
        ("code,name\nA,caf\xe9\n", "is no CSV in UTF-8"),
        ('code,name\nA,"b c\nB,d\n', "is no CSV in UTF-8: unexpected end of data"),
        ("code,name,name\nA,b,c\n", "has the column 'name' twice"),
    ],
)
def test_a_bad_table_is_one_line(table, text, message):
    with pytest.raises(ValueError, match=message):
        table(text, "latin-1")


def test_no_table(tmp_path):
    with pytest.raises(FileNotFoundError):
        of_table(tmp_path / "nowhere.csv")


def test_real_tables(real_data):
    scp = of_table(real_data / "ptb_xl" / "scp_statements.csv")
    assert len(scp.entries) == 71
    coded = {entry.code: entry.texts for entry in scp.entries}
    assert coded["ISCIN"] == ("ischemic in inferior leads",)  # "in inferior leads" says less
    assert coded["WPW"] == ("Wolf-Parkinson-White syndrome", "Wolff-Parkinson-White syndrome")
    csn = of_table(real_data / "csn" / "ConditionNames_SNOMED-CT.csv")
    assert len(csn.entries) == 63
    assert csn.find("PVC") == "ventricular premature beat"
    assert "Myocardial infraction in the lower wall" in names(csn.near(["myocardial infarction"], 40))
