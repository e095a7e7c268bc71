"""Where this process stands among those of its run: told by flags, or by what Slurm, Open MPI or Kubernetes set."""

import dataclasses
import os
import re
import socket
from collections.abc import Mapping

_PORT = 8476  # where a cluster does not suggest another


@dataclasses.dataclass(frozen=True)
class Place:
    """One process of a run of several.

    Attributes:
        coordinator: HOST:PORT where process 0 takes the roll call.
        count: number of processes.
        index: of this process, from 0.
        device: the one accelerator of its host that it uses, by number; None: all that it sees.
        told_by: what said so.
    """

    coordinator: str
    count: int
    index: int
    device: int | None
    told_by: str

    def __post_init__(self):
        host, _, port = self.coordinator.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise ValueError(f"--coordinator={self.coordinator} is not HOST:PORT, the address of process 0")
        if self.count < 1:
            raise ValueError(f"--num_processes={self.count} is not a number of processes")
        if not 0 <= self.index < self.count:
            raise ValueError(
                f"--process_id={self.index} is not within 0 to {self.count - 1}: there are {self.count} processes"
            )


def find(
    coordinator: str | None, count: int | None, index: int | None, environ: Mapping[str, str] = os.environ
) -> Place | None:
    """The place of this process, or None for a run of one.

    Flags come first; what they leave out is asked of the environment.

    Args:
        coordinator: --coordinator.
        count: --num_processes.
        index: --process_id.
        environ: the environment.

    Raises:
        ValueError: flags that do not go together, or a cluster that leaves something open.
    """
    given = {"--coordinator": coordinator, "--num_processes": count, "--process_id": index}
    missing = [name for name, value in given.items() if value is None]
    if not missing:
        return Place(coordinator, count, index, None, "the command line")
    if count == 1:
        return None
    if "JOB_COMPLETION_INDEX" in environ:  # before Slurm: a pod says more about itself than the node below it
        found = _kubernetes(environ, count)
    elif "SLURM_JOB_ID" in environ:
        found = _slurm(environ)
    elif "OMPI_COMM_WORLD_SIZE" in environ:
        found = _open_mpi(environ, coordinator)
    else:
        found = None
    if found is None:
        if len(missing) < 3:
            raise ValueError(
                f"{', '.join(missing)} missing: --coordinator, --num_processes and --process_id go together, unless "
                "Slurm (srun), Open MPI (mpirun) or Kubernetes (an indexed Job) tell them"
            )
        return None
    for name, asked, told in (("--num_processes", count, found.count), ("--process_id", index, found.index)):
        if asked not in (None, told):
            raise ValueError(f"{name}={asked}, but {found.told_by} says {told}; leave the flag out")
    return dataclasses.replace(found, coordinator=coordinator or found.coordinator)


def _slurm(environ: Mapping[str, str]) -> Place | None:
    count = int(environ.get("SLURM_NTASKS", 1))
    if count == 1:
        return None
    if "SLURM_STEP_NODELIST" not in environ:
        raise ValueError(
            f"this job has {count} Slurm tasks, but this is not one of them: start the command with srun, "
            "or ask for one task"
        )
    # The first of "node[001,007-015],host2" or "node001,host2": task 0 runs there.
    first = re.match(r"([^,\[]+)(?:\[(\w+))?", environ["SLURM_STEP_NODELIST"])
    host = first[1] + (first[2] or "")
    # Jobs that share a node must not meet at one port.
    port = environ.get("JAX_COORDINATOR_PORT") or 61440 + int(environ["SLURM_JOB_ID"]) % 4096
    local, together = int(environ["SLURM_LOCALID"]), environ.get("SLURM_STEP_TASKS_PER_NODE", "")
    device = None if re.fullmatch(r"1(\(x\d+\))?", together) else _device(local, environ)
    return Place(f"{host}:{port}", count, int(environ["SLURM_PROCID"]), device, "Slurm")


def _open_mpi(environ: Mapping[str, str], coordinator: str | None) -> Place | None:
    count, local_count = (int(environ[f"OMPI_COMM_WORLD_{name}"]) for name in ("SIZE", "LOCAL_SIZE"))
    if count == 1:
        return None
    port = environ.get("JAX_COORDINATOR_PORT") or _PORT
    launcher = re.search(r"tcp://([^,:]+)", environ.get("OMPI_MCA_orte_hnp_uri", ""))
    if coordinator is None:
        if launcher is None and local_count < count:
            raise ValueError(
                "this Open MPI does not say where process 0 is: give --coordinator=HOST:PORT, the first host of mpirun"
            )
        host = "localhost" if local_count == count else launcher[1]
        coordinator = f"{host}:{port}"
    local = int(environ["OMPI_COMM_WORLD_LOCAL_RANK"])
    device = None if local_count == 1 else _device(local, environ)
    return Place(coordinator, count, int(environ["OMPI_COMM_WORLD_RANK"]), device, "Open MPI")


def _kubernetes(environ: Mapping[str, str], count: int | None) -> Place | None:
    """From the pod's own name alone: JAX's detection asks the cluster's API, which many service accounts may not."""
    if count is None:
        raise ValueError(
            "a pod of an indexed Job does not know how many there are: give --num_processes, the Job's parallelism"
        )
    index = int(environ["JOB_COMPLETION_INDEX"])
    # NAME-INDEX.SUBDOMAIN...: the pods of a Job differ in the index only.
    name, dot, domain = socket.getfqdn().partition(".")
    if not name.endswith(f"-{index}"):
        raise ValueError(
            f"the pod's host name {name!r} does not end in its index -{index}: give --coordinator=HOST:PORT, or leave "
            "the pod's hostname as the Job sets it"
        )
    host = f"{name.removesuffix(str(index))}0{dot}{domain}"
    port = environ.get("JAX_COORDINATOR_PORT") or _PORT
    return Place(f"{host}:{port}", count, index, None, "Kubernetes")


def _device(local: int, environ: Mapping[str, str]) -> int | None:
    """One device each for the processes of a host, unless the cluster shows each of them its own alone."""
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    return None if visible is not None and len(visible.split(",")) == 1 else local
