"""Eight virtual devices, strict ranks, and the small stores and configs that many tests share."""

import os
from pathlib import Path

import jax
import pytest

from tests.small import small

# All of this must come before the first use of a device. Tests compile more than they compute: machine code need not be
# fast. The commands that they start inherit the flags.
_FLAGS = ["--xla_backend_optimization_level=0", "--xla_llvm_disable_expensive_passes=true"]
if jax.__version_info__ < (0, 11):  # XLA ends a process that names a flag it does not have
    _FLAGS.append("--xla_cpu_use_fusion_emitters=false")  # half of the time of a compilation
os.environ.setdefault("XLA_FLAGS", " ".join(_FLAGS))
jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="session", autouse=True)
def compilations(tmp_path_factory):
    """Most of the time of a small run is compilation, of programs that many tests share: each is compiled once."""
    root = tmp_path_factory.getbasetemp()
    folder = (root.parent if "PYTEST_XDIST_WORKER" in os.environ else root) / "compilations"
    jax.config.update("jax_compilation_cache_dir", str(folder))
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)  # for the commands that tests start


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real ECGs; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("KMERL_REAL_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real ECGs at {folder}; KMERL_REAL_DATA names their folder")
    return folder


@pytest.fixture(scope="session")
def demo_files(tmp_path_factory) -> Path:
    """Files of 150 simulated ECGs."""
    from kmerl_jax.cohorts import demo

    folder = tmp_path_factory.mktemp("demo") / "files"
    demo.simulate(folder, 150, 0, 0, lambda done, total: None)
    return folder


@pytest.fixture(scope="session")
def demo_store(demo_files) -> Path:
    """Their store."""
    from kmerl_jax.cohorts import catalog, preparation

    out = demo_files.with_name("store")
    preparation.prepare(catalog.load("demo", demo_files), out)
    return out


def link_store(origin: Path, folder: Path) -> Path:
    """A store of its own: a copy in links, so that nothing derived is there yet."""
    folder.mkdir()
    for file in origin.iterdir():
        if file.is_file():
            (folder / file.name).symlink_to(file.absolute())
    return folder


@pytest.fixture
def small_config(demo_store):
    """The demo recipe with a model small enough for a test."""
    return small(demo_store)


@pytest.fixture(scope="session")
def small_run(demo_store, tmp_path_factory) -> Path:
    """The directory of a run of a few steps on the demo store."""
    from kmerl_jax.cohorts.store import Store
    from kmerl_jax.config import base
    from kmerl_jax.text.lexical import LexicalEncoder
    from kmerl_jax.training import loop, pairs, sharding
    from kmerl_jax.training.methods import build_objective
    from kmerl_jax.training.run import Run
    from kmerl_jax.training.texts import make_texts

    config = base("small", "demo")
    config.data.store = str(demo_store)
    config.data.min_positives = 5
    config.model.update(width=32, depth=1, heads=2, projection=16, query_width=32, query_depth=1, query_heads=2)
    config.masking.max_leads = 2
    config.train.update(batch_size=8, steps=4, validate_every=2, validation_batches=1)
    config.optimizer.update(name="adamw")
    config.checkpoint.every = 2
    store, encoder = Store(demo_store), LexicalEncoder()
    run = Run(tmp_path_factory.mktemp("runs") / "small", config)
    asked, train, val = pairs.load(store, encoder, config)
    run.keep_entities(asked, store, encoder)
    run.keep_patients(store.population, store.table["patient"].to_numpy()[train.rows])
    objective = build_objective(config, make_texts(encoder, asked.entities))
    loop.fit(objective, train, val, config, 4, run.path, sharding.make_mesh(devices=jax.devices()[:1]))
    return run.path
