import numpy as np
import pytest

from kmerl_jax.config import base
from kmerl_jax.text import encoder


@pytest.fixture(scope="module")
def lexical():
    return encoder.load(base("x", "demo").text, np.float32)


def test_embeddings_are_fixed(lexical):
    texts = ["atrial fibrillation", "sinus rhythm", ""]
    one, two = lexical.embed(texts), encoder.load(base("x", "demo").text, np.float32).embed(texts[::-1])[::-1]
    assert one.shape == (3, 768)
    assert one.dtype == np.float32
    np.testing.assert_array_equal(one, two)
    np.testing.assert_allclose(np.linalg.norm(one[:2], axis=1), 1, atol=0.15)
    assert not one[2].any()
    assert lexical.embed([]).shape == (0, 768)


def test_similar_spelling_is_near(lexical):
    a, b, c = lexical.embed(["inferior myocardial infarction", "anterior myocardial infarction", "atrial flutter"])
    assert a @ b > 0.5 > 0.2 > a @ c


def test_projection_keeps_angles(lexical):
    texts = [f"{x} {y}" for x in ("sinus", "atrial", "left", "right") for y in ("rhythm", "axis", "block")]
    counts = np.hstack([lexical._words.transform(texts).toarray(), lexical._characters.transform(texts).toarray()])
    exact = counts @ counts.T / 2
    projected = lexical.embed(texts) @ lexical.embed(texts).T
    assert np.abs(exact - projected).max() < 0.15
