"""Pictures of a run: curves of its history, ROC, embeddings in two dimensions.

Every function draws on new axes or on `axes`, writes `path` (PNG, SVG, PDF) if given, and returns the figure; nothing is
shown and no backend is chosen.
"""

import json
import os
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.manifold import TSNE

from facetrainer.metrics.intervals import curve_intervals
from facetrainer.metrics.roc import Roc
from facetrainer.utils.files import replacing


def text(name: str) -> str:
    """A name as matplotlib shows it: $ is no formula, and what begins with _ is not left out of a legend."""
    name = str(name).replace("$", r"\$")
    return f" {name}" if name.startswith("_") else name


def _done(figure, path):
    if path:
        with replacing(path) as part:
            figure.savefig(part, dpi=120, bbox_inches="tight")
    return figure


NOTES = "what the losses note"


def _axes(count, width=6.0, height=4.2, columns=None):
    """A figure and its panels, in a row or in rows of so many."""
    columns = min(columns or count, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    panels = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for empty in panels[count:]:
        figure.delaxes(empty)
    return figure, panels[:count]


def history(values: dict[str, list], path: str | None = None) -> Figure:
    """`My_history.history` → loss terms, accuracies, learning rate over epochs, one panel each; a fourth for what losses note."""
    losses = [k for k in values if k == "loss" or k.endswith("_loss")]
    sets = [k for k in values if f"{k}_thresh" in values]
    rates = [k for k in values if k in ("accuracy", "target_cosine", *sets) or k.endswith("_10fold")]
    known = ("_thresh", "_auc", "_10fold")
    notes = [k for k in values if k not in (*losses, *rates, "lr") and not k.endswith(known) and "_tar@" not in k]
    panels = {"loss": losses, "accuracy": rates, "learning rate": ["lr"], **({NOTES: notes} if notes else {})}
    figure, axes = _axes(len(panels), columns=2)
    for panel, (title, names) in zip(axes, panels.items(), strict=True):
        for name in (n for n in names if n in values):
            line = np.array([np.nan if v is None else v for v in values[name]], float)
            panel.plot(np.arange(1, len(line) + 1), line, marker="o", markersize=3, label=text(name))
        wide = panel.dataLim.ymax > (
            10 if title == NOTES else 20
        )  # norms and scales beside shares, center loss beside others
        panel.set(title=title, xlabel="epoch", yscale="symlog" if wide and title in (NOTES, "loss") else "linear")
        panel.grid(alpha=0.3)
        if panel.has_data():
            panel.legend(fontsize="small")
    return _done(figure, path)


def over_each_other(panels: dict[str, dict[str, list]], path: str | None = None) -> Figure:
    """Numbers by epoch of several runs.

    Args:
        panels: `{title: {run: values}}`; None where an epoch has no value.
        path: File to write.

    Returns:
        The figure.
    """
    figure, axes = _axes(len(panels), columns=2)
    for panel, (title, lines) in zip(axes, panels.items(), strict=True):
        for name, values in lines.items():
            line = np.array([np.nan if one is None else one for one in values], float)
            panel.plot(np.arange(1, len(line) + 1), line, marker="o", markersize=3, label=text(name))
        panel.set(title=text(title), xlabel="epoch")
        panel.grid(alpha=0.3)
        panel.legend(fontsize="small")
    return _done(figure, path)


def growing_rate(values: np.ndarray, losses: np.ndarray, best: float, path: str | None = None) -> Figure:
    """The loss over a growing learning rate, and the rate to begin with."""
    figure, (axes,) = _axes(1)
    axes.plot(values, losses)
    axes.axvline(best, linestyle="--", color="gray", label=f"begin with {best:.2g}")
    axes.set(xscale="log", xlabel="learning rate", ylabel="loss, running mean", title="learning rate")
    axes.grid(alpha=0.3)
    axes.legend()
    return _done(figure, path)


def roc(curves: dict[str, tuple | Roc], path: str | None = None, least: float = 0.0, title: str = "ROC") -> Figure:
    """Receiver operating characteristics on a logarithmic axis.

    Args:
        curves: `{name: (scores (n,), same (n,))}`, with a third item the persons of both images of each pair, integers `(2, n)`: those
            get a 95 % band over people. Or `{name: curve}`, with `points` and `auc` as those of `metrics.roc.Roc`.
        path: File to write.
        least: Where the axis begins; where the pairs of the smallest set end unless given.
        title: Of the picture.

    Returns:
        The figure.
    """
    figure, (axes,) = _axes(1)
    begin, lowest = 1.0, 1.0
    for number, (name, given) in enumerate(curves.items()):
        curve = given if hasattr(given, "points") else Roc(*given[:2])
        far, tar, _ = curve.points()
        first = max(far[far > 0].min() if (far > 0).any() else 1.0, least)
        begin, lowest = min(begin, first), min(lowest, float(np.interp(first, far, tar)))
        (line,) = axes.step(np.maximum(far, first / 2), tar, where="post", label=f"{text(name)}, AUC {curve.auc:.4f}",
                            linestyle=("-", "--", ":", "-.")[number % 4] if len(curves) > 4 else "-")  # fmt: skip
        if isinstance(given, tuple) and len(given) == 3:
            lowest = min(lowest, _band(axes, *given, first, line.get_color()))
    axes.set(xscale="log", xlim=(min(begin, 0.5), 1), ylim=(max(lowest - 0.02, 0) if lowest > 0.2 else 0, 1.005),
             xlabel="false accept rate", ylabel="true accept rate", title=title)  # fmt: skip
    axes.grid(alpha=0.3, which="both")
    axes.legend(loc="lower right", fontsize="small")
    return _done(figure, path)


def _band(axes, scores, same, people, first, color):
    """95 % over people at every rate → the lowest end."""
    fars = np.geomspace(first, 1, 60)
    low, high = (ends[1:] for ends in curve_intervals(scores, same, people, fars, draws=200))
    low = np.fmax.accumulate(low)  # rates rise with the false accepts, and so does what is sure of them
    axes.fill_between(fars, low, high, alpha=0.12, color=color, linewidth=0)
    return float(np.nanmin(low)) if np.isfinite(low).any() else 1.0


def embeddings(
    vectors: np.ndarray, names: list[str], path: str | None = None, title: str = "embeddings", dimensions: int = 2
) -> Figure:
    """Embeddings (n, D) and the person of each (n,) → t-SNE of the cosines in two or three dimensions, a colour a person."""
    vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    near = float(np.clip(len(vectors) / 10, 2, 15))
    points = TSNE(dimensions, perplexity=near, init="pca", metric="cosine", random_state=0).fit_transform(vectors)
    figure = Figure(figsize=(7, 6), layout="constrained")
    axes = figure.add_subplot(projection="3d" if dimensions == 3 else None)
    for number, person in enumerate(dict.fromkeys(names)):
        mine = points[np.asarray(names) == person]
        axes.scatter(*mine.T, s=22, color=f"C{number % 10}", marker="os^Dv"[number // 10 % 5], label=text(person))
    axes.set(title=text(title), xticks=[], yticks=[], **({"zticks": []} if dimensions == 3 else {}))
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize="small")
    return _done(figure, path)


def rings(panels: dict[str, tuple], path: str | None = None) -> Figure:
    """Embeddings of two dimensions as they are, a colour a class, and lines in the directions of the classes' centers.

    Args:
        panels: `{title: (embeddings (n, 2), class names (n,), centers (C, 2) or None)}`, side by side.
        path: File to write.

    Returns:
        The figure.

    Raises:
        ValueError: Embeddings are not of two dimensions.
    """
    figure, axes = _axes(len(panels), 5, 5)
    for panel, (title, (vectors, names, centers)) in zip(axes, panels.items(), strict=True):
        if vectors.ndim != 2 or vectors.shape[1] != 2:
            raise ValueError(
                f"rings: expected embeddings (n, 2). Received: {vectors.shape}. Build the model with emb_shape=2."
            )
        names = np.asarray(names)
        for number, name in enumerate(_in_order(names)):
            panel.scatter(*vectors[names == name].T, s=4, color=f"C{number % 10}", label=text(name))
        for number, center in enumerate(() if centers is None else np.asarray(centers)):
            panel.plot(
                *zip((0, 0), _far(center, vectors)), color=f"C{number % 10}", linewidth=1.5, marker="D", markevery=[1]
            )
        panel.set(title=text(title), aspect="equal")
        panel.grid(alpha=0.3)
    axes[-1].legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize="small", markerscale=3)
    return _done(figure, path)


def _in_order(names):
    return sorted(set(names.tolist()), key=lambda name: (len(str(name)), str(name)))


def _far(center, vectors):
    """A center at the distance of the outer embeddings."""
    return center / max(np.linalg.norm(center), 1e-12) * np.quantile(np.linalg.norm(vectors, axis=1), 0.98)


def identification(results: dict[str, Sequence], path: str | None = None) -> Figure:
    """{name: (false-accept rates, identification rates, CMC, …)} → DIR over FAR, and CMC curves."""
    figure, (left, right) = _axes(2)
    for name, (fars, rates, *curves) in results.items():
        left.plot(fars, rates, label=text(name))
        for number, cmc in enumerate(curves, 1):
            right.plot(
                np.arange(1, len(cmc) + 1),
                cmc,
                marker="." if len(cmc) < 30 else None,
                label=f"{text(name)}, gallery {number}",
            )
    left.set(xscale="log", xlabel="false accept rate", ylabel="detection and identification rate", title="open set")
    right.set(xlabel="rank", ylabel="found at this rank or before", title="CMC")
    right.xaxis.get_major_locator().set_params(integer=True)
    for axes in (left, right):
        axes.grid(alpha=0.3, which="both")
        axes.legend(loc="lower right", fontsize="small")
    return _done(figure, path)


def scores(values: np.ndarray, same: np.ndarray, threshold: float | None = None, path: str | None = None) -> Figure:
    """Scores (n,) and same (n,) → histograms of both kinds, with the threshold between them."""
    figure, (axes,) = _axes(1)
    bins = np.linspace(np.min(values), np.max(values), 60)
    for kind, name in ((False, "different people"), (True, "one person")):
        axes.hist(values[same == kind], bins, alpha=0.55, density=True, label=f"{name}, {np.sum(same == kind):,} pairs")
    if threshold is not None:
        axes.axvline(threshold, color="k", linestyle="--", linewidth=1, label=f"threshold {threshold:.3f}")
    axes.set(xlabel="cosine", ylabel="density", title="scores")
    axes.legend(fontsize="small")
    return _done(figure, path)


def det(curves: dict[str, tuple], path: str | None = None) -> Figure:
    """{name: (scores, same)} → false rejects over false accepts, both on logarithmic axes."""
    figure, (axes,) = _axes(1)
    least = []
    for name, given in curves.items():
        curve = Roc(*given[:2])
        far, tar, _ = curve.points()
        least.append((1 / len(curve.negatives), 1 / len(curve.positives)))
        axes.step(
            np.maximum(far, least[-1][0] / 2),
            np.maximum(1 - tar, least[-1][1] / 2),
            where="post",
            label=f"{text(name)}, EER {curve.eer:.4f}",
        )
    lowest = np.min(least, axis=0)
    axes.plot([lowest.max(), 1], [lowest.max(), 1], color="grey", linewidth=0.8, linestyle=":")
    axes.set(
        xscale="log",
        yscale="log",
        xlim=(lowest[0], 1),
        ylim=(lowest[1], 1),
        xlabel="false accept rate",
        ylabel="false reject rate",
        title="DET",
    )
    axes.grid(alpha=0.3, which="both")
    axes.legend(loc="upper right", fontsize="small")
    return _done(figure, path)


def rates(schedules: dict[str, object], epochs: float, path: str | None = None) -> Figure:
    """{name: function of a fractional epoch} → learning rate over epochs."""
    figure, (axes,) = _axes(1)
    places = np.linspace(0, epochs, 1000, endpoint=False)
    for name, schedule in schedules.items():
        axes.plot(places, [float(schedule(place)) for place in places], label=text(name))
    axes.set(xlabel="epoch", ylabel="learning rate", yscale="log", title="schedule")
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize="small")
    return _done(figure, path)


