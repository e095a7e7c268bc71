"""The start of real processes, and their end."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
JOB = """
    import os, sys
    os.environ["JAX_PLATFORMS"] = "cpu"
    from kmerl_jax import command
    from kmerl_jax.processes import start, together

    def main():
        import jax
        with start.joined({"seed": 0}):
            with together.first_process_first():
                print("body", jax.process_index(), flush=True)
            value = together.from_first(7 + jax.process_index())
            all_but_one = together.everyone(jax.process_index() != 1)
            print("got", value, all_but_one, together.everyone(True), flush=True)

    command.run(main, "a job")
"""


def run(processes, tmp_path, *flags, **environ):
    job = tmp_path / "job.py"
    job.write_text(textwrap.dedent(JOB))
    hosts = ["bash", "launch/hosts.sh", "-n", str(processes), "--", sys.executable, str(job), *flags]
    environ = {**os.environ, "PYTHONPATH": str(REPOSITORY), **environ}
    return subprocess.run(hosts, cwd=REPOSITORY, env=environ, capture_output=True, text=True, timeout=120)


def test_processes_do_things_together_although_proxies_are_set(tmp_path):
    """JAX's runtime would look for the others behind the proxy, until the time is out."""
    proxies = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    done = run(2, tmp_path, "--start_timeout_s=40", **proxies)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line for line in done.stdout.splitlines() if "Gloo" not in line]
    assert "[0] not used between processes: http_proxy, https_proxy" in lines
    assert "[0] 2 processes on 1 host(s), told by the command line" in lines
    assert lines.index("[0] body 0") < lines.index("[1] body 1")
    assert {"[0] got 7 False True", "[1] got 7 False True"} <= set(lines)


def test_one_process_needs_nobody(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(JOB)], cwd=REPOSITORY, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["body 0", "got 7 True True"]


def test_a_wrong_combination_is_one_line(tmp_path):
    job = [sys.executable, "-c", textwrap.dedent(JOB)]
    done = subprocess.run([*job, "--num_processes=2"], cwd=REPOSITORY, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith("error: --coordinator, --process_id missing")
    lonely = ["--coordinator=localhost:9", "--num_processes=2", "--process_id=1", "--start_timeout_s=1"]
    done = subprocess.run([*job, *lonely], cwd=REPOSITORY, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith("error: process 1 cannot reach process 0 at localhost:9 within 1 s")
