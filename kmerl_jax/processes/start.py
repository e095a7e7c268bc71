"""The start and the end of a run of several processes: flags, roll call, JAX's runtime."""

import contextlib
import ctypes
import logging
import os
import re
import signal
import sys
import time
from collections.abc import Iterator

import jax
from absl import flags

import kmerl_jax
from kmerl_jax.processes import place, roll_call

flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0, in a run of several processes.")
flags.DEFINE_integer("num_processes", None, "Number of processes; Slurm and Open MPI tell it.")
flags.DEFINE_integer("process_id", None, "Number of this process, from 0; Slurm, Open MPI and Kubernetes tell it.")
flags.DEFINE_float("start_timeout_s", 300.0, "Longest wait for the other processes at the start.")
flags.DEFINE_float("heartbeat_timeout_s", 60.0, "Silence after which a process counts as lost.")

log = logging.getLogger(__name__)


@contextlib.contextmanager
def joined(agreed: dict) -> Iterator[None]:
    """Joins the other processes of the run, if there are any; to be entered before the first use of a device.

    An error in the body ends all processes, each with the same line. So does the loss of a process.

    Args:
        agreed: what must be the same for all processes: flat, JSON values.

    Raises:
        ValueError: the processes do not find each other, or were not started alike.
    """
    given = flags.FLAGS
    here = place.find(given.coordinator, given.num_processes, given.process_id)
    if here is None or here.count == 1:
        yield
        return
    if here.index:
        logging.getLogger("kmerl_jax").setLevel(logging.WARNING)  # process 0 speaks for all
    agreed = agreed | {"kmerl_jax": kmerl_jax.__version__, "jax": jax.__version__}
    call = roll_call.answer(here.coordinator, here.count, here.index, agreed, given.start_timeout_s)
    call.watch(given.heartbeat_timeout_s, _end)
    try:
        _initialize(here, call, given.start_timeout_s, given.heartbeat_timeout_s)
        log.info(f"{here.count} processes on {len(set(call.hosts))} host(s), told by {here.told_by}")
        yield
    except BaseException as error:
        if _is_broken_link(error):
            time.sleep(given.heartbeat_timeout_s + 2)  # the watch ends this process as soon as it knows who is lost
        text = " ".join(str(error).split()) or type(error).__name__
        call.leave(f"process {here.index} ({call.hosts[here.index]}) ended: {text}")
        if here.index == 0:
            time.sleep(1)  # JAX's runtime goes with this process, and ends the others before they have read why
        raise
    call.leave()
    jax.distributed.shutdown()  # waits for the others: nobody goes before all have taken leave


def _initialize(here: place.Place, call: roll_call.RollCall, start_s: float, heartbeat_s: float) -> None:
    proxies = sorted(name for name in os.environ if re.fullmatch(r"(https?|grpc|all)_proxy", name.lower()))
    if proxies:
        # gRPC would look for the other processes behind the proxy, and hang. Downloads still go through it.
        os.environ["no_grpc_proxy"] = call.runtime.rsplit(":", 1)[0]  # noqa: SIM112 (gRPC reads it in small letters)
        log.info(f"not used between processes: {', '.join(proxies)}")
        jax.config.update("jax_check_proxy_envs", False)
    # A SIGTERM is agreed on in the training step; JAX's service would swallow it everywhere else.
    jax.config.update("jax_enable_preemption_service", False)
    # When process 0 dies, JAX's runtime aborts the others at once. This handler is called with its signal's number: six
    # seconds, in which the watch says who was lost and ends the process in order.
    libc = ctypes.CDLL(None)
    libc.signal(signal.SIGABRT, libc.sleep)
    jax.distributed.initialize(
        call.runtime,
        here.count,
        here.index,
        local_device_ids=None if here.device is None else [here.device],
        cluster_detection_method="deactivate",
        initialization_timeout=int(start_s),
        heartbeat_timeout_seconds=int(2 * heartbeat_s) + 10,  # later than the watch, which can name who is lost
    )


def _is_broken_link(error: BaseException) -> bool:
    return bool(re.search("gloo|nccl|coordination service|socket closed", str(error), re.IGNORECASE))


def _end(line: str) -> None:
    print(f"error: {line}; the same command goes on from the last checkpoint", file=sys.stderr, flush=True)
    os._exit(1)
