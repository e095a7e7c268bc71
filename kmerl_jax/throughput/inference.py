"""Using a model: how long one ECG takes, and how many can be answered for a second, by the number of leads."""

from collections.abc import Callable, Sequence

import jax
import numpy as np

from kmerl_jax.evaluation.inference import over_windows
from kmerl_jax.models.tokens import Tokens
from kmerl_jax.models.transformer import apart
from kmerl_jax.signals.leads import STANDARD
from kmerl_jax.throughput import peers, synthetic, work
from kmerl_jax.throughput.result import Options, Result
from kmerl_jax.throughput.timing import Contender, latencies, race
from kmerl_jax.training import plan, sharding
from kmerl_jax.training.methods import build_model, check, form

LEADS = {12: STANDARD, 6: STANDARD[:6], 3: ("I", "II", "V2"), 1: ("II",)}


class Answers:
    """A model with random weights that is asked the same names of one ECG or many.

    Attributes:
        devices: that ECGs are split over.
    """

    def __init__(self, config, queries: int):
        """Makes the model of a config, on all devices.

        Raises:
            ValueError: a config that cannot be.
        """
        check(config)
        self._mesh, self._config = sharding.make_mesh(), config
        self.devices = self._mesh.size
        self._model = build_model(config)
        self._names = synthetic.names(config, queries)
        params = initial_parameters(config, self._names.shape[1])
        self._params = apart(jax.device_put(params, sharding.replicated(self._mesh)))

    def asked(self, leads: Sequence[str], windows: dict[str, np.ndarray]) -> Callable[[int], None]:
        """Turns from windows on the host, this process's block of them, to all answers on the host."""
        said = "logits" if self._model.scores else "pooled"

        def forward(params: dict, bag: Tokens) -> dict[str, jax.Array]:
            out = self._model.apply({"params": params}, bag, self._names, method="describe")
            return {said: out[said]}

        answer = over_windows(forward, form(self._config), self._mesh, leads)

        def run(turns: int) -> None:
            for _ in range(turns):
                jax.device_get(answer(self._params, **sharding.to_device(windows, self._mesh)))

        return run


def initial_parameters(config, text_width: int) -> dict:
    """Parameters of a config's model that know nothing, as NumPy arrays."""
    init = jax.jit(lambda key: build_model(config).init_params(key, form(config), text_width))
    return jax.device_get(init(jax.random.key(config.seed)))


def measure(config, options: Options) -> Result:
    """Times single ECGs and batches, with 12, 6, 3 and 1 leads.

    Raises:
        ValueError: a config that cannot be, or that PyTorch's model does not know.
    """
    flops = {n: sum(work.of_inference(config, n, options.queries, plan.MEDCPT.width).values()) for n in LEADS}
    ours = Answers(config, options.queries)
    models = {"kmerl_jax": ours} | ({"PyTorch": peers.Answers(config, options.queries)} if options.peer else {})
    singles = dict.fromkeys(LEADS, ours.devices)  # an ECG on each device
    batches = {n: -(-config.evaluation.batch_size * len(STANDARD) // n) * ours.devices for n in LEADS}
    windows = synthetic.signals(np.random.default_rng(0), max(batches.values()) // jax.process_count())

    def contenders(sizes: dict[int, int]) -> dict[tuple[str, int], Contender]:
        asked = {}
        for n, size in sizes.items():
            shown = {name: x[: size // jax.process_count()] for name, x in windows.items()}
            for who, model in models.items():
                name = f"{who}, {n} lead" + "s" * (n > 1)
                asked[who, n] = Contender(name, size, model.asked(LEADS[n], shown))
        return asked

    timed = race(list(contenders(batches).values()), options.repeats, options.seconds)
    raced = contenders(singles)
    taken = dict(zip(raced, latencies(list(raced.values()), options.seconds), strict=True))
    middle = {one: float(np.median(seconds)) for one, seconds in taken.items()}
    facts = {"latency_s": {}, "gflops_per_ecg": {n: x / 1e9 for n, x in flops.items()}, "latency_ratio": {}}
    lines = []
    for (who, n), seconds in taken.items():
        slow, name = float(np.percentile(seconds, 95)), raced[who, n].name
        facts["latency_s"][name] = {"p50": middle[who, n], "p95": slow, "turns": len(seconds)}
        lines.append(
            f"one ECG        {name:<20} {1e3 * middle[who, n]:.3g} ms (median of {len(seconds)}), {1e3 * slow:.3g} ms "
            f"(95 %); {flops[n] / 1e9:.3g} GFLOP"
        )
    ratios = {("kmerl_jax", 12): ("kmerl_jax", 1)} | {
        (who, n): ("kmerl_jax", n) for who, n in raced if who != "kmerl_jax"
    }
    for one, other in ratios.items():
        said, ratio = f"{raced[one].name} / {raced[other].name}", middle[one] / middle[other]
        facts["latency_ratio"][said] = ratio
        lines.append(f"one ECG        {said}: {ratio:.2f} times as long")
    title = (
        f"inference: {config.name}, {options.queries} queries, batches of "
        f"{', '.join(f'{size} with {n}' for n, size in batches.items())} leads, {ours.devices} x "
        f"{jax.devices()[0].device_kind}" + (", one ECG on each at a time" if ours.devices > 1 else "")
    )
    return Result(title, "ECG", timed, facts, lines)