# ------------------------------------------------------------------------------------------------ names of Keras_insightface

EVALS_NAME = ["lfw", "cfp_fp", "agedb_30", "IJBB", "IJBC"]


def hist_plot(
    loss_lists, accuracy_lists, customs_dict, loss_names=None, save=None, axes=None, init_epoch=0, pre_item=None, fig_label=None,
    eval_split=True, limit_loss_max=1e9,
):  # fmt: skip
    """Stages one behind another → (axes, last item: what `pre_item` of the next call joins on to).

    `loss_lists` and `accuracy_lists` hold a list a stage, `customs_dict` a list of all epochs by name: evaluation sets, each with its own
    panel (`eval_split`) or all in one, then learning rate and losses in the last. Losses above `limit_loss_max` are left out.

    Returns:
        Matplotlib axes, and the last item.
    """
    others = [name for name in customs_dict if name == "lr" or name.endswith("_loss")]
    sets = [name for name in customs_dict if name not in others]
    panels = [
        ["loss"],
        ["accuracy"],
        *([[name] for name in sets] if eval_split else [sets] if sets else []),
        *([others] if others else []),
    ]
    axes = _axes(len(panels), 5)[1] if axes is None else np.atleast_1d(axes)
    lasts, pre_item = {}, pre_item or {}
    for panel, names in zip(axes, panels, strict=True):
        panel.set(title=text(", ".join(names)), xlabel="epoch")
        panel.margins(y=0.12)  # room for stage names and peaks
        panel.grid(alpha=0.3)
        for name in names:
            stages = {"loss": loss_lists, "accuracy": accuracy_lists}.get(name) or [customs_dict.get(name, [])]
            lasts[name] = _stages(panel, stages, name, init_epoch, pre_item.get(name), fig_label, limit_loss_max)
        _stage_names(panel, loss_lists, loss_names, init_epoch)
        if panel.has_data() and panel.get_legend_handles_labels()[0]:
            panel.legend(fontsize="small")
    _done(axes[0].figure, save)
    return axes, lasts


