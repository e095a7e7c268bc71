"""Using a model: how long one ECG takes, and how many can be answered for a second, by the number of leads."""

import jax
import numpy as np

from kmerl_jax.evaluation.inference import over_windows
from kmerl_jax.models.tokens import Tokens
from kmerl_jax.signals.leads import STANDARD
from kmerl_jax.signals.waveform import SEGMENT
from kmerl_jax.throughput import peers, synthetic, work
from kmerl_jax.throughput.result import Options, Result
from kmerl_jax.throughput.timing import Contender, latencies, race
from kmerl_jax.training import plan, sharding
from kmerl_jax.training.objective import build_model, check

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
        ids = np.zeros((1, 1), np.int32)
        bag = Tokens(np.zeros((1, 1, SEGMENT), np.float32), ids, ids, np.ones((1, 1), bool))
        init = jax.jit(lambda key: self._model.init(key, bag, self._names[:1], self._names)["params"])
        self._params = init(jax.random.key(config.seed))

    def contender(self, leads: tuple[str, ...], size: int) -> Contender:
        """Windows on the host to answers on the host; a turn is a batch."""

        def forward(params: dict, bag: Tokens) -> dict[str, jax.Array]:
            return {"logits": self._model.apply({"params": params}, bag, self._names, method="describe")["logits"]}

        answer = over_windows(forward, self._config.data.normalization, self._mesh, leads)
        windows = synthetic.signals(np.random.default_rng(0), size)

        def run(turns: int) -> None:
            for _ in range(turns):
                jax.device_get(answer(self._params, **sharding.to_device(windows, self._mesh)))

        return Contender(f"kmerl_jax, {len(leads)} leads" if len(leads) > 1 else "kmerl_jax, 1 lead", size, run)


def measure(config, options: Options) -> Result:
    """Times single ECGs and batches, with 12, 6, 3 and 1 leads."""
    answers = Answers(config, options.queries)
    devices = answers.devices
    batches = {n: -(-config.evaluation.batch_size * len(STANDARD) // n) * devices for n in LEADS}

    def contenders(n: int, size: int) -> list[Contender]:
        others = [peers.answers(config, LEADS[n], size, options.queries)] if options.peer else []
        return [answers.contender(LEADS[n], size), *others]

    timed = race([one for n in LEADS for one in contenders(n, batches[n])], options.repeats, options.seconds)
    facts, lines = {"latency_s": {}, "gflops_per_ecg": {}}, []
    for n in LEADS:
        flops = sum(work.of_inference(config, n, options.queries, plan.MEDCPT.width).values())
        facts["gflops_per_ecg"][n] = flops / 1e9
        raced = contenders(n, devices)
        for one, taken in zip(raced, latencies(raced, options.seconds), strict=True):
            middle, slow = np.percentile(taken, [50, 95])
            facts["latency_s"][one.name] = {"p50": middle, "p95": slow, "turns": len(taken)}
            lines.append(
                f"one ECG: {one.name:<20} {1e3 * middle:.3g} ms (median of {len(taken)}), {1e3 * slow:.3g} ms (95 %); "
                f"{flops / 1e9:.3g} GFLOP"
            )
    title = (
        f"inference: {config.name}, {options.queries} queries, batches of "
        f"{', '.join(f'{size} with {n}' for n, size in batches.items())} leads, {devices} x "
        f"{jax.devices()[0].device_kind}"
    )
    return Result(title, "ECG", timed, facts, lines)
