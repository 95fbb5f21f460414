"""Stopping a run when asked to."""

import contextlib
import logging
import os
import select
import signal
import sys
import threading
from collections.abc import Iterator

import keras

from facetrainer import distributed

log = logging.getLogger("facetrainer")


class Gently_stop_callback(keras.callbacks.Callback):
    """Stops at the end of the epoch once asked to: by Ctrl-C or SIGTERM, by a file, or by n and Enter, typed at any time.

    A second Ctrl-C stops at once. What is typed is read where the input is a terminal (not in Jupyter, not on Windows).

    Args:
        prompt: Shown in such a terminal at the end of an epoch where `time_out` is above 0. Defaults to `"Continue? ([Y]/n)"`.
        time_out: Seconds to wait for an answer then; 0 only reads what was typed before. Defaults to `3`. `Train` uses 0.
        stop_file: Path of a file that asks; it is removed.
    """

    def __init__(self, prompt="Continue? ([Y]/n)", time_out=3, stop_file=None):
        super().__init__()
        self.prompt, self.time_out = prompt, time_out
        self.stop_file, self.asked, self.before = stop_file, None, {}

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Signals ask inside the block; afterwards they mean what they did before, whatever happens."""
        self._listen()
        try:
            yield
        finally:
            self._leave()

    def _listen(self):
        self.asked = None
        if threading.current_thread() is threading.main_thread() and not self.before:
            self.before = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}

    def _leave(self):
        while self.before:
            signal.signal(*self.before.popitem())

    def on_train_begin(self, logs=None):
        self.has_own = not self.before
        if self.has_own:
            self._listen()

    def on_train_end(self, logs=None):
        if self.has_own:
            self._leave()

    def _ask(self, number, frame):
        if self.asked:
            self._leave()
            raise KeyboardInterrupt
        self.asked = signal.Signals(number).name
        log.warning("%s: stopping at the end of this epoch (again to stop now)", self.asked)

    def on_epoch_end(self, epoch, logs=None):
        if self.stop_file and os.path.exists(self.stop_file):
            self.asked = self.stop_file
        if _answer(self.prompt, self.time_out) == "n":
            self.asked = "n"
        if distributed.agreed(bool(self.asked)):
            self._forget_file()
            log.warning("stopped after epoch %d as asked by %s", epoch + 1, self.asked or "another process")
            self.model.stop_training = True

    def _forget_file(self):
        """Once all processes have seen it."""
        if self.stop_file and distributed.is_first():
            with contextlib.suppress(FileNotFoundError):
                os.remove(self.stop_file)


def _answer(prompt, time_out):
    """What was typed, or is within `time_out` seconds; "" where nobody can or does."""
    if os.name == "nt" or not (sys.stdin and sys.stdin.isatty()):
        return ""
    if time_out:
        sys.stderr.write(f"\n{prompt} ")
        sys.stderr.flush()
    return sys.stdin.readline().strip().lower() if select.select([sys.stdin], [], [], time_out)[0] else ""
