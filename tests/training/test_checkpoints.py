import errno
import logging
import os
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kmerl_jax.training import checkpoints
from kmerl_jax.training.checkpoints import Checkpoints


def state(step=0):
    return {"params": {"w": jnp.full((64, 64), float(step))}, "step": jnp.int32(step)}


def save(manager, step, val_loss=None):
    manager.save(step, state(step), 10 * step, {"seed": 0}, val_loss, float(step))


@pytest.fixture
def folder(tmp_path):
    """Checkpoints of steps 1, 2 and 3."""
    manager = Checkpoints(tmp_path / "checkpoints")
    for step in (1, 2, 3):
        save(manager, step)
    manager.close()
    return tmp_path / "checkpoints"


def restored(folder):
    manager = Checkpoints(folder)
    value, next_index, seconds = manager.restore(state())
    manager.close()
    step = int(value["step"])
    np.testing.assert_array_equal(value["params"]["w"], state(step)["params"]["w"])
    assert (next_index, seconds) == (10 * step, step)
    return step


def test_the_latest_and_the_best_stay(tmp_path):
    """Of steps 1 to 6 the last two and the one of lowest validation loss; a step that was not validated is no best."""
    losses = [3.0, 1.0, 2.0, None, 1.5, 1.2]
    manager = Checkpoints(tmp_path / "checkpoints", keep=2)
    for step, loss in enumerate(losses, 1):
        save(manager, step, loss)
    manager.close()
    assert checkpoints.steps(tmp_path / "checkpoints") == [2, 5, 6]
    assert restored(tmp_path / "checkpoints") == 6
    params = checkpoints.restore_params(tmp_path / "checkpoints", 2, state()["params"])
    assert float(params["w"][0, 1]) == 2.0


def test_the_one_before_stays_until_the_next_is_sealed(tmp_path):
    manager = Checkpoints(tmp_path / "checkpoints", keep=1)
    for step in (1, 2, 3):
        save(manager, step)
    manager.close()
    assert checkpoints.steps(tmp_path / "checkpoints") == [2, 3]


def files_of(path):
    return sorted(file for file in path.rglob("*") if file.is_file())


def test_a_flipped_bit_in_any_file_is_seen(folder, caplog):
    whole = shutil.copytree(folder / "3", folder.parent / "whole")
    for number in range(len(files_of(whole))):
        shutil.rmtree(folder / "3", ignore_errors=True)
        shutil.rmtree(folder / "damaged-3", ignore_errors=True)
        shutil.copytree(whole, folder / "3")
        file = files_of(folder / "3")[number]
        data = bytearray(file.read_bytes())
        if not data:
            continue
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert restored(folder) == 2, file
        assert "checkpoint 3 is damaged" in caplog.text
        assert (folder / "damaged-3").is_dir()
        assert not (folder / "3").exists()


def test_a_missing_file_is_seen(folder, caplog):
    next(file for file in files_of(folder / "3" / "state") if file.stat().st_size > 100).unlink()
    assert restored(folder) == 2
    assert "is missing" in caplog.text


def test_what_a_kill_leaves_is_removed(folder, caplog):
    """Killed while it was being written, and killed before it was sealed."""
    shutil.copytree(folder / "3", folder / "4.orbax-checkpoint-tmp")
    shutil.copytree(folder / "3", folder / "4")
    (folder / "4" / "digests.json").unlink()
    assert checkpoints.steps(folder) == [1, 2, 3]
    assert restored(folder) == 3
    assert sorted(path.name for path in folder.iterdir()) == ["1", "2", "3"]
    assert "removed checkpoint 4: the run ended before it was sealed" in caplog.text


def test_several_without_a_seal_are_kept_aside(folder):
    """No kill leaves two: they are of another program, and may be all that there is of a run."""
    for step in (1, 2, 3):
        (folder / str(step) / "digests.json").unlink()
    manager = Checkpoints(folder)
    assert manager.latest is None
    manager.close()
    assert sorted(path.name for path in folder.iterdir()) == ["damaged-1", "damaged-2", "damaged-3"]


def test_nothing_whole_is_nothing_to_go_on_from(folder):
    for step in (1, 2, 3):
        (folder / str(step) / "digests.json").write_text("{")
    manager = Checkpoints(folder)
    assert manager.latest is None
    manager.close()


def test_parameters_of_a_damaged_checkpoint_are_refused(folder):
    shutil.rmtree(folder / "2" / "state")
    with pytest.raises(ValueError, match=r"checkpoint 2 in .* is damaged \(state/.* is missing\)"):
        checkpoints.restore_params(folder, 2, state()["params"])


@pytest.fixture
def full_disk(monkeypatch):
    """A disk that is full when a checkpoint is sealed; call it to make room."""
    real = checkpoints._write_seal

    def seal(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(checkpoints, "_write_seal", seal)
    return lambda: monkeypatch.setattr(checkpoints, "_write_seal", real)


def test_a_failed_write_stops_the_run_if_it_is_to(folder, full_disk):
    manager = Checkpoints(folder, on_failure="stop")
    save(manager, 4)
    with pytest.raises(ValueError, match=r"step 4 could not be written to .*\(No space left on device\); make room"):
        save(manager, 5)
    manager.close()
    full_disk()
    assert restored(folder) == 3


def test_or_the_run_goes_on_without_it(folder, full_disk, caplog):
    manager = Checkpoints(folder, on_failure="continue")
    save(manager, 4)
    assert not manager.settle()
    assert "step 4 could not be written" in caplog.text
    assert "(No space left on device); going on without it" in caplog.text
    full_disk()
    save(manager, 5)
    assert manager.settle()
    manager.close()
    assert checkpoints.steps(folder) == [2, 3, 5]
    assert restored(folder) == 5


def test_a_folder_that_vanished(folder, caplog):
    manager = Checkpoints(folder, on_failure="stop")
    shutil.rmtree(folder)
    folder.write_text("")
    save(manager, 4)
    with pytest.raises(ValueError, match=r"step 4 could not be written .*\(Not a directory\)"):
        manager.settle()
    manager.close()


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="Not a directory; checkpoints go there"):
        Checkpoints(tmp_path / "file" / "checkpoints")


def test_another_model_is_not_restored(folder):
    manager = Checkpoints(folder)
    with pytest.raises(ValueError, match=r"checkpoint 3 .* is of another model"):
        manager.restore({"params": {"other": jnp.zeros(3)}, "step": jnp.int32(0)})
    manager.close()


def test_a_state_on_its_own(tmp_path):
    import orbax.checkpoint as ocp

    for step in (1, 2):  # the second over the first
        checkpoints.save_state(tmp_path / "state", state(step))
    with ocp.StandardCheckpointer() as reader:
        back = reader.restore((tmp_path / "state").absolute(), jax.eval_shape(lambda: state(0)))
    assert int(back["step"]) == 2


def test_an_unknown_policy():
    with pytest.raises(ValueError, match=r"checkpoint\.on_failure='retry' is not one of continue, stop"):
        Checkpoints("anywhere", on_failure="retry")
