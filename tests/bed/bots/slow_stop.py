"""Runs a Python bot: with STOP_SECONDS set, SIGTERM reaches the bot that much later, and it polls on meanwhile.

The signal stays blocked in all of the bot's threads (they inherit that) except in ours, which lets it through when it
is due. So the bot stays as its author would write it, whatever it does about SIGTERM.
"""

import os
import runpy
import signal
import sys
import threading
import time


def delay_sigterm(seconds: float) -> None:
    """Hold the first SIGTERM back for this long."""

    def let_through() -> None:
        signal.sigwait({signal.SIGTERM})
        time.sleep(seconds)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        os.kill(os.getpid(), signal.SIGTERM)

    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=let_through, daemon=True).start()


if __name__ == "__main__":
    if float(os.environ.get("STOP_SECONDS", "0")) > 0:
        delay_sigterm(float(os.environ["STOP_SECONDS"]))
    del sys.argv[0]
    runpy.run_path(sys.argv[0], run_name="__main__")
