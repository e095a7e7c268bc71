"""What the commands share: parsing, one-line errors, exit status, log lines, progress."""

import logging
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import tqdm
from absl import flags

flags.DEFINE_boolean("debug", False, "Show the whole traceback of an error.")

log = logging.getLogger("kmerl_jax")


class Terminated(BaseException):
    """SIGTERM, where nobody waits for it."""


def run(
    main: Callable[..., int | None],
    usage: str,
    arguments: str = "",
    interrupted: str = "the same command goes on where it was",
) -> None:
    """Runs a command and exits: 0 on success, 1 when the work failed, 2 when the command line is wrong.

    Every error ends in one line on stderr that says what is wrong; `--debug` shows where.

    Args:
        main: the command, called once the flags are parsed. It may return another exit status than 0.
        usage: what `--help` prints above the flags.
        arguments: what the words are that are no flags ("RECORD..."); main is given a list of them. "": there are none.
        interrupted: what is said of work that was stopped.
    """
    _log_to_stdout()
    if {"--help", "-help", "-h", "--helpfull"} & set(sys.argv[1:]):
        print(_help(usage))
        sys.exit(0)
    debug = any(arg in ("--debug", "--debug=true") for arg in sys.argv[1:])
    try:
        rest = flags.FLAGS(sys.argv)[1:]
        if rest and not arguments:
            raise flags.Error(f"unexpected argument {rest[0]!r}")
        for flag in flags.FLAGS.flags_by_module_dict().get(sys.argv[0], ()):
            if flag.present and flag.value in ("", [], [""]):  # of a variable of the shell that is not set, say
                raise flags.Error(f"--{flag.name} is empty")
    except Exception as error:  # configs are Python: a bad one can raise anything
        _fail(error, 2, debug, _flag_error(error))
    signal.signal(signal.SIGTERM, _terminate)
    status = None
    try:
        status = main(rest) if arguments else main()
    except (KeyboardInterrupt, Terminated) as stop:
        how, status = ("terminated", 143) if isinstance(stop, Terminated) else ("interrupted", 130)
        print(f"{how}; {interrupted}", file=sys.stderr, flush=True)
        _exit(status)
    except Exception as error:
        _fail(error, 1, debug)
    sys.exit(status or 0)


def _terminate(*_) -> None:
    raise Terminated("it was terminated (SIGTERM)")


def _fail(error: Exception, status: int, debug: bool, message: str | None = None) -> None:
    if debug:
        raise error
    print(f"error: {message or one_line(error)}", file=sys.stderr, flush=True)
    _exit(status)


def _exit(status: int) -> None:
    """Not sys.exit: threads that wait for input, and a half-made checkpoint, must not hold an ended command open."""
    sys.stdout.flush()
    os._exit(status)


def one_line(error: Exception) -> str:
    """What an error says, in one line. Errors that are not about the user's input say of which kind they are."""
    text = " ".join(str(error).split())
    if missing := re.search(r"Failed loading config file.*No such file or directory: '(.+?)'", text):
        return f"no config file {missing[1]}"
    if isinstance(error, OSError) and error.strerror and error.filename:
        text = f"{error.filename}: {error.strerror}"
    expected = (ValueError, OSError, flags.Error)
    if not isinstance(error, expected) or not text:
        text = f"{type(error).__name__}: {text} (--debug shows where)"
    return text if len(text) <= 500 else text[:500] + " ..."


def line_about(path: Path, error: Exception) -> str:
    """What an error says, in one line that names the file."""
    said = one_line(error)
    return said if any(str(name) in said for name in (path, path.with_suffix(""))) else f"{path}: {said}"


def _flag_error(error: Exception) -> str | None:
    """What is wrong with flags or a config, where absl and ml_collections say it in their own terms; else None."""
    text = str(error)
    if missing := re.match(r"flag --(\S+)=None: ", text):
        return f"--{missing[1]} is missing, which must be given; --help shows all flags"
    if "Traceback (most recent call last)" in text:
        return text.strip().splitlines()[-1].partition(": ")[2]
    if isinstance(error, AttributeError | KeyError) and (field := re.search(r"'(\w+)", text)):
        hint = re.search(r'Did you mean "(.+?)"', text)
        return f"the config has no field {field[1]!r}" + (f"; did you mean {hint[1]!r}?" if hint else "")
    return None


def _help(usage: str) -> str:
    own = flags.FLAGS.flags_by_module_dict()
    lines = [usage.strip(), "", "Flags:"]
    for module in (sys.argv[0], "kmerl_jax.prediction.inputs", "kmerl_jax.processes.start", __name__):
        for flag in own.get(module, []):
            value = ",".join(flag.default) if isinstance(flag.default, list) else flag.default
            default = "" if value in (None, False) else f" Default {value}."
            text = " ".join((flag.help or "").split()).partition("; repeat this option")[0]
            lines.append(f"  --{flag.name}: {text}{default}")
    return "\n".join([*lines, "  --help: Show this and exit."])


def _log_to_stdout() -> None:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    for noisy in ("absl", "orbax", "jax"):
        logging.getLogger(noisy).setLevel(logging.ERROR)


class Progress:
    """Progress of a long piece of work: a bar on a terminal, a plain line now and then elsewhere.

    Calling it with (done, total) shows how far the work is, how fast, and how long it will take.
    """

    def __init__(self, what: str, unit: str, every_s: float = 30.0):
        """Args:
        what: the work, as a verb form ("preparing").
        unit: what is counted.
        every_s: seconds between plain lines.
        """
        self.what, self.unit, self.every_s = what, unit, every_s
        self.bar = self.first = None
        self.last = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        if sys.stderr.isatty():
            self.bar = self.bar or tqdm.tqdm(total=total, desc=self.what, unit=f" {self.unit}", initial=done)
            self.bar.update(done - self.bar.n)
            if done >= total:
                self.bar.close()
            return
        now = time.monotonic()
        self.first = self.first or (done, now)
        if done < total and now - self.last < self.every_s:
            return
        self.last = now
        line = f"{self.what}: {done:,} of {total:,} {self.unit}"
        if done > self.first[0]:
            rate = (done - self.first[0]) / max(now - self.first[1], 1e-9)
            line += f", {rate:.0f} {self.unit}/s" + (f", {(total - done) / rate:.0f} s left" if done < total else "")
        log.info(line)


def parse_shard(text: str) -> tuple[int, int]:
    """(i, n) of "i/n".

    Raises:
        ValueError: anything but two integers with 0 <= i < n.
    """
    first, _, count = text.partition("/")
    if not (first.isdecimal() and count.isdecimal() and int(first) < int(count)):
        raise ValueError(f"--shard={text} is not I/N with 0 <= I < N, for example 0/4")
    return int(first), int(count)
