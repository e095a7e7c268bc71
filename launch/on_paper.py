"""The tables of launch/README.md: what the four sizes should do on 1 to 512 GPUs, on paper.

python -m launch.on_paper       # a quarter of an hour on two CPU cores
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
    """Prints the tables."""
    tables = {
        "The recipe's batch: 4,096 ECGs over all GPUs": [(size, n, 4096) for size in SIZES for n in DEVICES],
        f"A batch that grows with the GPUs: {EACH} ECGs each": [(size, n, EACH * n) for size in SIZES for n in DEVICES],
    }
    rows = list(dict.fromkeys(itertools.chain(*tables.values())))
    new = multiprocessing.get_context("spawn")
    with new.Pool(os.cpu_count(), provide_devices, (max(DEVICES),), maxtasksperchild=4) as pool:
        plans = dict(zip(rows, tqdm.tqdm(pool.imap(planned, rows), total=len(rows)), strict=True))
    for title, rows in tables.items():
        print(f"{title}:\n\n{TABLE}")
        for row in rows:
            print(line(row[0], plans[row]))
        print()


if __name__ == "__main__":
    main()
