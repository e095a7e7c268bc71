"""Writes launch/on_paper.md: what the four sizes would do on 1 to 512 GPUs. A quarter of an hour on two CPU cores.

python -m launch.on_paper > launch/on_paper.md
"""

import itertools
import multiprocessing
import os

import tqdm

from configs import vit_base, vit_middle, vit_small, vit_tiny
from kmerl_jax.training.plan import Plan, plan, provide_devices

SIZES = {"vit_tiny": vit_tiny, "vit_small": vit_small, "vit_middle": vit_middle, "vit_base": vit_base}
DEVICES = (1, 8, 64, 512)
EACH = 512  # ECGs a device, where the batch grows with the devices

HEAD = f"""\
# On paper

What the `mimic` recipe would do on H100 GPUs, eight a node. **Nothing here was measured**: the training step of every
row was compiled for as many virtual devices and never run; the times are a roofline. Speed counts both what fits and
what does not; memory is what JAX keeps for the backward pass, of which compilers keep less.

Products at 40 % of the peak of bfloat16, or all that a device holds written and read once, whichever takes longer; then
collectives at the full bandwidth of the links (NVLink within a node, one 400 Gb/s port for each GPU between nodes),
without latency, nothing overlapped with work. 277 queries, embedded reports (`text.trainable_layers=0`).

A row, with all that is behind it:

```
python -m kmerl_jax.train --config=configs/vit_tiny.py:mimic --dry_run --devices=64 --device_kind=h100
python -m kmerl_jax.train --config=configs/vit_tiny.py:mimic --dry_run --devices=8 --config.train.batch_size={8 * EACH}
```

All of them, in a quarter of an hour on two CPU cores: `python -m launch.on_paper > launch/on_paper.md`.
"""
TABLE = """\
| config | GPUs | ECGs a GPU | ECG/s | memory a GPU, GB of 80 | communication |
|---|---|---|---|---|---|"""


def planned(row: tuple[str, int, int]) -> Plan:
    """The plan for H100s of a size, a number of devices and a global batch."""
    size, devices, batch_size = row
    config = SIZES[size].get_config("mimic")
    config.train.batch_size = batch_size
    return plan(config, devices, "h100")


def line(size: str, plan: Plan) -> str:
    """A line of a table."""
    memory = f"{plan.held / 1e9:.1f}" + ("" if plan.fits else ", does not fit")
    return (
        f"| {size} | {plan.devices} | {plan.batch_size // plan.devices:,} | {float(f'{plan.ecg_per_s:.3g}'):,.0f} "
        f"| {memory} | {plan.communication_share:.1%} |"
    )


def main() -> None:
    """Prints the page."""
    tables = {
        "The recipe's batch: 4,096 ECGs over all GPUs": [(size, n, 4096) for size in SIZES for n in DEVICES],
        f"A batch that grows with the GPUs: {EACH} ECGs each": [(size, n, EACH * n) for size in SIZES for n in DEVICES],
    }
    rows = list(dict.fromkeys(itertools.chain(*tables.values())))
    new = multiprocessing.get_context("spawn")
    with new.Pool(os.cpu_count(), provide_devices, (max(DEVICES),), maxtasksperchild=4) as pool:
        plans = dict(zip(rows, tqdm.tqdm(pool.imap(planned, rows), total=len(rows)), strict=True))
    print(HEAD)
    for title, rows in tables.items():
        print(f"## {title}\n\n{TABLE}")
        for row in rows:
            print(line(row[0], plans[row]))
        print()


if __name__ == "__main__":
    main()
