"""Batches read ahead by threads, in order; as Keras's `fit` takes them on any backend."""

import collections
import itertools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import keras

from facetrainer.utils.system import cores


class Clock(Protocol):
    """Where a run stands."""

    epoch: int
    step: int


def ahead(load: Callable, positions: Iterable[tuple], workers: int = 0) -> Iterator:
    """Calls `load(*position)` in threads and yields the results in order; two more than there are threads are kept ready.

    Args:
        load: Function that several threads may call at once.
        positions: Its arguments.
        workers: Number of threads. Defaults to `0`, one for each processor.

    Yields:
        What `load` returns.
    """
    workers = workers or cores()
    waiting, positions = collections.deque(), iter(positions)
    pool = ThreadPoolExecutor(workers, "faces")
    try:
        while True:
            for position in itertools.islice(positions, workers + 2 - len(waiting)):
                waiting.append(pool.submit(load, *position))
            if not waiting:
                return
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


class Epochs(keras.utils.PyDataset):
    """An epoch's batches for `fit` where no tf.data is needed; each pass over them asks for a new iterator.

    Args:
        begin: Function that returns the iterator of a pass.
        steps: Number of its batches.
    """

    def __init__(self, begin: Callable[[], Iterator], steps: int):
        super().__init__()
        self.begin, self.steps = begin, steps
        self.batches: Iterator = iter(())

    def __len__(self):
        return self.steps

    def __getitem__(self, index: int):
        """The next batch; `fit` asks for them in order, and the first one begins a pass."""
        if index == 0:
            self.batches = self.begin()
        return next(self.batches)
