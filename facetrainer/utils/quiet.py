"""TensorFlow's lines about itself, which nobody can act on, stay out of the terminal.

While TensorFlow is imported what it writes to standard error is held back, and what is none of those lines is shown afterwards. With
`TF_CPP_MIN_LOG_LEVEL` set to 0 everything is shown as it comes.
"""

import contextlib
import importlib.abc
import importlib.util
import os
import re
import sys
import tempfile

NOISE = re.compile(
    rb"All log messages before absl::InitializeLog|oneDNN custom operations are on|optimized to use available CPU instructions"
    rb"|To enable the following instructions|Unable to register cu|computation_placer already registered|Could not find cuda drivers"
    rb"|Created TensorFlow Lite XNNPACK delegate"
    rb"|Could not find TensorRT|cuInit: UNKNOWN ERROR|CUDA_ERROR_NO_DEVICE|GPU will not be used|^\s*$"
)
LEVEL = "TF_CPP_MIN_LOG_LEVEL"


def hush() -> None:
    """Called before TensorFlow is imported; later it does nothing."""
    if "tensorflow" in sys.modules or os.environ.get(LEVEL) == "0":
        return
    os.environ.setdefault(LEVEL, "2")  # warnings of its C++ part that come later
    sys.meta_path.insert(0, _Finder())


class _Finder(importlib.abc.MetaPathFinder):
    """Finds TensorFlow as the others do, and has it imported quietly."""

    looking = False

    def find_spec(self, name, path=None, target=None):
        if name != "tensorflow" or self.looking:
            return None
        self.looking = True
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self.looking = False
        if spec is not None and spec.loader is not None:
            spec.loader = _Quiet(spec.loader)
        return spec


class _Quiet(importlib.abc.Loader):
    """A loader whose module runs with standard error held back."""

    def __init__(self, loader):
        self.loader = loader

    def __getattr__(self, name):
        return getattr(self.loader, name)

    def create_module(self, spec):
        return self.loader.create_module(spec)

    def exec_module(self, module):
        module.__spec__.loader = module.__loader__ = self.loader
        with held_back():
            self.loader.exec_module(module)


@contextlib.contextmanager
def held_back():
    """What is written to the process's standard error comes afterwards, without the lines of `NOISE`."""
    try:
        sys.stderr.flush()
        kept = os.dup(2)
    except (OSError, AttributeError, ValueError):  # there is no standard error
        yield
        return
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            rest = [line for line in file.read().splitlines(keepends=True) if not NOISE.search(line)]
            os.write(2, b"".join(rest)) if rest else None
