import numpy as np
import pytest

from kmerl_jax.text import cache, encoder


@pytest.fixture(scope="module")
def lexical():
    return encoder.load("lexical")


def test_embeddings_are_fixed(lexical):
    texts = ["atrial fibrillation", "sinus rhythm", ""]
    one, two = lexical.embed(texts), encoder.load("lexical").embed(texts[::-1])[::-1]
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


def test_unknown_encoder():
    with pytest.raises(ValueError, match="text encoder 'medcpt'"):
        encoder.load("medcpt")


class Counting:
    name, width, fingerprint = "counting", 2, "counting-1"

    def __init__(self):
        self.asked = []

    def embed(self, texts):
        self.asked += texts
        return np.array([[len(text), 1] for text in texts], np.float32).reshape(-1, 2)


def test_only_new_texts_are_embedded(tmp_path):
    one = Counting()
    vectors, new = cache.embed(one, ["a", "bb"], tmp_path)
    assert new == 2
    np.testing.assert_array_equal(vectors, [[1, 1], [2, 1]])
    vectors, new = cache.embed(one, ["ccc", "bb"], tmp_path)
    assert new == 1
    np.testing.assert_array_equal(vectors, [[3, 1], [2, 1]])
    assert one.asked == ["a", "bb", "ccc"]
    # Another fingerprint has a cache of its own.
    other = Counting()
    other.fingerprint = "counting-2"
    assert cache.embed(other, ["a"], tmp_path)[1] == 1


def test_a_kill_between_the_two_files_loses_nothing(tmp_path):
    one = Counting()
    cache.embed(one, ["a", "bb"], tmp_path)
    (folder,) = tmp_path.iterdir()
    before = (folder / "texts.json").read_text()
    cache.embed(one, ["ccc"], tmp_path)
    (folder / "texts.json").write_text(before)
    vectors, new = cache.embed(one, ["bb", "dddd"], tmp_path)
    assert new == 1
    np.testing.assert_array_equal(vectors, [[2, 1], [4, 1]])


def test_a_damaged_cache_is_a_clear_error(tmp_path):
    cache.embed(Counting(), ["a", "bb"], tmp_path)
    (folder,) = tmp_path.iterdir()
    (folder / "embeddings.npy").write_bytes(b"not an array")
    with pytest.raises(ValueError, match="damaged"):
        cache.embed(Counting(), ["a"], tmp_path)