def _stages(panel, stages, name, begin, last, label, most):
    """One line through all stages, joined on to `last` (epoch, value) → where it ends."""
    values = np.array([np.nan if one is None else one for stage in stages for one in stage], float)
    values[values > (most if name == "loss" else np.inf)] = np.nan
    places = np.arange(begin + 1, begin + 1 + len(values))
    if last:
        places, values = np.append(last[0], places), np.append(last[1], values)
    panel.plot(places, values, marker="o", markersize=3, label=text(" ".join(filter(None, (label, name)))))
    if len(values) and np.isfinite(values).any() and name not in ("loss", "lr") and not name.endswith("_loss"):
        peak = int(np.nanargmax(values))
        panel.annotate(
            f"{values[peak]:.4f}",
            (places[peak], values[peak]),
            fontsize="x-small",
            xytext=(0, 4),
            textcoords="offset points",
        )
    return (int(places[-1]), float(values[-1])) if len(values) else last


def _stage_names(panel, stages, names, begin):
    for number, stage in enumerate(stages):
        if number:
            panel.axvline(begin + 0.5, color="grey", linestyle=":", linewidth=0.8)
        if names and number < len(names):
            panel.text(
                begin + 0.5,
                1.0,
                f" {text(names[number])}",
                fontsize="x-small",
                transform=panel.get_xaxis_transform(),
                va="top",
            )
        begin += len(stage)


