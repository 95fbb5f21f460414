"""Files that were made to run code, to read other files or to take memory for the asking: one function a file.

`FILES` is `{name: (function of a path, what it tries)}`; the name's suffix is the file's. Each opener of the library has to refuse each
of them with ValueError, without any of what it tries.
"""

from . import arrays, graphs, networks, pickles, pictures, torches
from .files import FILES, FLAG, flag

__all__ = ["FILES", "FLAG", "arrays", "flag", "graphs", "networks", "pickles", "pictures", "torches"]
