import numpy as np
import pytest

from kmerl_jax.text import cache


class Counting:
    name, width, fingerprint, cut = "counting", 2, "counting-1", 0

    def __init__(self, dies_after=10**9):
        self.asked, self.dies_after = [], dies_after

    def embed(self, texts, progress=lambda done, total: None):
        if len(self.asked) >= self.dies_after:
            raise KeyboardInterrupt
        self.asked += texts
        progress(len(texts), len(texts))
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
    assert cache.embed(one, [], tmp_path)[0].shape == (0, 2)
    # Another fingerprint has a cache of its own.
    other = Counting()
    other.fingerprint = "counting-2"
    assert cache.embed(other, ["a"], tmp_path)[1] == 1


def test_a_kill_loses_the_part_at_hand_only(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "_PART_TEXTS", 3)
    texts, done = [str(n) * (n + 1) for n in range(10)], []
    with pytest.raises(KeyboardInterrupt):
        cache.embed(Counting(dies_after=6), texts, tmp_path, lambda n, total: done.append((n, total)))
    assert done == [(3, 10), (6, 10)]
    again = Counting()
    vectors, new = cache.embed(again, texts, tmp_path)
    assert (new, again.asked) == (4, texts[6:])
    np.testing.assert_array_equal(vectors[:, 0], [len(text) for text in texts])


def test_two_runs_at_once(tmp_path):
    """Both embed what they need; a third finds it all, whichever wrote what."""
    first = cache.embed(Counting(), ["a", "bb"], tmp_path)
    (folder,) = tmp_path.iterdir()
    (file,) = folder.iterdir()
    (folder / "0copy.parquet").write_bytes(file.read_bytes())
    again = cache.embed(Counting(), ["a", "bb"], tmp_path)
    assert again[1] == 0
    np.testing.assert_array_equal(again[0], first[0])


def test_a_damaged_cache_is_a_clear_error(tmp_path):
    cache.embed(Counting(), ["a", "bb"], tmp_path)
    (folder,) = tmp_path.iterdir()
    (file,) = folder.iterdir()
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(ValueError, match=rf"{file.name}.*is damaged.*remove the file"):
        cache.embed(Counting(), ["a"], tmp_path)
