"""What the grammar reads, held against a table written by hand, and against real statements where they are at hand."""

import os
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmerl_jax.knowledge import grammar, ontology
from kmerl_jax.knowledge.grammar import Mention, extract, parse

SIGNS = {"?": "possible", "!": "negated", "~": "previous"}
TABLE = (  # a statement, and what it mentions: "present, ?possible, !negated, ~previous"
    # rhythm
    ("Sinus rhythm", "sinus rhythm"),
    ("SINUS RHYTHM", "sinus rhythm"),
    ("Normal sinus rhythm", "sinus rhythm"),
    ("Sinus bradycardia.", "sinus bradycardia"),
    ("Marked sinus bradycardia", "sinus bradycardia"),
    ("IRREGULAR SINUS TACHYCARDIA", "sinus tachycardia"),
    ("Sinus arrhythmia", "sinus arrhythmia"),
    ("Atrial fibrillation with rapid ventricular response", "atrial fibrillation, rapid ventricular response"),
    ("ATRIAL FIBRILLATION WITH SLOW VENTRICULAR RESPONSE", "atrial fibrillation, slow ventricular response"),
    ("Atrial fibrillation with rapid V-rate", "atrial fibrillation, rapid ventricular response"),
    (
        "Atrial fibrillation with uncontrolled ventricular response",
        "atrial fibrillation, uncontrolled ventricular response",
    ),
    (
        "Probable atrial fibrillation with rapid ventricular response.",
        "?atrial fibrillation, rapid ventricular response",
    ),
    ("Possible atrial flutter", "?atrial flutter"),
    ("Atrial flutter with predominant 4:1 AV block", "atrial flutter, av block"),
    ("Atrial flutter/fibrillation", "?atrial flutter, ?atrial fibrillation"),
    ("A-flutter/fibrillation w/ complete AV block", "?atrial flutter, ?atrial fibrillation, third degree av block"),
    ("Sinus or ectopic atrial tachycardia", "?sinus tachycardia, ?ectopic atrial tachycardia"),
    ("PROBABLE SINUS (? ATRIAL) TACHYCARDIA", "?sinus tachycardia, ?atrial tachycardia"),
    (
        "PROBABLE SINUS TACHYCARDIA.CONSIDER FLUTTER AND/OR 2:1 A-V BLOCK",
        "?sinus tachycardia, ?atrial flutter, ?2:1 av block",
    ),
    (
        "PROBABLE SUPRAVENTRICULAR TACHYCARDIA, BUT CONSIDER SINUS OR PAROXYSMAL ATRIAL TACHYCARDIA",
        "?sinus tachycardia, ?atrial tachycardia",
    ),
    (
        "WIDE COMPLEX TACHYCARDIA - POSSIBLE SUPRAVENTRICULAR TACHYCARDIA",
        "wide complex tachycardia, ?supraventricular tachycardia",
    ),
    ("Possible ectopic atrial rhythm with 2nd degree (Mobitz II) SA block", "?ectopic atrial rhythm, sinoatrial block"),
    ("Irregular ectopic atrial bradycardia with PAC(s)", "ectopic atrial bradycardia, premature atrial complex"),
    ("Wandering atrial pacemaker", "wandering atrial pacemaker"),
    (
        "Possible accelerated junctional rhythm with PVCs",
        "?accelerated junctional rhythm, premature ventricular complex",
    ),
    ("Possible A-V junctional bradycardia", "?junctional bradycardia"),
    ("Junctional tachycardia", "junctional tachycardia"),
    ("Ventricular tachycardia, unsustained", "nonsustained ventricular tachycardia"),
    (
        "Sinus rhythm with non-sustained ventricular tachycardia with PAC(s).",
        "sinus rhythm, nonsustained ventricular tachycardia, premature atrial complex",
    ),
    (
        "paroxysmal idioventricular rhythm or aberrant ventricular conduction",
        "?idioventricular rhythm, ?aberrant ventricular conduction",
    ),
    ("Bradycardia with irregular rate", "bradycardia, irregular rhythm"),
    ("Uncertain rhythm: review", "undetermined rhythm"),
    (
        "Sinus rhythm with undetermined irregularity with 1st degree A-V block",
        "sinus rhythm, irregular rhythm, first degree av block",
    ),
    ("WITH RAPID VENTRICULAR RESPONSE", "rapid ventricular response"),
    # ectopy
    (
        "Sinus rhythm with PVC(s) and 1st degree A-V block",
        "sinus rhythm, premature ventricular complex, first degree av block",
    ),
    (
        "Sinus bradycardia with PVC(s) with PAC(s)",
        "sinus bradycardia, premature ventricular complex, premature atrial complex",
    ),
    (
        "Atrial fibrillation with frequent multifocal PVCs or aberrant ventricular conduction",
        "atrial fibrillation, ?frequent premature ventricular complex, "
        "?multifocal premature ventricular complex, ?aberrant ventricular conduction",
    ),
    ("- frequent multiform PVCs", "frequent premature ventricular complex, multifocal premature ventricular complex"),
    (
        "MULTIFOCAL INTERPOLATED PREMATURE VENTRICULAR CONTRACTIONS",
        "multifocal premature ventricular complex, interpolated premature ventricular complex",
    ),
    (
        "Multi interpolated vent premature complexes",
        "multifocal premature ventricular complex, interpolated premature ventricular complex",
    ),
    ("BIGEMINAL PVCs", "ventricular bigeminy"),
    ("BIGEMINAL PREMATURE ATRIAL CONTRACTIONS", "supraventricular bigeminy"),
    ("Paired ventricular premature complexes", "ventricular couplet"),
    ("VENTRICULAR COUPLET(S)", "ventricular couplet"),
    ("Supraventricular bigeminy", "supraventricular bigeminy"),
    ("Atrial premature complexes in couplets", "atrial couplet"),
    ("FREQUENT SUPRAVENTRICULAR EXTRASYSTOLES", "premature supraventricular complex"),
    ("Premature ventricular and fusion complexes", "premature ventricular complex, fusion complex"),
    ("OR ABERRANT VENTRICULAR CONDUCTION", "?aberrant ventricular conduction"),
    ("with fusion complexes with PAC(s)", "fusion complex, premature atrial complex"),
    (
        "Sinus tachycardia with aberrantly conducted supraventricular complexes with PVCs",
        "sinus tachycardia, aberrant ventricular conduction, premature ventricular complex",
    ),
    # conduction
    ("Sinus rhythm with borderline 1st degree A-V block", "sinus rhythm, ?first degree av block"),
    ("Second deg AVB, Mobitz I (Wenckebach)", "mobitz type i second degree av block"),
    ("- Mobitz type II 2nd degree A-V block", "mobitz type ii second degree av block"),
    ("AV block, complete (third degree)", "third degree av block"),
    ("Predominant 2:1 AV block", "2:1 av block"),
    ("A-V dissociation with unclassified aberrant complexes.", "av dissociation, aberrant ventricular conduction"),
    ("SINUS BRADYCARDIA. CONSIDER 2:1 SINO-ATRIAL BLOCK.", "sinus bradycardia, ?sinoatrial block"),
    ("RBBB and LAFB", "right bundle branch block, left anterior fascicular block"),
    ("Incomplete RBBB and LAFB", "incomplete right bundle branch block, left anterior fascicular block"),
    ("IRBBB and LPFB", "incomplete right bundle branch block, left posterior fascicular block"),
    (
        "RBBB with RAD - possible left posterior fascicular block",
        "right bundle branch block, right axis deviation, ?left posterior fascicular block",
    ),
    ("IVCD, consider atypical LBBB", "intraventricular conduction delay, ?left bundle branch block"),
    ("I.V. CONDUCTION DEFECT", "intraventricular conduction delay"),
    ("Conduction defect of RBBB type", "right bundle branch block"),
    ("POSSIBLE RV CONDUCTION DELAY", "?right ventricular conduction delay"),
    ("Complete AV block with wide QRS complex", "third degree av block, wide qrs complex"),
    ("LAD - POSSIBLE LEFT ANTERIOR FASCICULAR BLOCK", "left axis deviation, ?left anterior fascicular block"),
    (
        "RIGHT AXIS DEVIATION - LEFT POSTERIOR FASCICULAR BLOCK IF NO PULMONARY DISEASE",
        "right axis deviation, ?left posterior fascicular block, ?pulmonary disease pattern",
    ),
    ("Vent pre-excitat'n(WPW), left acces'y pathway", "wolff-parkinson-white syndrome"),
    ("CONSIDER WPW PATTERN TYPE B", "?wolff-parkinson-white syndrome"),
    ("SHORT PR : POSSIBLE VENTRICULAR PREEXCITATION", "short pr interval, ?preexcitation"),
    ("Delta wave V5/V6 + tall R in V5", "preexcitation, tall r wave"),
    # pacing
    ("Atrial-sensed ventricular-paced complexes", "atrial-sensed ventricular pacing"),
    (
        "A-V dual-paced complexes, A-noncapt due to AF",
        "dual chamber pacing, pacemaker malfunction, atrial fibrillation",
    ),
    ("Pacemaker rhythm - no further analysis", "paced rhythm"),
    ("DEMAND ATRIAL PACING AND INEFFECTIVE STIMULI", "atrial pacing, pacemaker malfunction"),
    ("Failure to sense and/or capture (?magnet)", "pacemaker malfunction"),
    ("Pacemaker spikes or artifacts", "?paced rhythm"),
    (
        "Demand pacing; Interpretation is based on unpaced beats with 1st degree A-V block",
        "paced rhythm, first degree av block",
    ),
    # infarction
    ("Inferior/lateral infarct - age undetermined", "inferior myocardial infarction, lateral myocardial infarction"),
    ("*** INFERIOR INFARCT - POSSIBLY ACUTE ***", "inferior myocardial infarction, ?acute myocardial infarction"),
    ("ANTEROSEPTAL INFARCTION, PROBABLY ACUTE", "anteroseptal myocardial infarction, ?acute myocardial infarction"),
    ("Lateral infarct, acute (LAD)", "lateral myocardial infarction, acute myocardial infarction"),
    (
        "Extensive anterior infarct, old",
        "extensive myocardial infarction, anterior myocardial infarction, old myocardial infarction",
    ),
    ("Probable old septal infarct", "?old myocardial infarction, ?septal myocardial infarction"),
    ("Cannot rule out anteroseptal infarct - age undetermined", "?anteroseptal myocardial infarction"),
    (
        "CONSIDER RECENT INFERIOR AND LATERAL INFARCTION",
        "?recent myocardial infarction, ?inferior myocardial infarction, ?lateral myocardial infarction",
    ),
    ("*** CONSIDER ACUTE ST ELEVATION MI ***", "?st elevation myocardial infarction"),
    (
        "*** EXTENSIVE INFARCT *** with possible acute inferior and lateral changes",
        "extensive myocardial infarction, ?acute myocardial infarction",
    ),
    (
        "POSSIBLE EXTENSIVE INFARCT with acute inferior changes",
        "?extensive myocardial infarction, ?acute myocardial infarction",
    ),
    (
        "CHANGES ARE PROBABLY DUE TO LVH BUT CONSIDER SEPTAL INFARCT",
        "?left ventricular hypertrophy, ?septal myocardial infarction",
    ),
    (
        "QRS changes in V2 may be due to LVH but cannot rule out septal infarct",
        "abnormal qrs, ?left ventricular hypertrophy, ?septal myocardial infarction",
    ),
    (
        "CHANGES IN V2 ARE PROBABLY RELATED TO POOR R WAVE PROGRESSION BUT SEPTAL INFARCTION CANNOT BE EXCLUDED",
        "?poor r wave progression, ?septal myocardial infarction",
    ),
    ("Abnormal Q suggests anterior infarct", "abnormal q wave, ?anterior myocardial infarction"),
    ("Q in inferior + ant/septal leads", "inferior abnormal q wave, anterior abnormal q wave, septal abnormal q wave"),
    ("Inferior Q + low R in anterior leads", "inferior abnormal q wave, poor r wave progression"),
    ("Anterior Q waves, possibly due to LVH", "anterior abnormal q wave, ?left ventricular hypertrophy"),
    (
        "Poor R wave progression - cannot rule out anteroseptal infarct",
        "poor r wave progression, ?anteroseptal myocardial infarction",
    ),
    ("Poor R wave progression - probable normal variant", "poor r wave progression"),
    # ischaemia, ST and T
    (
        "Inferior + anterior ST elevation, consider recent infarction",
        "inferior st elevation, anterior st elevation, ?recent myocardial infarction, "
        "?inferior myocardial infarction, ?anterior myocardial infarction",
    ),
    ("anterolateral ST-T changes", "anterior st-t abnormality, lateral st-t abnormality"),
    (
        "Anterior ST elevation, CONSIDER ACUTE INFARCT",
        "anterior st elevation, ?acute myocardial infarction, ?anterior myocardial infarction",
    ),
    ("Inferior ST elevation - probable post operative pericarditis", "inferior st elevation, ?pericarditis"),
    ("Extensive ST elevation suggests pericarditis", "extensive st elevation, ?pericarditis"),
    (
        "Lateral ST elevation - probable lateral extension of infarct",
        "lateral st elevation, ?lateral myocardial infarction",
    ),
    (
        "Lateral ST elevation - cannot rule out myocardial injury",
        "lateral st elevation, ?myocardial injury, ?lateral myocardial ischemia",
    ),
    ("Anterior ST elevation may be a normal variant for age", "?anterior st elevation"),
    ("ST elev, probable normal early repol pattern", "st elevation, ?early repolarization"),
    ("ST elevation + T wave inversion", "st elevation, t wave inversion"),
    (
        "ST depr, consider ischemia, anterolateral lds",
        "anterior st depression, lateral st depression, ?anterolateral myocardial ischemia",
    ),
    ("Minimal ST depression, lateral leads", "lateral st depression"),
    (
        "Marked ant/septal STj depression is probably reciprocal to inferior infarct",
        "anterior st depression, septal st depression, ?inferior myocardial infarction",
    ),
    ("Abnormal T, consider ischemia, inferior leads", "inferior t wave abnormality, ?inferior myocardial ischemia"),
    ("Abnormal T, probable ischemia, widespread", "extensive t wave abnormality, ?extensive myocardial ischemia"),
    (
        "Nonspecific repol abnrm, anterolateral leads",
        "nonspecific st-t abnormality, anterior st-t abnormality, lateral st-t abnormality",
    ),
    (
        "Repol abnrm, prob ischemia, inferolateral lds",
        "inferior st-t abnormality, lateral st-t abnormality, ?inferolateral myocardial ischemia",
    ),
    ("Borderline T abnormalities, lateral leads", "?lateral t wave abnormality"),
    ("Inferior T wave changes are nonspecific", "inferior t wave abnormality, nonspecific t wave abnormality"),
    ("Inferior T wave changes are normal for age", "?inferior t wave abnormality"),
    ("Lateral ST-T changes are borderline abnormal for age/sex", "?lateral st-t abnormality"),
    (
        "Lateral ST-T changes may be due to hypertrophy and/or ischemia",
        "lateral st-t abnormality, ?hypertrophy, ?lateral myocardial ischemia",
    ),
    (
        "Lateral ST-T changes suggest myocardial injury/ischemia",
        "lateral st-t abnormality, ?myocardial injury, ?lateral myocardial ischemia",
    ),
    ("Lateral ST-T changes are possibly secondary to hypertension", "lateral st-t abnormality"),
    (
        "Inferior/lateral ST-T changes are consistent with myocardial ischemia",
        "inferior st-t abnormality, lateral st-t abnormality, inferior myocardial ischemia, "
        "lateral myocardial ischemia",
    ),
    (
        "Septal T wave changes may be due to myocardial infarct or CVA",
        "septal t wave abnormality, ?septal myocardial infarction",
    ),
    ("Extensive ST-T changes may be related to electronic pacemaker", "extensive st-t abnormality, ?paced rhythm"),
    ("Tall T waves - consider hyperkalemia", "tall t wave, ?hyperkalemia"),
    ("T amp exceeds age/gender limit", "tall t wave"),
    (
        "Anterolateral ST-T changes - possible digitalis effect",
        "anterior st-t abnormality, lateral st-t abnormality, ?digitalis effect",
    ),
    # chambers, QRS, axis, voltage, intervals
    (
        "LVH with IVCD, LAD and secondary repol abnrm",
        "left ventricular hypertrophy, intraventricular conduction delay, left axis deviation, "
        "secondary st-t abnormality",
    ),
    (
        "PROBABLE LEFT VENTRICULAR HYPERTROPHY WITH ST-T CHANGES LIKELY TO BE DUE IN PART TO MYOCARDIAL ISCHEMIA",
        "?left ventricular hypertrophy, st-t abnormality, ?myocardial ischemia",
    ),
    ("CONSIDER LVH SUGGESTED BY VOLTAGE CRITERIA ONLY", "?voltage criteria for left ventricular hypertrophy"),
    ("Consider RVH w/ secondary repol abnormality", "?right ventricular hypertrophy, ?secondary st-t abnormality"),
    ("LAE, consider biatrial enlargement", "left atrial enlargement, ?biatrial enlargement"),
    ("Tall inferior P waves - possible right atrial abnormality", "p wave abnormality, ?right atrial enlargement"),
    ("Low voltage, extremity and precordial leads", "low qrs voltage"),
    ("High QRS voltage - probable normal variant", "high qrs voltage"),
    ("ABNORMAL EXTREME QRS AXIS DEVIATION", "extreme axis deviation"),
    ("QRS AXIS LEFTWARD (SUPERIOR) FOR AGE", "left axis deviation"),
    ("RSR' in V1 or V2, probably normal variant", "rsr' pattern"),
    ("Tall R or R/S>1 in V1", "tall r wave"),
    ("Prolonged QT, probably secondary to wide QRS", "prolonged qt interval, ?wide qrs complex"),
    ("LONG QTc : POSSIBLE HYPOCALCEMIA OR T-U FUSION", "prolonged qt interval, ?hypocalcemia"),
    ("Borderline prolonged PR interval", "?prolonged pr interval"),
    # the whole ECG
    ("Normal ECG", "normal ecg"),
    ("Normal ECG except for rate", "!normal ecg"),
    ("Summary: BRADYCARDIA - OTHERWISE NORMAL", "bradycardia"),
    ("Summary: ABNORMAL", "abnormal ecg"),
    ("Borderline EKG", "borderline ecg"),
    ("--- Dextrocardia ---", "dextrocardia"),
    ("APPEARANCES SUGGEST DEXTROCARDIA: REPEAT WITH REVERSED LEADS. NO FURTHER ANALYSIS.", "?dextrocardia"),
    # negation, and what was there before
    ("Atrial fibrillation no longer present", "!atrial fibrillation"),
    ("Compared with previous ECG, atrial fibrillation is no longer present", "!atrial fibrillation"),
    ("Sinus rhythm, atrial fibrillation no longer present", "sinus rhythm, !atrial fibrillation"),
    ("Previous anterior infarct no longer present", "~anterior myocardial infarction, ~old myocardial infarction"),
    ("Previous anterior infarct", "anterior myocardial infarction, old myocardial infarction"),
    ("Previously seen atrial flutter has resolved", "~atrial flutter"),
    ("Sinus rhythm has replaced atrial fibrillation", "sinus rhythm, ~atrial fibrillation"),
    ("Atrial fibrillation has been replaced by sinus rhythm", "~atrial fibrillation, sinus rhythm"),
    ("No evidence of myocardial infarction", "!myocardial infarction"),
    ("No ST elevation or T wave inversion", "!st elevation, !t wave inversion"),
    ("Sinus rhythm without ST changes", "sinus rhythm, !st segment abnormality"),
    ("Left ventricular hypertrophy is likely", "?left ventricular hypertrophy"),
    ("Myocardial ischaemia cannot be excluded.", "?myocardial ischemia"),
    ("ST no longer elevated in Anterior leads", "!anterior st elevation"),
    # statements in full sentences, and walls named by their leads
    (
        "Q waves in II, III, aVF consistent with old inferior myocardial infarction",
        "inferior abnormal q wave, old myocardial infarction, inferior myocardial infarction",
    ),
    ("q waves in ii, iii, avf are probably normal", "?inferior abnormal q wave"),
    ("ST segments are markedly depressed in I, aVL, V5,6", "lateral st depression"),
    (
        "st segments are depressed and t waves inverted in i, avl, v4,5,6",
        "lateral st depression, lateral t wave inversion",
    ),
    ("voltages are high in limb leads suggesting LVH", "high qrs voltage, ?left ventricular hypertrophy"),
    (
        "prolonged QT, this may be due to a drug effect or an electrolyte disturbance",
        "prolonged qt interval, ?drug effect, ?electrolyte disturbance",
    ),
    ("T waves are inverted in V1-V4", "anterior t wave inversion, septal t wave inversion"),
)
SCP = (  # descriptions of SCP-ECG statements, as PTB-XL prints them
    ("non-diagnostic T abnormalities", "nonspecific t wave abnormality"),
    ("non-specific ST changes", "nonspecific st segment abnormality"),
    ("suggests digitalis-effect", "?digitalis effect"),
    ("long QT-interval", "prolonged qt interval"),
    ("non-specific intraventricular conduction disturbance (block)", "intraventricular conduction delay"),
    ("ischemic ST-T changes", "myocardial ischemia"),
    ("ischemic ST-T changes in anterolateral leads", "anterolateral myocardial ischemia"),
    ("subendocardial injury in anteroseptal leads", "anteroseptal subendocardial injury"),
    ("(complete) right bundle branch block", "right bundle branch block"),
    ("left atrial overload/enlargement", "left atrial enlargement"),
    ("ST-T changes compatible with ventricular aneurysm", "st-t abnormality, ventricular aneurysm"),
    ("compatible with electrolyte abnormalities", "electrolyte disturbance"),
    ("Wolf-Parkinson-White syndrome", "wolff-parkinson-white syndrome"),
    ("inferoposterolateral myocardial infarction", "inferoposterolateral myocardial infarction"),
    ("septal hypertrophy", "septal hypertrophy"),
    ("third degree AV block", "third degree av block"),
    ("abnormal QRS", "abnormal qrs"),
    ("ventricular premature complex (beat)", "premature ventricular complex"),
    ("atrial premature complex (beat)", "premature atrial complex"),
    ("premature complex(es)", "premature complex"),
    ("non-specific ST depression", "st depression, nonspecific st segment abnormality"),
    (
        "voltage criteria (QRS) for left ventricular hypertrophy",
        "voltage criteria for left ventricular hypertrophy",
    ),
    ("Q waves present", "abnormal q wave"),
    ("low amplitude T-waves", "t wave flattening"),
    ("non-specific T-wave changes", "nonspecific t wave abnormality"),
    ("inverted T-waves", "t wave inversion"),
    ("low QRS voltages in the frontal and horizontal leads", "low qrs voltage"),
    ("normal functioning artificial pacemaker", "paced rhythm"),
    ("bigeminal pattern (unknown origin, SV or Ventricular)", "bigeminy"),
    ("paroxysmal supraventricular tachycardia", "paroxysmal supraventricular tachycardia"),
)
QUALITY = (
    "Lead(s) unsuitable for analysis: I II aVR V1",
    "LEAD(S) UNSUITABLE FOR ANALYSIS: V6",
    "Artifact in lead(s) I,II,aVR,V1 and baseline wander in lead(s) V2",
    "Baseline wander in lead(s) II,III,aVF",
    "Missing lead(s): V1,V2",
    "*** arm lead reversal - only aVF, V1 - V6 analyzed ***",
    "Right and left arm electrode reversal, interpretation assumes no reversal",
    "--- Pediatric criteria used ---",
    "Possible sequence error: V3,V4 omitted.",
    "** INTERPRETATION MADE WITHOUT KNOWING PATIENT'S GENDER/AGE **",
    "Warning: Data quality may affect computer interpretation!!",
    "Faulty V2 - omitted from analysis",
)
REMARKS = (
    "NO OTHER FINDING",
    "Otherwise normal ECG",
    "MAY BE NORMAL VARIANT IF NO CLINICAL ABNORMALITY FOUND",
    "IF RHYTHM IS CONFIRMED, THE FOLLOWING REPORT MAY NOT BE VALID",
    "Compared with previous tracing: no significant change",
    "Lateral leads are also involved",
    "Summary: NONE AVAILABLE",
)


