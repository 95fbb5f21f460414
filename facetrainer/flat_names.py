"""`import losses, models, train`: the module names that notebooks of Keras_insightface use."""

import importlib
import importlib.machinery
import os
import sys
import warnings

MODULES = {
    "losses": "facetrainer.losses",
    "models": "facetrainer.models",
    "data": "facetrainer.data",
    "evals": "facetrainer.evaluation",
    "train": "facetrainer.training",
    "myCallbacks": "facetrainer.training.callbacks",
    "augment": "facetrainer.data.augment",
    "plot": "facetrainer.reporting.plots",
    "optimizers": "facetrainer.optimizers",
    "backbones": "facetrainer.backbones",
    "prepare_data": "facetrainer.preparing.insightface",
    "IJB_evals": "facetrainer.reporting.ijb",
    "eval_folder": "facetrainer.reporting.folder",
    "data_distiller": "facetrainer.preparing.distill",
    "data_drop_top_k": "facetrainer.preparing.clean",
    "convert": "facetrainer.cli.convert",
}


def use_flat_names() -> None:
    """Lets `import losses`, `from models import NormDense`, `import train` … find the modules of this package.

    From then on these names mean the trainer's modules, whatever lies in the working folder: a folder `data/` or a file `models.py`
    of the user is not looked at. A module of such a name that was imported before stays, with a warning. The modules are the
    package's own: `losses is facetrainer.losses`.
    """
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    for name, target in MODULES.items():
        before = sys.modules.get(name)
        if before is None or getattr(before, "__name__", "").startswith("facetrainer") or _is_door(before):
            continue
        warnings.warn(
            f"{name!r} was imported before from {getattr(before, '__file__', 'elsewhere')} and stays; the trainer's is {target}. "
            "Call facetrainer.use_flat_names() before other imports.",
            stacklevel=2,
        )


def open_door(name: str) -> None:
    """Called by a file at the root of the repository: puts the package's module in its own place.

    Args:
        name: `__name__` of the file. In a process that a command has started it is `__mp_main__`, and nothing is to be done.
    """
    if name in MODULES:
        use_flat_names()
        sys.modules[name] = importlib.import_module(MODULES[name])


def _is_door(module):
    """Whether a module is one of the short files at the root of the repository, in the middle of its own import."""
    home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    file = getattr(module, "__file__", None) or ""
    return os.path.dirname(os.path.abspath(file)) in (home, os.path.join(home, "backbones"))


class _Finder:
    """Finds the flat names and what lies below them: `backbones.resnet` is `facetrainer.backbones.resnet`."""

    def find_spec(self, name, path=None, target=None):
        top, dot, rest = name.partition(".")
        if top not in MODULES:
            return None
        return importlib.machinery.ModuleSpec(name, _Loader(MODULES[top] + dot + rest))


class _Loader:
    """Gives the package's module itself, unchanged."""

    def __init__(self, target):
        self.target = target

    def create_module(self, spec):
        module = importlib.import_module(self.target)
        self.kept = module.__spec__, module.__loader__
        return module

    def exec_module(self, module):
        module.__spec__, module.__loader__ = self.kept
