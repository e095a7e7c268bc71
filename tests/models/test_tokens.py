import jax.numpy as jnp
import numpy as np
import pytest

from kmerl_jax.models import tokens

RNG = np.random.default_rng(0)
SIGNAL = RNG.integers(-3000, 3000, (4, 12, 5000)).astype(np.int16)


def random_bag(valid_share=0.7):
    lead, segment = RNG.integers(12, size=(4, 9)), RNG.integers(50, size=(4, 9))
    valid = RNG.random((4, 9)) < valid_share
    valid[:, 0] = True
    return lead, segment, valid


def test_cutting_equals_slicing():
    lead, segment, valid = random_bag()
    bag = tokens.cut(jnp.asarray(SIGNAL), jnp.asarray(lead), jnp.asarray(segment), jnp.asarray(valid))
    for b in range(4):
        for t in range(9):
            start = segment[b, t] * 100
            expected = SIGNAL[b, lead[b, t], start : start + 100] / np.float32(1000) * valid[b, t]
            np.testing.assert_allclose(bag.values[b, t], expected, rtol=1e-6)


def test_all_tokens():
    presence = RNG.random((4, 12)) < 0.7
    segments = np.array([50, 30, 1, 12], np.int32)
    bag = tokens.all_tokens(jnp.asarray(SIGNAL), jnp.asarray(presence), jnp.asarray(segments), (1, 6))
    assert bag.values.shape == (4, 100, 100)
    for b in range(4):
        for n, lead in enumerate((1, 6)):
            for segment in range(50):
                t = n * 50 + segment
                assert (bag.lead[b, t], bag.segment[b, t]) == (lead, segment)
                there = presence[b, lead] and segment < segments[b]
                assert bag.valid[b, t] == there
                expected = SIGNAL[b, lead, segment * 100 : segment * 100 + 100] / np.float32(1000) * there
                np.testing.assert_allclose(bag.values[b, t], expected, rtol=1e-6)


@pytest.mark.parametrize("method", tokens.NORMALIZATIONS)
def test_normalization_against_numpy(method):
    lead, segment, valid = random_bag()
    bag = tokens.cut(jnp.asarray(SIGNAL), jnp.asarray(lead), jnp.asarray(segment), jnp.asarray(valid))
    scaled = np.asarray(tokens.normalize(bag, method).values)
    for b in range(4):
        seen = np.asarray(bag.values[b])[valid[b]]
        expected = {
            "mv": seen / 0.2,
            "zscore": (seen - seen.mean()) / seen.std(),
            "minmax": (seen - seen.min()) / np.ptp(seen),
        }[method]
        np.testing.assert_allclose(scaled[b][valid[b]], expected, atol=1e-4)
        assert not scaled[b][~valid[b]].any()


@pytest.mark.parametrize("method", tokens.NORMALIZATIONS)
def test_what_is_hidden_leaks_nothing(method):
    presence = jnp.ones((4, 12), bool).at[:, 3].set(False)
    segments = jnp.full(4, 20, jnp.int32)
    other = SIGNAL.copy()
    other[:, [0, 3, 7]] = 32000  # leads that are not asked for, or absent
    other[:, :, 2000:] = -32000  # time that was not recorded
    bags = [
        tokens.normalize(tokens.all_tokens(jnp.asarray(x), presence, segments, (1, 3)), method) for x in (SIGNAL, other)
    ]
    np.testing.assert_array_equal(bags[0].values, bags[1].values)


def test_derived_limb_leads_are_exact():
    """From any two that are shown; what was recorded stays, and with fewer than two nothing is made up."""
    i, ii = RNG.integers(-3000, 3000, (2, 5000)) * 2
    limb = np.stack([i, ii, ii - i, -(i + ii) // 2, i - ii // 2, ii - i // 2])
    signal = np.stack([np.concatenate([limb, RNG.integers(-3000, 3000, (6, 5000))])] * 3).astype(np.int16)
    presence = np.ones((3, 12), bool)
    presence[1, 3] = False  # aVR was not recorded: III and aVL are left
    presence[2, [2, 3]] = False  # aVL alone is left
    shown, segments = (2, 3, 4, 7), np.array([50, 50, 50], np.int32)
    changed = signal.copy()
    changed[:, [0, 1, 5]] = 999  # hidden
    changed[2, [2, 3]] = 999
    bag = tokens.all_tokens(jnp.asarray(changed), jnp.asarray(presence), jnp.asarray(segments), shown, derive=True)
    assert bag.values.shape == (3, 7 * 50, 100)
    values, valid = np.asarray(bag.values).reshape(3, 7, 5000), np.asarray(bag.valid).reshape(3, 7, 50).all(-1)
    assert [list(np.asarray(bag.lead)[0, ::50]), list(valid[2])] == [
        [0, 1, 2, 3, 4, 5, 7],
        [False] * 4 + [True, False, True],
    ]
    assert valid[:2].all()
    for b in range(2):
        np.testing.assert_allclose(values[b, :6], limb / 1000, atol=1e-6)
        np.testing.assert_allclose(values[b, 6], signal[b, 7] / 1000, rtol=1e-6)
    np.testing.assert_allclose(values[2, 4], limb[4] / 1000, rtol=1e-6)


def test_one_limb_lead_derives_nothing():
    presence, segments = np.ones((4, 12), bool), np.full(4, 50, np.int32)
    plain, derived = (
        tokens.all_tokens(jnp.asarray(SIGNAL), jnp.asarray(presence), jnp.asarray(segments), (0, 8), how)
        for how in (False, True)
    )
    np.testing.assert_array_equal(plain.values, derived.values)