def hist_plot_split(
    history, epochs=(100,), names=None, customs=None, save=None, axes=None, init_epoch=0, pre_item=None, fig_label=None, eval_split=True,
    limit_loss_max=1e9, skip_epochs=0,
):  # fmt: skip
    """History (dict, `_hist.json` or several of them) of stages of `epochs` → (axes, last item), see `hist_plot`.

    `customs`: names besides loss and accuracy, those of them that the history has; every evaluation set and lr unless given. `skip_epochs`
    leaves out the first ones.

    Returns:
        Matplotlib axes, and the last item.
    """
    values = _read_history(history)
    customs = customs or [*(k for k in values if f"{k}_thresh" in values), "lr"]
    customs = [name for name in customs if name in values]
    values = {name: list(one)[skip_epochs:] for name, one in values.items()}
    edges = np.clip(np.cumsum([0, *epochs]) - skip_epochs, 0, len(values["loss"]))
    edges = np.append(edges, len(values["loss"])) if edges[-1] < len(values["loss"]) else edges
    losses, accuracies = (
        [values.get(key, [])[a:b] for a, b in zip(edges, edges[1:]) if b > a] for key in ("loss", "accuracy")
    )
    begin = init_epoch + skip_epochs
    return hist_plot(losses, accuracies, {name: values[name] for name in customs}, names, save, axes, begin, pre_item, fig_label,
                     eval_split, limit_loss_max)  # fmt: skip


