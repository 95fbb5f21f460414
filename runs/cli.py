"""How every command begins and ends."""

import argparse
import logging
import sys
from collections.abc import Callable


def call(
    parser: argparse.ArgumentParser, work: Callable[[argparse.Namespace], object], argv: list[str] | None = None
) -> int:
    """Parse `argv`, let `work` do what it says → exit code 0; a wrong call ends with the parser's message and code 2.

    What `work` returns, if it is a function, is called last: an error in there is no wrong call and keeps its traceback.
    """
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    try:
        rest = work(arguments)
    except (ValueError, FileNotFoundError, ImportError) as error:
        parser.error(str(error))
    if callable(rest):
        rest()
    return 0
