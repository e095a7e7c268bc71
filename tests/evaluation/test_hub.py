"""The Hub itself is far away: what is asked of it, and what is said when it fails."""

import huggingface_hub
import pytest

from kmerl_jax.evaluation import hub, release
from tests.evaluation.test_release import folder  # noqa: F401 (a fixture)
from tests.prediction.conftest import ecg, evaluated_run  # noqa: F401 (fixtures)


def test_a_model_by_its_id(folder, monkeypatch, tmp_path):  # noqa: F811
    asked = []

    def snapshot_download(name, allow_patterns):
        asked.append((name, allow_patterns))
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    assert hub.locate("someone/model") == folder
    assert asked == [("someone/model", release.FILES)]
    assert hub.locate(folder) == folder
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    assert str(hub.locate("runs/mine")) == "runs/mine", "a folder that is there comes first"
    assert len(asked) == 1


def test_all_of_a_model_is_asked_for(folder):  # noqa: F811
    import fnmatch

    for path in folder.rglob("*"):
        if path.is_file():
            name = path.relative_to(folder).as_posix()
            assert any(fnmatch.fnmatch(name, pattern) for pattern in release.FILES), name


def test_no_network(monkeypatch):
    def snapshot_download(name, allow_patterns):
        raise ConnectionError("no route to host\nand more")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    with pytest.raises(FileNotFoundError, match=r"no such model can be had .* \(ConnectionError: no route to host\)"):
        hub.locate("someone/model")


def test_pushing(folder, monkeypatch):  # noqa: F811
    calls = []
    monkeypatch.setattr(huggingface_hub, "create_repo", lambda name, private, exist_ok: calls.append((name, private)))
    monkeypatch.setattr(huggingface_hub, "upload_folder", lambda **how: calls.append(how))
    assert hub.push(folder, "me/model") == "https://huggingface.co/me/model"
    assert calls[0] == ("me/model", True)
    assert calls[1]["repo_id"] == "me/model"
    assert calls[1]["allow_patterns"] == release.FILES


def test_a_push_that_fails(folder, monkeypatch):  # noqa: F811
    def create_repo(name, private, exist_ok):
        raise PermissionError("401 Unauthorized")

    monkeypatch.setattr(huggingface_hub, "create_repo", create_repo)
    with pytest.raises(ValueError, match=r"was not pushed \(PermissionError: 401 Unauthorized\); .* is whole"):
        hub.push(folder, "me/model")
