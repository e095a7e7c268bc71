import socket

import pytest

from kmerl_jax.processes.place import Place, find

SLURM = {
    "SLURM_JOB_ID": "5000",
    "SLURM_NTASKS": "8",
    "SLURM_STEP_NODELIST": "gpu[007-008]",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
    "SLURM_STEP_TASKS_PER_NODE": "4(x2)",
}
OPEN_MPI = {
    "OMPI_COMM_WORLD_SIZE": "4",
    "OMPI_COMM_WORLD_RANK": "3",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://10.96.0.1,10.148.0.1:34911",
}


def test_alone():
    assert find(None, None, None, {}) is None
    assert find(None, None, None, {"SLURM_JOB_ID": "1", "SLURM_NTASKS": "1"}) is None
    assert find(None, None, None, {"SLURM_JOB_ID": "1"}) is None
    assert find(None, 1, None, {"JOB_COMPLETION_INDEX": "0"}) is None


def test_told_by_flags():
    told = find("node7:9000", 4, 3, SLURM)
    assert told == Place("node7:9000", 4, 3, None, "the command line")


@pytest.mark.parametrize(
    ("changes", "address", "device"),
    [
        ({}, "gpu007:62344", 1),
        ({"SLURM_STEP_NODELIST": "gpu7,gpu9"}, "gpu7:62344", 1),
        ({"SLURM_STEP_NODELIST": "gpu[7,9-12],login"}, "gpu7:62344", 1),
        ({"SLURM_STEP_NODELIST": "a-b-1"}, "a-b-1:62344", 1),
        ({"JAX_COORDINATOR_PORT": "1234"}, "gpu007:1234", 1),
        ({"SLURM_STEP_TASKS_PER_NODE": "1(x8)"}, "gpu007:62344", None),  # a process has all of its node
        ({"SLURM_STEP_TASKS_PER_NODE": "1"}, "gpu007:62344", None),
        ({"CUDA_VISIBLE_DEVICES": "3"}, "gpu007:62344", None),  # Slurm shows each task its own
        ({"CUDA_VISIBLE_DEVICES": "0,1,2,3"}, "gpu007:62344", 1),
    ],
)
def test_slurm(changes, address, device):
    assert find(None, None, None, SLURM | changes) == Place(address, 8, 5, device, "Slurm")


def test_open_mpi():
    assert find(None, None, None, OPEN_MPI) == Place("10.96.0.1:8476", 4, 3, 1, "Open MPI")
    alone = OPEN_MPI | {"OMPI_COMM_WORLD_LOCAL_SIZE": "4"}
    assert find(None, None, None, alone).coordinator == "localhost:8476"
    del OPEN_MPI["OMPI_MCA_orte_hnp_uri"]  # Open MPI 5
    assert find("n1:7", None, None, OPEN_MPI).coordinator == "n1:7"
    with pytest.raises(ValueError, match="does not say where process 0 is: give --coordinator=HOST:PORT"):
        find(None, None, None, OPEN_MPI)


def test_kubernetes(monkeypatch):
    monkeypatch.setattr(socket, "getfqdn", lambda: "run-workers-0-12.run.research.svc.cluster.local")
    environ = {"JOB_COMPLETION_INDEX": "12"}
    address = "run-workers-0-0.run.research.svc.cluster.local:8476"
    assert find(None, 16, None, environ) == Place(address, 16, 12, None, "Kubernetes")
    assert find(None, 16, None, environ | {"JAX_COORDINATOR_PORT": "99"}).coordinator.endswith(":99")
    with pytest.raises(ValueError, match="give --num_processes, the Job's parallelism"):
        find(None, None, None, environ)
    monkeypatch.setattr(socket, "getfqdn", lambda: "ip-10-0-0-7.ec2.internal")
    with pytest.raises(ValueError, match="'ip-10-0-0-7' does not end in its index -12: give --coordinator"):
        find(None, 16, None, environ)


@pytest.mark.parametrize(
    ("flags", "environ", "message"),
    [
        (("a:1", None, None), {}, "--num_processes, --process_id missing: .* go together"),
        ((None, 2, 0), {}, "--coordinator missing"),
        (("a", 2, 0), {}, "--coordinator=a is not HOST:PORT"),
        (("a:port", 2, 0), {}, "is not HOST:PORT"),
        ((":80", 2, 0), {}, "is not HOST:PORT"),
        (("a:1", 0, 0), {}, "--num_processes=0 is not a number of processes"),
        (("a:1", 2, 2), {}, "--process_id=2 is not within 0 to 1"),
        (("a:1", 2, -1), {}, "--process_id=-1 is not within 0 to 1"),
        ((None, 4, None), SLURM, "--num_processes=4, but Slurm says 8; leave the flag out"),
        ((None, None, 0), SLURM, "--process_id=0, but Slurm says 5"),
        (
            (None, None, None),
            {"SLURM_JOB_ID": "1", "SLURM_NTASKS": "8"},
            "8 Slurm tasks, but this is not one of them: start the command with srun",
        ),
    ],
)
def test_what_does_not_go_together(flags, environ, message):
    with pytest.raises(ValueError, match=message):
        find(*flags, environ)