def _read_history(history):
    if isinstance(history, dict):
        return history
    files = [history] if isinstance(history, str) else list(history)
    loaded = []
    for path in files:
        with open(path, encoding="utf-8") as file:
            loaded.append(json.load(file))
    keys = dict.fromkeys(key for one in loaded for key in one)
    return {key: [value for one in loaded for value in one.get(key, [None] * len(one["loss"]))] for key in keys}


def choose_accuracy(aa, skip_name_len=0, sort_metric=False, metric_key="agedb_30", key_picks=None):
    """History files → three dicts by name, printed as tables: the epoch best on `metric_key`, each set's own best, the best sum.

    A fourth table shows the last epoch. `key_picks`: the sets, all in the history unless given; `sort_metric` sorts by `metric_key`. A
    history without that set takes its last one, and the table says which; one without any set is left out.

    Returns:
        Three dicts by name of the history.
    """
    tables = {"metric": {}, "each": {}, "sum": {}, "last": {}}
    for path in aa:
        name, values = os.path.splitext(os.path.basename(path))[0][skip_name_len:], _read_history(path)
        sets = [key for key in key_picks or values if key in values and (key_picks or f"{key}_thresh" in values)]
        if sets:
            for table, row in _best(values, sets, metric_key).items():
                tables[table][name] = row
        else:
            print(f"{name}: no evaluation set in its history, left out")
    titles = {"metric": f"best {metric_key}", "each": "best of each", "sum": "best sum", "last": "last epoch"}
    for table, title in titles.items():
        frame = pd.DataFrame(tables[table]).T
        sorts = sort_metric and metric_key in frame
        print(f"\n{title}:\n{frame.sort_values(metric_key, ascending=False) if sorts else frame}")
    return tables["metric"], tables["each"], tables["sum"]


def _best(values, sets, metric_key):
    """The rows of one history in the four tables."""
    key = metric_key if metric_key in sets else sets[-1]
    table = np.array([values[name] for name in sets], float)
    epochs = {"metric": np.nanargmax(values[key]), "sum": np.nanargmax(table.sum(axis=0)), "last": table.shape[1] - 1}
    rows = {name: {**dict(zip(sets, table[:, k].tolist())), "epoch": int(k) + 1} for name, k in epochs.items()}
    if key != metric_key:
        rows["metric"]["best of"] = key
    return {**rows, "each": dict(zip(sets, np.nanmax(table, axis=1).tolist()))}
