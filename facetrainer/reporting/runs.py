"""Several runs of the trainer beside each other: what was asked of each, what came of it, curves over each other."""

import dataclasses
import glob
import hashlib
import html
import json
import os

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from facetrainer.reporting import plots
from facetrainer.reporting.page import STYLE, figure, table
from facetrainer.training.state_files import read_state
from facetrainer.utils.files import read_bytes, replacing

HISTORY, STATE = "_hist.json", ".state.npz"


@dataclasses.dataclass(frozen=True)
class Run:
    """A run on disk.

    Attributes:
        name: What it is called here.
        stem: Path below which its files begin, such as `checkpoints/x`.
        history: Numbers by name, one an epoch.
        settings: What was asked of it, by name; empty where its state is not there.
    """

    name: str
    stem: str
    history: dict[str, list]
    settings: dict[str, str]

    @property
    def sets(self) -> list[str]:
        """Evaluation sets."""
        return [name for name in self.history if f"{name}_10fold" in self.history]

    def best_model(self) -> str | None:
        """File of its best basic model on the last evaluation set, or of the latest one; None where there is none."""
        found = glob.glob(glob.escape(self.stem) + "_basic_*_epoch_*.keras") or glob.glob(
            glob.escape(self.stem) + "_basic_model_latest.*"
        )
        return max(found, key=os.path.getmtime, default=None)


def read(path: str) -> Run:
    """Opens a run.

    Args:
        path: `checkpoints/x`, one of its files, or a folder that holds one run.

    Returns:
        The run.

    Raises:
        FileNotFoundError: There is no run.
        ValueError: The folder holds several, or the history is damaged.
    """
    stem = _stem(path)
    try:
        history = json.loads(read_bytes(stem + HISTORY))
        history = {
            str(name): [None if one is None else float(one) for one in values] for name, values in history.items()
        }
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{stem + HISTORY} is no history of a run: {error}") from None
    return Run(stem, stem, history, _settings(stem + STATE))


def _stem(path):
    for suffix in (HISTORY, STATE, ".keras", ".h5", "_report.html"):
        path = path.removesuffix(suffix)
    if os.path.exists(path + HISTORY):
        return path
    folders = (path, os.path.join(path, "checkpoints"))
    found = sorted(one for folder in folders for one in glob.glob(os.path.join(glob.escape(folder), "*" + HISTORY)))
    if len(found) > 1:
        raise ValueError(
            f"{path} holds several runs: give one of {', '.join(one.removesuffix(HISTORY) for one in found)}."
        )
    if not found:
        raise FileNotFoundError(f"{path}{HISTORY} does not exist: expected a run of Train, such as checkpoints/x.")
    return found[0].removesuffix(HISTORY)


def _settings(path):
    if not os.path.exists(path):
        return {}
    journal = read_state(path)["journal"]
    stages = {f"sch[{number}]": stage for number, stage in enumerate(journal["stages"])}
    return dict(_flat({**journal["run"], **stages}))


def _flat(value, name=""):
    """Nested dicts → (name, text) of each leaf."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield from _flat(one, f"{name} {key}".strip())
    else:
        yield name, json.dumps(value) if isinstance(value, (list, dict)) else str(value)


def named(runs: list[Run]) -> list[Run]:
    """The same with names as short as tells them apart."""
    short = [os.path.basename(one.stem) for one in runs]
    if len(set(short)) < len(short):
        home = os.path.commonpath([os.path.dirname(os.path.abspath(one.stem)) for one in runs])
        short = [os.path.relpath(one.stem, home) for one in runs]
    return [dataclasses.replace(one, name=name) for one, name in zip(runs, short, strict=True)]


def differences(runs: list[Run], longest: int = 30) -> pd.DataFrame:
    """A row a setting that is not the same in all runs; a model and a stage that one of them lacks are a row each."""
    stages = dict.fromkeys(name.split(" ")[0] for one in runs for name in one.settings if name.startswith("sch["))
    lacking = [
        stage for stage in stages if not all(any(name.startswith(stage) for name in one.settings) for one in runs)
    ]
    whole = ["model", *lacking]
    names = sorted(
        dict.fromkeys(name for one in runs for name in one.settings), key=lambda name: name.startswith("sch[")
    )
    rows = {name: [one.settings.get(name, "–") for one in runs] for name in names if name.split(" ")[0] not in whole}
    rows |= {name: [_part(one, name) for one in runs] for name in whole}
    return pd.DataFrame(
        {"setting": name, **{one.name: _cut(value, longest) for one, value in zip(runs, values, strict=True)}}
        for name, values in rows.items()
        if len(set(values)) > 1
    )


def _part(run, name):
    """A model or a stage as a whole."""
    mine = {key: value for key, value in run.settings.items() if key.split(" ")[0] == name}
    number = hashlib.sha256(json.dumps(mine).encode()).hexdigest()[:8]
    return f"{number} ({len(mine):,} settings)" if mine else "not there"


def _cut(value, longest):
    return value if len(value) <= longest else value[: longest - 1] + "…"


def results(runs: list[Run]) -> pd.DataFrame:
    """A row a run: epochs, last loss, and of each evaluation set 10-fold accuracy, the last and the best."""
    rows = []
    for one in runs:
        losses = [value for value in one.history.get("loss", []) if value is not None]
        row = {
            "run": one.name,
            "epochs": len(one.history.get("loss", [])),
            "loss": f"{losses[-1]:.4g}" if losses else "–",
        }
        for name in one.sets:
            values = np.array([np.nan if value is None else value for value in one.history[f"{name}_10fold"]], float)
            if np.isfinite(values).any():
                best = int(np.nanargmax(values))
                row |= {f"{name}, last": f"{values[-1]:.4f}", f"{name}, best": f"{values[best]:.4f} (epoch {best + 1})"}
        rows.append(row)
    return pd.DataFrame(rows).fillna("–")


def curves(runs: list[Run]) -> Figure:
    """Loss, 10-fold accuracy of each evaluation set and rate, the runs over each other."""
    sets = dict.fromkeys(name for one in runs for name in one.sets)
    keys = {"loss": "loss", **{f"{name}, 10-fold": f"{name}_10fold" for name in sets}, "learning rate": "lr"}
    return plots.over_each_other(
        {title: {one.name: one.history.get(key, []) for one in runs} for title, key in keys.items()}
    )


def write(runs: list[Run], path: str, paired: pd.DataFrame | None = None) -> str:
    """Writes a page.

    Args:
        runs: See `read` and `named`.
        path: `.html`.
        paired: Differences of their models on the same pairs. Defaults to none.

    Returns:
        The path.
    """
    parts = ["<h2>Results</h2>", table(results(runs)), figure(curves(runs), "curves of the runs")]
    if paired is not None:
        parts += [
            "<h2>The same pairs</h2>",
            f"<p>Each run's model against that of {html.escape(runs[0].name)}; intervals over people.</p>",
            table(paired),
        ]
    apart = differences(runs)
    parts += [
        "<h2>What was asked differently</h2>",
        table(apart) if len(apart) else "<p>Nothing that the states know of.</p>",
    ]
    title = "Runs: " + html.escape(", ".join(one.name for one in runs))
    head = f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>{STYLE}</style>"
    with replacing(path) as part, open(part, "w", encoding="utf-8") as file:
        file.write(f"{head}<h1>{title}</h1>{''.join(parts)}</html>")
    return path
