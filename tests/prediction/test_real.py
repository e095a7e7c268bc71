"""Real recordings, where they are present."""

import numpy as np
import pytest

import kmerl_jax
from kmerl_jax.evaluation import files
from kmerl_jax.prediction import looking, paper, recordings
from kmerl_jax.prediction.answer import answer
from kmerl_jax.prediction.names import Name
from kmerl_jax.signals.leads import STANDARD

NAMES = [Name("atrial fibrillation"), Name("left bundle branch block")]


@pytest.mark.parametrize("folder", ["ptb_xl/records100", "ptb_xl/records500", "cpsc2018", "csn", "ptb_diagnostic"])
def test_every_data_set_is_answered_and_drawn(model, real_data, folder, tmp_path):
    paths = recordings.find([str(real_data / folder)], False)
    assert paths
    for path in paths[:5]:
        ecg = kmerl_jax.read(path)
        one = answer(model, path, ecg, NAMES, None)
        assert len(one.windows) == max(1, int(ecg.seconds // 10) + (ecg.seconds % 10 >= 2))
        assert all(0 < finding.value < 1 for finding in one.findings)
    looked = looking.look(model, one.windows[-1], [finding.name for finding in one.findings])
    np.testing.assert_allclose(looked.attention.sum((1, 2)), 1, atol=1e-5)
    files.write_picture(tmp_path / "a.png", paper.draw(one, len(one.windows) - 1, 0, looked))
    assert (tmp_path / "a.png").stat().st_size > 50_000


def test_fifteen_leads_use_their_twelve(model, real_data):
    (path,) = recordings.find([str(real_data / "ptb_diagnostic")], False)
    one = answer(model, path, kmerl_jax.read(path), NAMES, None)
    assert one.leads == STANDARD
    assert "channels left out, none of the 12 leads: vx vy vz" in one.warnings
    assert one.rate == 1000


def test_two_rates_of_one_record_are_nearly_one(model, real_data):
    slow = sorted((real_data / "ptb_xl" / "records100").rglob("*_lr.hea"))
    folder = real_data / "ptb_xl" / "records500"
    pairs = [(path, folder / path.parent.name / path.name.replace("_lr", "_hr")) for path in slow]
    pairs = [pair for pair in pairs if pair[1].is_file()][:20]
    assert pairs
    a, b = (model.findings([kmerl_jax.read(pair[n]) for pair in pairs]) for n in (0, 1))
    assert np.abs(a - b).mean() < 0.01
    assert np.abs(a - a.mean(0)).mean() > np.abs(a - b).mean(), "records differ more than rates"
