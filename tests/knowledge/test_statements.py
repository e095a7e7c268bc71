"""One spelling for statements, one form for reports."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmerl_jax.knowledge.statements import clean_report, normalize


@pytest.mark.parametrize(
    ("printed", "normal"),
    [
        ("Sinus rhythm.", "sinus rhythm"),
        ("SINUS  RHYTHM ", "sinus rhythm"),
        ("Abnormal EKG", "abnormal ecg"),
        ("*** INFERIOR INFARCT - POSSIBLY ACUTE ***", "inferior infarct - possibly acute"),
        ("*** EXTENSIVE INFARCT *** with acute changes", "extensive infarct with acute changes"),
        ("--- Possible measurement error ---.", "possible measurement error"),
        ("--- Technically unsatisfactory tracing ---*", "technically unsatisfactory tracing"),
        ("=-Sinus rhythm", "sinus rhythm"),
        ("- first degree A-V block", "first degree a-v block"),
        ("Sinus\trhythm\n", "sinus rhythm"),
        ("QRS axis superior to -30 degrees", "qrs axis superior to -30 degrees"),
        ("***", ""),
        ("", ""),
        (" . ", ""),
    ],
)
def test_normalize(printed, normal):
    assert normalize(printed) == normal


@given(st.text(alphabet=st.one_of(st.sampled_from("*-=. EKGekg"), st.characters()), max_size=40))
def test_normalize_twice_is_normalize_once(text):
    assert normalize(normalize(text)) == normalize(text)


def test_clean_report_joins_and_ends_with_a_full_stop():
    assert clean_report(["Sinus rhythm.", "*** Acute MI ***"]) == "sinus rhythm. acute mi."


def test_clean_report_drops_empty_statements():
    assert clean_report(["", "Normal EKG", "  ", "***"]) == "normal ecg."
    assert clean_report([]) == clean_report(["", "."]) == ""
