import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kmerl_jax.models import tokens
from kmerl_jax.prediction import bags
from kmerl_jax.signals.leads import STANDARD, lead_ids
from kmerl_jax.signals.waveform import to_window
from tests.prediction.conftest import longer, part


@settings(max_examples=30, deadline=None)
@given(there=st.sets(st.sampled_from(STANDARD), min_size=1), seconds=st.floats(0.2, 10))
def test_the_tokens_are_those_of_an_evaluation(ecg, there, seconds):
    shown = part(ecg, sorted(there), seconds)
    (bag,) = bags.of_ecg(shown)
    window, _ = to_window(shown)
    batch = window.signal[None], window.presence[None], np.array([window.segments])
    whole = tokens.all_tokens(*batch, lead_ids(STANDARD))
    valid = np.asarray(whole.valid[0])
    np.testing.assert_allclose(bag.values, np.asarray(whole.values[0])[valid], rtol=2e-7)  # a division, rounded
    np.testing.assert_array_equal(bag.lead, np.asarray(whole.lead[0])[valid])
    np.testing.assert_array_equal(bag.segment, np.asarray(whole.segment[0])[valid])


def test_only_the_leads_that_may_be_seen(ecg):
    (bag,) = bags.of_ecg(ecg, ("V1", "II"))
    assert set(bag.lead) == set(lead_ids(("II", "V1")))
    with pytest.raises(ValueError, match="none of V6 holds a signal; there are I II"):
        bags.of_ecg(part(ecg, ("I", "II")), ("V6",))


def test_leads_in_any_spelling(ecg):
    for leads in ("I,II", ("ii", "I"), ["Lead I", "DII"], "I+II"):
        assert bags.of_ecg(ecg, leads)[0].leads == ("I", "II")
    for leads in ((), "", ("V9",)):
        with pytest.raises(ValueError, match="unknown lead"):
            bags.of_ecg(ecg, leads)


def test_a_long_one_is_several(ecg):
    assert [len(bag.values) for bag in bags.of_ecg(longer(ecg, 3))] == [600, 600, 600]


def test_batches_hold_each_bag_once(ecg):
    given_bags = [
        bags.of_ecg(part(ecg, STANDARD[:n], seconds))[0]
        for n, seconds in itertools.product((1, 3, 5, 12), (1.0, 4.2, 10.0))
    ] * 5
    seen = []
    for chosen, batch in bags.batches(given_bags):
        assert batch.values.shape[1] in bags.BUDGETS
        assert batch.values.shape[0] == 1 or batch.values.shape[:2] == (
            9600 // batch.values.shape[1],
            batch.values.shape[1],
        )
        for row, n in enumerate(chosen):
            assert batch.valid[row].sum() == len(given_bags[n].values)
            np.testing.assert_array_equal(batch.values[row][batch.valid[row]], given_bags[n].values)
        assert not batch.valid[len(chosen) :].any()
        seen += chosen
    assert sorted(seen) == list(range(len(given_bags)))
