"""Where the wall time of a stage goes."""

import contextlib
import time
from collections.abc import Iterator

import keras


class Goodput(keras.callbacks.Callback):
    """Seconds of a stage by what they were spent on; the first callback of all.

    Compiling is what the first batch of a `fit` takes longer than the others. Waiting for input is what the steps waited for batches.

    Args:
        faces: The stage's data; what has a `waited` counts seconds of waiting.
    """

    def __init__(self, faces):
        super().__init__()
        self.faces, self.begun, self.waited = faces, time.perf_counter(), getattr(faces, "waited", 0.0)
        self.spent, self.outside = {"evaluation": 0.0, "checkpoint": 0.0}, True
        self.first, self.later, self.batches, self.is_first = [], 0.0, 0, True

    @contextlib.contextmanager
    def span(self, part: str) -> Iterator[None]:
        """What runs inside the block is counted as "evaluation" or "checkpoint"; of blocks in one another the outer one counts."""
        begin, outside, self.outside = time.perf_counter(), self.outside, False
        try:
            yield
        finally:
            self.outside = outside
            self.spent[part] += time.perf_counter() - begin if outside else 0.0

    def on_train_begin(self, logs=None):
        self.is_first = True

    def on_train_batch_begin(self, batch, logs=None):
        self.begin = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        seconds = time.perf_counter() - self.begin
        if self.is_first:
            self.first.append(seconds)
        else:
            self.later, self.batches = self.later + seconds, self.batches + 1
        self.is_first = False

    def seconds(self) -> dict[str, float]:
        """Seconds so far: "steps", "input", "evaluation", "checkpoint", "compile" and "rest", together the time since the stage began."""
        usual = self.later / self.batches if self.batches else 0.0
        compiling = sum(max(seconds - usual, 0.0) for seconds in self.first)
        steps = self.later + sum(self.first) - compiling
        waiting = min(getattr(self.faces, "waited", 0.0) - self.waited, steps)
        found = {"steps": steps - waiting, "input": waiting, **self.spent, "compile": compiling}
        return {**found, "rest": max(time.perf_counter() - self.begun - sum(found.values()), 0.0)}

    def describe(self) -> str:
        """A line: shares of the wall time."""
        seconds = self.seconds()
        whole = sum(seconds.values()) or 1.0
        return f"{whole:.0f} s: " + ", ".join(f"{part} {value / whole:.0%}" for part, value in seconds.items())
