"""Batches read ahead by threads, in order; as Keras's `fit` takes them on any backend."""

import collections
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import keras


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def ahead(load: Callable, positions: Iterable[tuple], workers: int = 0) -> Iterator:
    """Calls `load(*position)` in threads and yields the results in order; two more than there are threads are kept ready.

    Args:
        load: Function that several threads may call at once.
        positions: Its arguments.
        workers: Number of threads. Defaults to `0`, one for each processor.

    Yields:
        What `load` returns.
    """
    workers = workers or processors()
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
        self.begin, self.steps, self.batches = begin, steps, None

    def __len__(self):
        return self.steps

    def __getitem__(self, index: int):
        """The next batch; `fit` asks for them in order, and the first one begins a pass."""
        if index == 0:
            self.batches = self.begin()
        return next(self.batches)
