"""Where the library's messages go."""

import logging
import sys

NAME = "facetrainer"


def show_messages() -> None:
    """Shows messages of level INFO on standard output, unless the program has set up logging itself.

    Called when a run or a command begins, not when the package is imported: a notebook sees what a run says.
    """
    log = logging.getLogger(NAME)
    if log.handlers or logging.getLogger().handlers:
        return
    handler = logging.StreamHandler(_Stdout())
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.addHandler(handler)
    if log.level == logging.NOTSET:  # a level that the user has set stays
        log.setLevel(logging.INFO)
    log.propagate = False  # libraries may set up logging of their own later


class _Stdout:
    """Standard output as it is when a line is written: notebooks and tests put others in its place."""

    def write(self, text):
        return sys.stdout.write(text)

    def flush(self):
        sys.stdout.flush()