def expected(text: str) -> set[Mention]:
    names = [name for name in text.split(", ") if name]
    return {Mention(name.lstrip("?!~"), SIGNS.get(name[0], "present")) for name in names}


@pytest.mark.parametrize(("statement", "mentions"), TABLE + SCP)
def test_statement_is_read_as_a_cardiologist_reads_it(statement, mentions):
    assert set(extract(statement)) == expected(mentions)
    assert len(extract(statement)) == len(expected(mentions))
    assert parse(statement).kind == "finding"


def test_table_covers_the_families():
    known = ontology.load()
    named = {mention.entity for statement, _ in TABLE + SCP for mention in extract(statement)}
    assert len(TABLE) >= 120
    assert {known.entities[name].family for name in named} == {entity.family for entity in known.entities.values()}


@pytest.mark.parametrize("statement", QUALITY)
def test_notes_on_the_recording_are_no_findings(statement):
    assert (parse(statement).kind, extract(statement)) == ("quality", ())


@pytest.mark.parametrize("statement", REMARKS)
def test_remarks_are_understood_and_mention_nothing(statement):
    assert (parse(statement).kind, extract(statement)) == ("remark", ())


@pytest.mark.parametrize(
    "statement", ["", " . ", "qwerty uiop", "Low maximum QRS spatial velocity", "patient fell asleep"]
)
def test_what_is_not_understood_says_so(statement):
    assert (parse(statement).kind, extract(statement)) == ("unknown", ())


