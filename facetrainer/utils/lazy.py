"""Public names of a package, imported when they are first used (PEP 562)."""

import importlib
import types
from collections.abc import Callable, Mapping


def attach(package: str, modules: Mapping[str, str], namespace: dict) -> tuple[Callable, Callable]:
    """Returns `__getattr__` and `__dir__` of a package whose names live in other modules.

    Args:
        package: Name of the package, for the error message.
        modules: `{module: "name name ..."}`; a module without names stands for itself, by its last part.
        namespace: `globals()` of the package: a name is looked up once.
    """
    places = {name: (module, name) for module, names in modules.items() for name in names.split()}
    places |= {module.rpartition(".")[2]: (module, None) for module, names in modules.items() if not names}

    def getattr_(name):
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, attribute = places[name]
        found = importlib.import_module(module)
        namespace[name] = getattr(found, attribute) if attribute else found
        return namespace[name]

    return getattr_, lambda: sorted({*namespace, *places})


class later(types.ModuleType):
    """A module that is imported when something of it is first used: a command answers `--help` before TensorFlow is there.

    Args:
        name: Full name of the module.
    """

    def __getattr__(self, attribute):
        return getattr(importlib.import_module(self.__name__), attribute)
