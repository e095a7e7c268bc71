"""The launch files: what they start, hand on and answer, with small commands in place of training."""

import os
import re
import shutil
import signal
import subprocess
import sys

import pytest
import yaml

from tests.conftest import REPOSITORY

LAUNCH = REPOSITORY / "launch"
SCRIPTS = sorted([*LAUNCH.glob("*.sh"), *LAUNCH.glob("*.sbatch")])
HOSTS = LAUNCH / "hosts.sh"
# Says when it is ready and waits, with a child that says when it is signalled.
WAIT = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: print("child signalled"))
if os.fork():
    handlers = {"saves": lambda *_: sys.exit("saved"), "deaf": signal.SIG_IGN}
    signal.signal(signal.SIGTERM, handlers[sys.argv[1]])
    print("ready", os.getpid())
try:
    time.sleep(600)
except KeyboardInterrupt:
    sys.exit("interrupted")
"""


def hosts(*arguments, **kwargs):
    return subprocess.run(
        [HOSTS, *map(str, arguments)], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, **kwargs
    )


def start(*arguments, when="saves"):
    """Two waiting processes under the launcher, with their numbers and process ids once they are ready."""
    launcher = subprocess.Popen(
        [HOSTS, "-n", "2", *arguments, "--", sys.executable, "-c", WAIT, when],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell that runs the tests in the background ignores it, and bash cannot undo that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    ready = [re.fullmatch(r"\[(\d)\] ready (\d+)\n", launcher.stdout.readline()) for _ in range(2)]
    own = {int(line[1]): int(line[2]) for line in ready}
    return launcher, own


def test_the_scripts_are_there():
    assert {path.name for path in SCRIPTS} >= {"hosts.sh", "slurm.sbatch", "prepare_array.sbatch"}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_parse(script):
    subprocess.run(["bash", "-n", script], check=True)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_pass_shellcheck(script):
    shellcheck = shutil.which("shellcheck")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed; pip install -r requirements-dev.txt installs it")
    done = subprocess.run([shellcheck, script], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def start_jax(environment):
    environment = os.environ | {"JAX_PLATFORMS": "cpu"} | environment
    return subprocess.run(
        [sys.executable, "-c", "import jax; jax.devices()"], env=environment, capture_output=True, text=True
    )


def test_the_flags_of_the_launch_files_are_accepted():
    text = "\n".join(path.read_text() for path in LAUNCH.iterdir())
    assert "LIBTPU_INIT_ARGS" not in text  # only libtpu could check them
    flags = re.findall(r"--xla_\w+=\w+", text)
    assert flags
    done = start_jax({"XLA_FLAGS": " ".join(flags)} | pod_environment())
    assert done.returncode == 0, done.stderr


def test_an_unknown_flag_is_not():
    done = start_jax({"XLA_FLAGS": "--xla_gpu_enable_async_collectives=true"})
    assert done.returncode != 0
    assert "Unknown flag in XLA_FLAGS" in done.stderr


# hosts.sh


def test_arguments_survive_and_every_line_has_its_number():
    given = ["a b", "it's", "", "*", "$HOME", "-g", "two\nlines"]
    show = "import sys; print(sys.argv[1:]); print('aside', file=sys.stderr); print('unended', end='')"
    done = hosts("-n", 3, "--", sys.executable, "-c", show, *given)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    address = re.search(r"--coordinator=(127\.0\.0\.1:\d+)", done.stdout)[1]
    for n in range(3):
        added = [f"--coordinator={address}", "--num_processes=3", f"--process_id={n}"]
        assert [line for line in lines if line.startswith(f"[{n}] ")] == [
            f"[{n}] {given + added}",
            f"[{n}] aside",
            f"[{n}] unended",
        ]
    assert len(lines) == 9


def test_no_line_is_lost():
    done = hosts("-n", 2, "--", "bash", "-c", "seq 2000")
    for n in range(2):
        lines = [line.split()[1] for line in done.stdout.splitlines() if line.startswith(f"[{n}]")]
        assert lines == [str(i) for i in range(1, 2001)]


def test_the_folder_and_the_port():
    done = hosts("-n", 1, "-d", "/", "-p", 12345, "--", "bash", "-c", 'pwd; echo "$1"', "x")
    assert done.stdout.splitlines() == ["[0] /", "[0] --coordinator=127.0.0.1:12345"]


def test_the_first_failure_is_the_status_and_the_others_end_by_themselves(tmp_path):
    # Process 1 fails at once; process 0 waits until the launcher has said so.
    command = "[[ $3 == *=1 ]] && exit 3; until [[ -s said ]]; do sleep 0.05; done; echo late; exit 5"
    with open(tmp_path / "said", "w") as said:
        done = subprocess.run(
            [HOSTS, "-n", "2", "-d", tmp_path, "--", "bash", "-c", command, "x"],
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            timeout=60,
        )
    assert done.returncode == 3
    assert done.stdout == "[0] late\n"
    assert (tmp_path / "said").read_text().splitlines() == [
        "process 1 (localhost) ended with status 3",
        "process 0 (localhost) ended with status 5",
    ]


def test_a_killed_process_is_named_and_the_rest_killed_after_the_grace_time():
    launcher, own = start("-g", "1")
    os.kill(own[1], signal.SIGKILL)
    stdout, stderr = launcher.communicate(timeout=60)
    assert launcher.returncode == 128 + signal.SIGKILL
    assert stdout == ""
    assert stderr.splitlines() == [
        "process 1 (localhost) ended with status 137 (SIGKILL)",
        "process 0 (localhost) had 1 s to end and did not: killed",
        "process 0 (localhost) ended with status 137 (SIGKILL)",
    ]


def check_that_both_ended(launcher, said):
    stdout, stderr = launcher.communicate(timeout=60)
    assert launcher.returncode == 1
    assert sorted(stdout.splitlines()) == [f"[0] {said}", f"[1] {said}"]
    assert sorted(stderr.splitlines()) == [f"process {n} (localhost) ended with status 1" for n in range(2)]


def test_sigterm_reaches_every_process_but_not_its_children():
    launcher, _ = start()
    launcher.send_signal(signal.SIGTERM)
    check_that_both_ended(launcher, "saved")


def test_control_c_reaches_every_process_once():
    launcher, _ = start()
    os.killpg(launcher.pid, signal.SIGINT)  # a terminal sends it to the whole group
    check_that_both_ended(launcher, "interrupted")


@pytest.mark.parametrize("when", ["saves", "deaf"])
def test_processes_do_not_outlive_the_launcher(when):
    launcher, own = start("-g", "1", when=when)
    launcher.kill()
    stdout, _ = launcher.communicate(timeout=60)  # until the last that could write has ended
    assert sorted(stdout.splitlines()) == (["[0] saved", "[1] saved"] if when == "saves" else [])
    for process in own.values():
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


def test_a_child_that_is_left_does_not_hold_the_launcher():
    done = hosts("-n", 2, "--", "bash", "-c", "sleep 600 & echo ended")
    assert (done.returncode, sorted(done.stdout.splitlines())) == (0, ["[0] ended", "[1] ended"])


FAKE_SSH = """#!/usr/bin/env bash
echo "$*" >>"$SSH_LOG"
[[ $* != *gone* ]] || { echo "Permission denied (publickey)." >&2; exit 255; }
exec env -i PATH="$PATH" bash
"""


@pytest.fixture
def ssh(tmp_path):
    """The environment in which `ssh` runs here, without any variable, what it should on another host."""
    write(tmp_path / "bin" / "ssh", FAKE_SSH)
    return os.environ | {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "SSH_LOG": str(tmp_path / "log")}


def write(path, text):
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def test_other_hosts(ssh, tmp_path):
    ssh |= {"TOKEN": 'it\'s "a"\n$b', "OTHER": "stays"}
    show = "import os, sys; print(os.getcwd(), repr(os.environ['TOKEN']), os.environ.get('OTHER'), sys.argv[1:])"
    done = hosts("-H", "me@gpu1,gpu2", "-d", tmp_path, "-e", "TOKEN", "--", sys.executable, "-c", show, "a b", env=ssh)
    assert (done.returncode, done.stderr) == (0, "")
    common = ["a b", "--coordinator=gpu1:8476", "--num_processes=2"]
    assert sorted(done.stdout.splitlines()) == [
        f"[{n}] {tmp_path} {ssh['TOKEN']!r} None {[*common, f'--process_id={n}']}" for n in range(2)
    ]
    calls = sorted((tmp_path / "log").read_text().splitlines())
    assert [call.split()[-2:] for call in calls] == [["gpu2", "bash"], ["me@gpu1", "bash"]]
    assert all("BatchMode=yes" in call and "TOKEN" not in call for call in calls)


def test_a_file_of_hosts(ssh, tmp_path):
    (tmp_path / "hosts").write_text("# two\ngpu1 slots=8\n\n  gpu2# the other")
    done = hosts("-f", tmp_path / "hosts", "-p", 9000, "--", "echo", env=ssh)
    assert sorted(done.stdout.splitlines()) == [
        f"[{n}] --coordinator=gpu1:9000 --num_processes=2 --process_id={n}" for n in range(2)
    ]


def test_a_host_that_cannot_be_reached(ssh):
    done = hosts("-H", "gpu1,gone", "-g", "0", "--", "bash", "-c", "sleep 600", env=ssh)
    assert done.returncode == 255
    assert done.stdout == "[1] Permission denied (publickey).\n"
    assert done.stderr.splitlines()[0] == (
        "process 1 (gone) ended with status 255 (ssh could not connect, or the connection broke)"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no command"),
        (["-n", "2", "--"], "no command"),
        (["--", "true"], "-n, -H or -f"),
        (["-n", "0", "--", "true"], "-n 0 is not"),
        (["-n", "two", "--", "true"], "-n two is not"),
        (["-n"], "-n needs a value"),
        (["-n", "2", "-H", "a", "--", "true"], "-n is for this host alone"),
        (["-H", "a,,b", "--", "true"], "a host without a name"),
        (["-f", "nowhere", "--", "true"], "no file nowhere"),
        (["-f", "/dev/null", "--", "true"], "/dev/null names no host"),
        (["-n", "1", "-e", "NO_SUCH", "--", "true"], "-e NO_SUCH"),
        (["-n", "1", "-g", "soon", "--", "true"], "-g soon is not"),
        (["-z"], "unknown option -z"),
    ],
)
def test_mistakes_end_in_one_line(arguments, message):
    done = hosts(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert message in done.stderr


def test_help():
    done = hosts("-h")
    assert (done.returncode, done.stderr) == (0, "")
    assert all(f" -{option} " in done.stdout for option in "nHfpdegh")


# slurm.sbatch


def submit(tmp_path, status, *arguments, **more):
    """Runs the batch script as Slurm would; its output, its status, and the calls of srun and scontrol."""
    call = '#!/usr/bin/env bash\nprintf "%s\\n" "$(basename "$0")" "$@" >>"$CALLS"\n'
    write(tmp_path / "bin" / "srun", call + f"exit {status}\n")
    write(tmp_path / "bin" / "scontrol", call)
    environment = os.environ | {
        "PATH": f"{tmp_path}/bin:{os.environ['PATH']}",
        "CALLS": str(tmp_path / "calls"),
        "SLURM_JOB_ID": "42",
        "SLURM_CPUS_PER_TASK": "6",
        "PYTHON": "the-python",
        **more,
    }
    done = subprocess.run(
        ["bash", LAUNCH / "slurm.sbatch", *arguments], env=environment, capture_output=True, text=True, timeout=60
    )
    return done, (tmp_path / "calls").read_text().splitlines()


def test_what_srun_is_asked_for(tmp_path):
    done, calls = submit(tmp_path, 0, "--config=configs/vit_base.py:mimic", "--workdir=a b")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    srun, train = calls[:5], calls[5:]
    assert srun == ["srun", "--label", "--kill-on-bad-exit=0", "--wait=300", "--cpus-per-task=6"]
    assert train == [
        *("the-python", "-m", "kmerl_jax.train", "--preempted_status=75"),
        *("--config=configs/vit_base.py:mimic", "--workdir=a b"),
    ]


@pytest.mark.parametrize("status", [75, 143])
def test_an_interrupted_job_goes_back_into_the_queue(tmp_path, status):
    done, calls = submit(tmp_path, status)
    assert done.returncode == status
    assert calls[-3:] == ["scontrol", "requeue", "42"]
    assert done.stdout == f"interrupted with status {status}: back into the queue\n"


def test_of_an_array_one_task_goes_back_into_the_queue(tmp_path):
    """The last task has the id of the whole array."""
    _, calls = submit(tmp_path, 75, SLURM_ARRAY_JOB_ID="42", SLURM_ARRAY_TASK_ID="3")
    assert calls[-3:] == ["scontrol", "requeue", "42_3"]


@pytest.mark.parametrize("status", [0, 1, 2, 137])
def test_every_other_job_does_not(tmp_path, status):
    done, calls = submit(tmp_path, status)
    assert done.returncode == status
    assert "scontrol" not in calls


def test_what_the_job_asks_for():
    lines = (LAUNCH / "slurm.sbatch").read_text().splitlines()
    asked = dict(re.fullmatch(r"#SBATCH --([\w-]+)=?(\S*)", line).groups() for line in lines if "#SBATCH" in line)
    assert asked["signal"] == "TERM@120"  # with B: it would reach the script alone
    assert asked["requeue"] == ""
    assert asked["open-mode"] == "append"
    assert asked["ntasks-per-node"] == asked["gpus-per-node"]
    assert "gpus-per-task" not in asked


# kubernetes.yaml


def pod_environment():
    container = jobset()["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]["containers"][0]
    return {variable["name"]: variable["value"] for variable in container["env"]}


def jobset():
    return yaml.safe_load((LAUNCH / "kubernetes.yaml").read_text())


def test_the_jobset_restarts_after_interruptions_without_counting_them():
    document = jobset()
    assert (document["apiVersion"], document["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    policy = document["spec"]["failurePolicy"]
    assert policy["restartStrategy"] == "BlockingRecreate"
    assert policy["maxRestarts"] > 0
    (rule,) = policy["rules"]
    assert rule["action"] == "RestartJobSetAndIgnoreMaxRestarts"
    assert rule["onJobFailureReasons"] == ["PodFailurePolicy"]
    job = document["spec"]["replicatedJobs"][0]["template"]["spec"]
    assert job["backoffLimit"] == 0
    disrupted, interrupted = job["podFailurePolicy"]["rules"]
    assert disrupted["action"] == interrupted["action"] == "FailJob"
    assert disrupted["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
    asked = interrupted["onExitCodes"]
    assert (asked["operator"], asked["values"]) == ("In", [75, 143])
    assert asked["containerName"] == job["template"]["spec"]["containers"][0]["name"]


def test_the_pods_find_one_another_and_count_alike():
    spec = jobset()["spec"]
    assert spec["network"] == {"enableDNSHostnames": True, "publishNotReadyAddresses": True}
    (train,) = spec["replicatedJobs"]
    job = train["template"]["spec"]
    command = job["template"]["spec"]["containers"][0]["command"]
    assert (train["replicas"], job["completionMode"]) == (1, "Indexed")
    assert job["parallelism"] == job["completions"]
    assert command[:3] == ["python", "-m", "kmerl_jax.train"]
    assert {f"--num_processes={job['completions']}", "--preempted_status=75"} <= set(command)


def test_the_pod():
    pod = jobset()["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["restartPolicy"] == "Never"
    assert pod["terminationGracePeriodSeconds"] >= 60
    assert pod["shareProcessNamespace"] is True
    assert pod["automountServiceAccountToken"] is False
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 8
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    mounts = {mount["mountPath"]: volumes[mount["name"]] for mount in container["volumeMounts"]}
    assert mounts["/dev/shm"]["emptyDir"]["medium"] == "Memory"
    assert mounts["/data"]["persistentVolumeClaim"] == {"claimName": "kmerl"}
    paths = [part.partition("=")[2] for part in container["command"] if "/data" in part]
    assert all(path.startswith("/data/") for path in [*paths, pod_environment()["JAX_COMPILATION_CACHE_DIR"]])