def test_unread_words_are_named():
    assert parse("Sinus rhythm with zebra").unread == ("zebra",)
    assert parse("Sinus rhythm with PVCs").unread == ()


@pytest.mark.parametrize(("statement", "_"), TABLE + SCP)
def test_casing_decoration_and_full_stop_do_not_matter(statement, _):
    for variant in (statement.upper(), statement.lower(), f"*** {statement} ***", f" {statement}. "):
        assert extract(variant) == extract(statement)


def test_every_name_of_the_ontology_is_read_as_itself():
    known = ontology.load()
    for name in known.entities:
        assert extract(name) == (Mention(name, "present"),), name


def test_every_phrase_of_the_ontology_is_read_as_its_entity():
    for entity in ontology.load().entities.values():
        for phrase in entity.phrases:
            assert entity.name in {mention.entity for mention in extract(phrase)}, phrase


def test_hedge_and_negation_reach_every_entity():
    for name in ontology.load().entities:
        assert {mention.status for mention in extract(f"possible {name}")} == {"possible"}, name
        assert {mention.status for mention in extract(f"{name} cannot be excluded")} == {"possible"}, name
        assert {mention.status for mention in extract(f"no evidence of {name}")} == {"negated"}, name
        assert {mention.status for mention in extract(f"{name} is no longer present")} == {"negated"}, name


