"""A recipe is a Python file whose names are `Train`'s keywords, and `sch`.

    data_path = "/datasets/faces_emore"
    save_path = "r50.keras"
    basic_model = models.buildin_models("r50")
    sch = [{"loss": losses.ArcfaceLoss(), "epoch": 20}]

Names set from outside (`--set batch_size=256`) stand before the file is run and again after it, so that a recipe may read
them with `globals().get`.
"""

import ast
import difflib
import inspect
import os
import runpy

import train


def keywords() -> list[str]:
    """Names that a recipe may give to `Train`."""
    return [name for name in inspect.signature(train.Train).parameters if name != "self"]


def read_settings(settings: list[str]) -> dict:
    """["batch_size=256", "save_path=x.keras"] → values; what is no Python literal stays a string."""
    values = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or name not in keywords():
            near = difflib.get_close_matches(name, keywords(), 1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"--set {setting!r}: expected NAME=VALUE with a keyword of Train.{hint}")
        values[name] = _literal(text)
    return values


def _literal(text):
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def load(path: str, settings: dict) -> tuple[dict, list]:
    """Recipe file → (keywords for `Train`, schedule)."""
    if not os.path.exists(path):
        raise FileNotFoundError(
            f"recipe {path!r} does not exist. Expected a Python file with Train's keywords and sch."
        )
    names = {**runpy.run_path(path, init_globals=settings), **settings}
    missing = [name for name in ("data_path", "save_path", "sch") if name not in names]
    if missing:
        raise ValueError(f"{path}: {missing[0]!r} is missing. A recipe sets data_path, save_path, basic_model and sch.")
    return {name: names[name] for name in keywords() if name in names}, names["sch"]
