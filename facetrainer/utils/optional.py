"""Libraries that only some jobs need."""

import importlib
from types import ModuleType


def need(module: str, package: str, what: str) -> ModuleType:
    """The module, or an ImportError that says what needs it and how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f"{what} needs {module}: pip install {package}") from error