WORDS = sorted(
    {word for statement, _ in TABLE for word in statement.split()} | {"no", "or", "with", "possible", ",", "-"}
)


@given(st.lists(st.sampled_from(WORDS), max_size=14).map(" ".join))
def test_any_run_of_words_is_read_without_failing(statement):
    known = ontology.load()
    parsed = parse(statement)
    assert len({mention.entity for mention in parsed.mentions}) == len(parsed.mentions)
    assert all(mention.entity in known.entities for mention in parsed.mentions)
    assert all(mention.status in grammar.STATUSES for mention in parsed.mentions)
    assert (parsed.kind == "finding") == bool(parsed.mentions)


@given(st.text(max_size=60))
def test_any_text_is_read_without_failing(statement):
    assert parse(statement).kind in {"finding", "quality", "remark", "unknown"}


def real_statements() -> list[str]:
    root = Path(os.environ.get("KMERL_REAL_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))
    path = root / "mimic_iv_ecg" / "machine_statements_sample.txt"
    if not path.is_file():
        pytest.skip(f"no real statements at {path}; set KMERL_REAL_DATA")
    return path.read_text("utf-8").splitlines()


def test_nearly_all_real_statements_are_understood_in_time():
    statements = real_statements()
    parse.cache_clear()
    start = time.perf_counter()
    kinds = Counter(parse(statement).kind for statement in statements)
    assert time.perf_counter() - start < 2
    assert kinds["unknown"] <= 0.03 * len(statements)
    assert kinds["finding"] >= 0.7 * len(statements)


def test_real_notes_on_the_recording_are_no_findings():
    notes = [text for text in real_statements() if text.lower().startswith(("lead(s) ", "missing lead", "baseline"))]
    assert len(notes) > 300
    assert {parse(text).kind for text in notes} == {"quality"}
