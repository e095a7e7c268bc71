import numpy as np
import pytest

from kmerl_jax.signals import leads


@pytest.mark.parametrize(
    ("name", "lead"),
    [
        ("aVR", "aVR"),
        ("AVR", "aVR"),
        ("avl", "aVL"),
        ("ii", "II"),
        ("MLII", "II"),
        ("Lead II", "II"),
        ("ECG aVF", "aVF"),
        ("MDC_ECG_LEAD_V1", "V1"),
        ("v6", "V6"),
        ("DIII", "III"),
        ("C3", "V3"),
        ("vx", None),
        ("V7", None),
        ("PLETH", None),
        ("", None),
    ],
)
def test_aliases(name, lead):
    assert leads.canonical(name) == lead


def test_orders():
    assert leads.STANDARD == ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
    assert leads.PROGRESSIVE[:6] == ("I", "II", "III", "aVF", "aVR", "aVL")
    assert set(leads.PROGRESSIVE) == set(leads.STANDARD)
    assert leads.standard_order(["V1", "aVF", "aVL", "I"]) == ("I", "aVL", "aVF", "V1")
    assert leads.lead_ids(["I", "aVR", "V6"]) == (0, 3, 11)


def test_every_set_is_of_distinct_leads_in_standard_order():
    for members in leads.LEAD_SETS.values():
        assert leads.standard_order(set(members)) == members


def test_parse():
    assert leads.parse_leads("limb") == leads.LEAD_SETS["limb"]
    assert leads.parse_leads("LIMB") == leads.LEAD_SETS["limb"]
    assert leads.parse_leads("12") == leads.STANDARD
    assert leads.parse_leads("v2, ii ,I") == ("I", "II", "V2")
    with pytest.raises(ValueError, match="'V9'"):
        leads.parse_leads("I,V9")
    with pytest.raises(ValueError, match="twice"):
        leads.parse_leads("I,i")


def test_limb_leads_follow_from_any_two():
    """III = II - I, aVR = -(I + II) / 2, aVL = I - II / 2, aVF = II - I / 2."""
    i, ii = np.random.default_rng(0).normal(size=(2, 9))
    limb = np.stack([i, ii, ii - i, -(i + ii) / 2, i - ii / 2, ii - i / 2])
    table = leads.limb_from_pair()
    for a in range(6):
        for b in range(6):
            expected = limb if a != b else np.zeros_like(limb)
            np.testing.assert_allclose(table[a, b] @ limb[[a, b]], expected, atol=1e-14)


def test_clinical_sets_have_names():
    for name in leads.CLINICAL:
        assert leads.parse_leads(name)
    assert leads.parse_leads("I+II") == ("I", "II")
