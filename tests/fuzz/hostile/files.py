"""The table that every hostile file is entered in."""

import os

FLAG = "FACE_HOSTILE_FLAG"  # environment variable: a file that must not come to be
FILES = {}


def flag() -> str:
    """The file that code of a hostile file would write."""
    return os.environ[FLAG]


def hostile(name, tries):
    """Adds a function of a path to `FILES`."""

    def add(make):
        FILES[name] = (make, tries)
        return make

    return add


def put(path, data):
    with open(path, "wb") as file:
        file.write(data)


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call
