import json
import subprocess
import sys

import numpy as np
import pytest

from kmerl_jax.prediction import serving
from kmerl_jax.signals.waveform import to_window
from tests.prediction.conftest import part

BARE = """
import json, sys
import jax, numpy as np
from jax import export
folder = sys.argv[1]
run = export.deserialize(bytearray(open(folder + "/model.stablehlo", "rb").read())).call
given = np.load(folder + "/given.npz")
np.save(folder + "/found.npy", run(given["signal"], given["presence"], given["segments"]))
print(sorted(name for name in sys.modules if name.partition(".")[0] in ("flax", "kmerl_jax", "optax")))
"""


def test_jax_alone_says_the_same(model, ecg, tmp_path):
    names = ["atrial fibrillation", "something else"]
    serving.write(tmp_path / "served", model, names)
    about = json.loads((tmp_path / "served" / "model.json").read_text())
    assert about["findings"] == names
    ecgs = [ecg, part(ecg, ("II", "V1"), 4.6), part(ecg, ("aVL",))]
    windows = [to_window(each)[0] for each in ecgs]
    np.savez(
        tmp_path / "served" / "given.npz",
        signal=np.stack([window.signal for window in windows]).astype(np.float32) / 1000,
        presence=np.stack([window.presence for window in windows]),
        segments=np.array([window.segments for window in windows], np.int32),
    )
    done = subprocess.run(
        [sys.executable, "-c", BARE, str(tmp_path / "served")], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert done.stdout.strip() == "[]"
    np.testing.assert_allclose(np.load(tmp_path / "served" / "found.npy"), model.findings(ecgs, names), atol=2e-6)


def test_it_does_not_write_over_anything(model, tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(FileExistsError, match="name another folder"):
        serving.write(tmp_path / "there", model, ["af"])
