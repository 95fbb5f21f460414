"""One thread that does all work on faces: photos that wait are looked through together, and nothing else touches the gallery."""

import concurrent.futures
import queue
import threading
from collections.abc import Callable

from facetrainer.recognition.reader import FaceReader

TOGETHER = 16


class BusyError(Exception):
    """More is waiting than will be done in time."""


class Worker:
    """Reads photos in batches, and runs functions one after the other.

    Args:
        reader: Reads the photos.
        waiting: Jobs that may wait. Defaults to `128`.
    """

    def __init__(self, reader: FaceReader, waiting: int = 128):
        self.reader, self.jobs = reader, queue.Queue(waiting)
        threading.Thread(target=self._work, daemon=True, name="faces").start()

    def read(self, photo: bytes) -> concurrent.futures.Future:
        """Reads one photo.

        Args:
            photo: Encoded image.

        Returns:
            Future of its `Photo`.

        Raises:
            BusyError: Too many jobs wait.
        """
        return self._put(photo)

    def run(self, work: Callable[[], object]) -> concurrent.futures.Future:
        """Calls a function in the thread; result and exceptions as of `read`."""
        return self._put(work)

    def _put(self, job):
        future = concurrent.futures.Future()
        try:
            self.jobs.put_nowait((job, future))
        except queue.Full:
            raise BusyError from None
        return future

    def _work(self):
        while True:
            photos, work = self._next()
            if photos:
                self._read(photos)
            if work:
                _do(*work)

    def _next(self):
        """Photos that wait, and the first other job behind them."""
        photos, first = [], self.jobs.get()
        while True:
            if callable(first[0]):
                return photos, first
            photos.append(first)
            if len(photos) == TOGETHER or self.jobs.empty():
                return photos, None
            first = self.jobs.get()

    def _read(self, photos):
        try:
            found = self.reader.read([("photo", photo) for photo, _ in photos])
            for (_, future), photo in zip(photos, found, strict=True):
                future.set_result(photo)
        except Exception as error:  # told to those who asked; the thread goes on
            for _, future in photos:
                if not future.done():
                    future.set_exception(error)


def _do(work, future):
    try:
        future.set_result(work())
    except Exception as error:  # as above
        future.set_exception(error)
