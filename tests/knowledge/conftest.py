"""A language model's server of this machine, and a client of it."""

import pytest

from kmerl_jax.knowledge.llm import Server
from tests.knowledge.llm_server import serving


@pytest.fixture
def served():
    with serving() as running:
        yield running


@pytest.fixture
def server(served, tmp_path):
    with Server(served.url, "tiny", tmp_path / "answers.sqlite") as client:
        yield client
