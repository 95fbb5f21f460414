"""A gallery of mosaics behind a real server on a free port."""

import contextlib
import socket
import threading
import time

import uvicorn
from recognition import mosaics

from facetrainer.recognition import Gallery
from facetrainer.serving.app import make_app
from facetrainer.serving.guard import Limits


def gallery(people=range(5)):
    """Saved in `people`; photos in `photos`."""
    found = Gallery(mosaics.reader(), "people", threshold=0.8)
    found.enrol(mosaics.folder("photos", people, (0, 1)))
    return found


@contextlib.contextmanager
def server(app):
    """Yields the address."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    running = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning"))
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    while not running.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        running.should_exit = True
        thread.join(10)


def app(limits=None, keep=None, people=range(5)):
    return make_app(gallery(people), limits or Limits(), keep)
