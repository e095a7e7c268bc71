import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kmerl_jax.models import masking
from kmerl_jax.models.masking import Masking

KEY = jax.random.key(0)


RULES = Masking()


def draw(count=3000, presence=None, segments=None, rules=RULES, start=0, key=KEY):
    index = jnp.arange(start, start + count, dtype=jnp.uint32)
    presence = jnp.ones((count, 12), bool) if presence is None else jnp.asarray(presence)
    segments = jnp.full(count, 50, jnp.int32) if segments is None else jnp.asarray(segments, jnp.int32)
    lead, segment, valid = jax.jit(masking.draw, static_argnames="masking")(key, index, presence, segments, rules)
    shape = (count, rules.max_leads, -1)
    return tuple(np.asarray(x).reshape(shape) for x in (lead, segment, valid))


def visible(lead, valid):
    """Sets of visible leads."""
    return [frozenset(row[there]) for row, there in zip(lead[:, :, 0], valid.any(2), strict=True)]


def test_each_three_consecutive_records_show_one_two_and_three_leads():
    _, _, valid = draw()
    counts = valid.any(2).sum(1).reshape(-1, 3)
    assert (np.sort(counts, axis=1) == [1, 2, 3]).all()
    # The order within a group is drawn, not fixed: each of the 6 is as frequent as the others.
    _, frequency = np.unique(counts, axis=0, return_counts=True)
    assert len(frequency) == 6
    assert np.abs(frequency - 1000 / 6).max() < 4 * np.sqrt(1000 / 6)


def test_leads_are_distinct_and_uniform():
    lead, _, valid = draw(6000)
    sets = visible(lead, valid)
    assert all(len(one) == n for one, n in zip(sets, valid.any(2).sum(1), strict=True))
    frequency = np.bincount([lead for one in sets for lead in one], minlength=12)
    expected = frequency.sum() / 12
    assert np.abs(frequency - expected).max() < 4 * np.sqrt(expected)
    pairs = {one for one in sets if len(one) == 2}
    assert len(pairs) == 66  # every pair of leads occurs


def test_segments_are_masked_in_each_lead_apart_and_equally_many():
    _, segment, valid = draw(600)
    there = valid.any(2)
    assert (valid[there].sum(1) == 38).all()
    for row in segment[there]:
        assert len(set(row)) == 38
        assert (np.diff(row) > 0).all()
    two = np.flatnonzero(there.sum(1) >= 2)
    assert all(set(segment[n, 0]) != set(segment[n, 1]) for n in two)
    frequency = np.bincount(segment[there].reshape(-1), minlength=50)
    expected = frequency.sum() / 50
    assert np.abs(frequency - expected).max() < 4 * np.sqrt(expected)


def test_the_draw_follows_the_place_in_the_stream_alone():
    whole = draw(60)
    for start, count in ((0, 7), (20, 13), (59, 1)):
        for a, b in zip(whole, draw(count, start=start), strict=True):
            np.testing.assert_array_equal(a[start : start + count], b)
    assert any((a != b).any() for a, b in zip(whole, draw(60, key=jax.random.key(1)), strict=True))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_absent_leads_and_segments_are_never_drawn(seed):
    rng = np.random.default_rng(seed)
    presence = rng.random((32, 12)) < rng.random((32, 1))
    presence[np.arange(32), rng.integers(12, size=32)] = True
    segments = rng.integers(1, 51, 32)
    lead, segment, valid = draw(32, presence, segments)
    dealt = np.asarray(masking.visible_counts(jax.random.split(KEY)[0], jnp.arange(32, dtype=jnp.uint32), Masking()))
    for n in range(32):
        leads = lead[n, :, 0][valid[n].any(1)]
        assert presence[n][leads].all()
        assert len(set(leads)) == len(leads) == min(dealt[n], presence[n].sum())
        assert (segment[n][valid[n]] < segments[n]).all()
        stay = segments[n] - int(np.rint(segments[n] * 0.24))
        assert (valid[n].sum(1)[valid[n].any(1)] == stay).all()


def test_a_record_with_one_lead_shows_it():
    presence = np.zeros((9, 12), bool)
    presence[:, 4] = True
    lead, _, valid = draw(9, presence)
    assert visible(lead, valid) == [frozenset([4])] * 9


def test_the_checksum_against_python():
    """Of valid tokens alone; one that is at another place, of another lead, segment or record is another."""

    def hashed(x):
        x = (x ^ x >> 16) * 0x85EBCA6B % 2**32
        x = (x ^ x >> 13) * 0xC2B2AE35 % 2**32
        return x ^ x >> 16

    lead, segment, valid = (x.reshape(40, -1) for x in draw(40))
    index = np.arange(40, dtype=np.uint32)
    got = np.asarray(masking.checksum(index, lead, segment, valid))
    for n in range(40):
        tokens = [(place * 12 + lead[n, place]) * 50 + segment[n, place] for place in np.flatnonzero(valid[n])]
        assert got[n] == sum(hashed(hashed(n + 1) ^ int(token)) for token in tokens) % 2**32
    hidden = np.where(valid, lead, 3)
    np.testing.assert_array_equal(masking.checksum(index, hidden, segment, valid), got)
    turned = [np.concatenate([x[:, 1:38], x[:, :1], x[:, 38:]], axis=1) for x in (lead, segment, valid)]
    for other in ((index + 1, lead, segment), (index, (lead + 1) % 12, segment), (index, lead, (segment + 1) % 50)):
        assert (np.asarray(masking.checksum(*other, valid)) != got).all()
    assert (np.asarray(masking.checksum(index, *turned)) != got).all()


def test_of_short_tokens_the_last_ones_of_a_lead_are_not_the_first_of_the_next():
    index, there = np.zeros(1, np.uint32), np.ones((1, 1), bool)
    one, other = (
        masking.checksum(index, lead * there, segment * there, there, 200) for lead, segment in ((3, 50), (4, 0))
    )
    assert one != other


@pytest.mark.parametrize("rules", [Masking(1, 1, 0), Masking(12, 12, 12), Masking(2, 6, 25)])
def test_other_ranges(rules):
    lead, _, valid = draw(120, rules=rules)
    counts = valid.any(2).sum(1)
    assert set(counts) == set(range(rules.min_leads, rules.max_leads + 1))
    assert valid.sum() == counts.sum() * (50 - rules.masked_segments)
    assert lead.shape[1] * lead.shape[2] == rules.tokens


@pytest.mark.parametrize("rules", [(0, 3, 12), (3, 2, 12), (1, 13, 12), (1, 3, 50), (1, 3, -1)])
def test_impossible_ranges(rules):
    with pytest.raises(ValueError, match=r"leads|segments"):
        Masking(*rules)


def test_something_stays_of_the_shortest_record():
    _, _, valid = draw(30, segments=np.resize([1, 2, 3], 30), rules=Masking(1, 3, 38))  # the paper's 75 %
    assert (valid.sum(2)[valid.any(2)] == 1).all()
    assert valid.any(2).any(1).all()
