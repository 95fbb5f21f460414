"""A recipe: a Python file that names `Train`'s keywords, and `sch`.

    data_path = "/datasets/faces_emore"
    save_path = "r50.keras"
    basic_model = models.buildin_models("r50")
    sch = [{"loss": losses.ArcfaceLoss(), "epoch": 20}]

Names set from outside (`--set batch_size=256`) stand before the file is run and again after it, so that a recipe may read
them with `globals().get`.
"""

from __future__ import annotations

import ast
import difflib
import inspect
import os
import runpy
import traceback
import typing

from facetrainer.flat_names import use_flat_names
from facetrainer.utils.lazy import later
from facetrainer.utils.text import unknown

legacy = later("facetrainer.training.legacy")
SHIPPED = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "recipes")
PUBLISHED = os.path.join(SHIPPED, "published")


def keywords() -> list[str]:
    """Names that a recipe may give to `Train`."""
    return [name for name in inspect.signature(legacy.Train).parameters if name != "self"]


def read_settings(settings: list[str]) -> dict:
    """Settings of the command line.

    Args:
        settings: `["batch_size=256", "save_path=x.keras"]`.

    Returns:
        `{name: value}`; what is no Python literal stays a text.

    Raises:
        ValueError: A name is no keyword of `Train`, or a value of another type than it takes.
    """
    values = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise ValueError(f"--set {setting!r}: expected NAME=VALUE with a keyword of Train.")
        if name not in keywords():
            raise ValueError(f"--set {setting!r}: {unknown('keyword of Train', name, keywords())}")
        values[name] = _literal(text)
        hint = typing.get_type_hints(legacy.Train.__init__)[name]
        if not _fits(values[name], hint):
            raise ValueError(f"--set {setting!r}: expected {_kinds(hint)}. Received: {values[name]!r}")
    return values


def _fits(value, hint):
    """Whether a value is of a type that is named, where nothing but numbers, texts and the like is."""
    kinds = set(typing.get_args(hint) or (hint,))
    more = {int} if float in kinds else set()
    return not kinds <= {int, float, bool, str, type(None)} or isinstance(value, tuple(kinds | more))


def _kinds(hint):
    words = {int: "a whole number", float: "a number", bool: "True or False", str: "a text", type(None): "None"}
    return " or ".join(words[one] for one in (typing.get_args(hint) or (hint,)))


def _literal(text):
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def names(folder: str) -> list[str]:
    """Names of the recipes in a folder of the package, sorted."""
    return sorted(file[:-3] for file in os.listdir(folder) if file.endswith(".py") and file != "__init__.py")


def find(name: str) -> str:
    """Path of a recipe: a file as it is, else a shipped or a published one by its name.

    Args:
        name: `my_recipe.py`, `lfw_small` or `recipes/lfw_small.py`.

    Returns:
        Path of the file.

    Raises:
        FileNotFoundError: There is neither.
    """
    if os.path.isfile(name):
        return name
    stem = os.path.splitext(os.path.basename(name))[0]
    for folder in (SHIPPED, PUBLISHED):
        if stem in names(folder) and os.path.dirname(name) in ("", "recipes", "recipes/published"):
            return os.path.join(folder, f"{stem}.py")
    near = difflib.get_close_matches(stem, [*names(SHIPPED), *names(PUBLISHED)], 1, 0.7)
    known = (
        f"Did you mean {near[0]!r}?"
        if near
        else f"Shipped are {', '.join(names(SHIPPED))}; facetrainer recipes lists all."
    )
    raise FileNotFoundError(
        f"recipe {name!r} {'is a folder' if os.path.isdir(name) else 'does not exist'}. Expected a Python file with Train's keywords "
        f"and sch, or a recipe's name. {known}"
    )


def load(name: str, settings: dict) -> tuple[dict, list]:
    """Runs a recipe.

    Args:
        name: See `find`. The file may import the flat names of Keras_insightface.
        settings: What `read_settings` gives.

    Returns:
        Keywords for `Train`, and the schedule.

    Raises:
        FileNotFoundError: There is no such recipe.
        ValueError: It does not set what it must, or Python cannot run it; the message has the line.
    """
    path = find(name)
    use_flat_names()
    names = {**_run(path, settings), **settings}
    missing = [one for one in ("data_path", "save_path", "sch") if one not in names]
    if missing:
        raise ValueError(f"{path}: {missing[0]!r} is missing. A recipe sets data_path, save_path, basic_model and sch.")
    return {one: names[one] for one in keywords() if one in names}, names["sch"]


def _run(path, settings):
    """A recipe's names; what is wrong with its text is told with the line."""
    try:
        return runpy.run_path(path, init_globals=settings)
    except SyntaxError as error:
        raise ValueError(f"{path}, line {error.lineno}: {error.msg}. A recipe is a Python file.") from error
    except (NameError, TypeError, AttributeError, LookupError) as error:
        lines = [one.lineno for one in traceback.extract_tb(error.__traceback__) if one.filename == path]
        place = f"{path}, line {lines[-1]}" if lines else path
        raise ValueError(f"{place}: {type(error).__name__}: {error}") from error
