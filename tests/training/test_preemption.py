import os
import signal
import threading

from kmerl_jax.training.preemption import Notice


def test_a_sigterm_is_noted_and_nothing_else():
    before = signal.getsignal(signal.SIGTERM)
    with Notice() as notice:
        assert not notice.given
    assert signal.getsignal(signal.SIGTERM) is before
    try:
        with Notice() as notice:
            os.kill(os.getpid(), signal.SIGTERM)
            assert notice.given
        os.kill(os.getpid(), signal.SIGTERM)  # a second one, while the process ends
    finally:
        signal.signal(signal.SIGTERM, before)


def test_outside_the_main_thread_signals_are_left_alone():
    before, got = signal.getsignal(signal.SIGTERM), []

    def body():
        with Notice() as notice:
            got.append(notice.given)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert got == [False]
    assert signal.getsignal(signal.SIGTERM) is before
