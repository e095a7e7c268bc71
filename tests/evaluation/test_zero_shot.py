"""What is compared with an ECG: class names, or prompts from a file."""

import dataclasses

import pytest

from kmerl_jax.evaluation import classes, zero_shot
from kmerl_jax.evaluation.task import Task

TASK = Task("letters", "made up", ("an a", "a B"), ("A", "B"), {})


@pytest.fixture
def file(tmp_path):
    """Writes a file of prompts."""

    def make(content):
        path = tmp_path / "prompts.json"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return make


def test_prompts_go_by_code_in_lower_case(file):
    prompts = zero_shot.read_prompts(file('{"B": "Big B, BB.", "A": "a", "C": "of no class"}'))
    assert zero_shot.texts(TASK, prompts) == ["a", "big b, bb."]
    assert zero_shot.texts(TASK, None) == ["an a", "a B"]


@pytest.mark.parametrize(
    ("prompts", "missing"),
    [({"A": "a"}, "1 of 2 classes of letters: B"), ({}, "2 of 2 .*: A, B"), ({"A": " ", "B": "b"}, "1 of 2 .*: A")],
)
def test_classes_without_a_prompt_are_named(prompts, missing):
    with pytest.raises(ValueError, match=f"--prompts has no prompt for {missing}"):
        zero_shot.texts(TASK, prompts)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is not JSON with one prompt a class: Expecting value"),
        ('{"A": "a"', "is not JSON"),
        ('{"A": "a", "B": "b", "A": "c"}', "class A stands there twice"),
        (b'{"A": "\xff"}', "is not JSON .* 'utf-8' codec"),
        ("[" * 100_000, "is not JSON"),
        ('["A"]', "is not a JSON object of class codes and texts"),
        ('{"A": ["a", "b"]}', "is not a JSON object of class codes and texts"),
        ("null", "is not a JSON object of class codes and texts"),
    ],
)
def test_a_bad_file_is_one_line(file, content, message):
    path = file(content)
    with pytest.raises(ValueError, match=message) as caught:
        zero_shot.read_prompts(path)
    assert str(path) in str(caught.value)


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        zero_shot.read_prompts(tmp_path / "nowhere.json")


def test_merls_published_prompts_are_for_every_class_of_every_task(real_data):
    prompts = zero_shot.read_prompts(real_data / "merl_splits" / "CKEPE_prompt.json")
    for name, chosen in classes.load().items():
        task = dataclasses.replace(TASK, name=name, names=tuple(chosen), codes=tuple(chosen))
        assert zero_shot.texts(task, prompts) == [prompts[code].lower() for code in chosen]
