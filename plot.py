"""Pictures of a run: curves of its history, ROC, embeddings in two dimensions.

Every function draws on new axes or on `axes`, writes `path` (PNG, SVG, PDF) if given, and returns the figure; nothing is
shown and no backend is chosen.
"""

import numpy as np
from matplotlib.figure import Figure
from sklearn.manifold import TSNE

from measures.roc import Roc
from measures.verification import wilson


def _done(figure, path):
    if path:
        figure.savefig(path, dpi=120, bbox_inches="tight")
    return figure


def _axes(count, width=6.0, height=4.2):
    figure = Figure(figsize=(width * count, height), layout="constrained")
    return figure, np.atleast_1d(figure.subplots(1, count))


def history(values: dict[str, list], path: str | None = None) -> Figure:
    """`My_history.history` → loss terms, accuracies, learning rate over epochs, one panel each; a fourth for what losses note."""
    losses = [k for k in values if k == "loss" or k.endswith("_loss")]
    sets = [k for k in values if f"{k}_thresh" in values]
    rates = [k for k in values if k in ("accuracy", "target_cosine", *sets) or k.endswith("_10fold")]
    known = ("_thresh", "_auc", "_10fold")
    notes = [k for k in values if k not in (*losses, *rates, "lr") and not k.endswith(known) and "_tar@" not in k]
    panels = {"loss": losses, "accuracy": rates, "learning rate": ["lr"], **({"besides": notes} if notes else {})}
    figure, axes = _axes(len(panels))
    for panel, (title, names) in zip(axes, panels.items(), strict=True):
        for name in (n for n in names if n in values):
            line = np.array([np.nan if v is None else v for v in values[name]], float)
            panel.plot(np.arange(1, len(line) + 1), line, marker="o", markersize=3, label=name)
        wide = title == "besides" and panel.dataLim.ymax > 10  # norms and scales beside shares
        panel.set(title=title, xlabel="epoch", yscale="symlog" if wide else "linear")
        panel.grid(alpha=0.3)
        if panel.has_data():
            panel.legend(fontsize="small")
    return _done(figure, path)


def roc(curves: dict[str, tuple[np.ndarray, np.ndarray]], path: str | None = None, least: float = 0.0) -> Figure:
    """{name: (scores (n,), same (n,))} → true-accept rate over false-accept rate on a logarithmic axis, with 95 % bands (Wilson).

    The axis begins at `least`, or where the pairs of the smallest set end.
    """
    figure, (axes,) = _axes(1)
    begin = 1.0
    for name, (values, same) in curves.items():
        curve = Roc(values, same)
        far, tar, _ = curve.points()
        begin = min(begin, 1 / max(len(curve.negatives), 1))
        (line,) = axes.step(np.maximum(far, begin / 2), tar, where="post", label=f"{name}, AUC {curve.auc:.4f}")
        low, high = np.array([wilson(rate, len(curve.positives)) for rate in tar]).T
        axes.fill_between(
            np.maximum(far, begin / 2), low, high, step="post", alpha=0.12, color=line.get_color(), linewidth=0
        )
    axes.set(
        xscale="log",
        xlim=(least or begin, 1),
        ylim=(0, 1.01),
        xlabel="false accept rate",
        ylabel="true accept rate",
        title="ROC",
    )
    axes.grid(alpha=0.3, which="both")
    axes.legend(loc="lower right", fontsize="small")
    return _done(figure, path)


def embeddings(vectors: np.ndarray, names: list[str], path: str | None = None, title: str = "embeddings") -> Figure:
    """Embeddings (n, D) and the person of each (n,) → t-SNE of the cosines in two dimensions, a colour a person."""
    vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    near = float(np.clip(len(vectors) / 10, 2, 15))
    points = TSNE(2, perplexity=near, init="pca", metric="cosine", random_state=0).fit_transform(vectors)
    figure, (axes,) = _axes(1, 7, 6)
    names = np.asarray(names)
    for number, person in enumerate(dict.fromkeys(names)):
        mine = points[names == person]
        axes.scatter(*mine.T, s=22, color=f"C{number % 10}", marker="os^Dv"[number // 10 % 5], label=person)
    axes.set(title=title, xticks=[], yticks=[])
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize="small")
    return _done(figure, path)


def identification(results: dict[str, tuple], path: str | None = None) -> Figure:
    """{name: (false-accept rates, identification rates, CMC, …)} → DIR over FAR, and CMC curves."""
    figure, (left, right) = _axes(2)
    for name, (fars, rates, *curves) in results.items():
        left.plot(fars, rates, label=name)
        for number, cmc in enumerate(curves, 1):
            right.plot(
                np.arange(1, len(cmc) + 1),
                cmc,
                marker="." if len(cmc) < 30 else None,
                label=f"{name}, gallery {number}",
            )
    left.set(xscale="log", xlabel="false accept rate", ylabel="detection and identification rate", title="open set")
    right.set(xlabel="rank", ylabel="found at this rank or before", title="CMC")
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


def det(curves: dict[str, tuple[np.ndarray, np.ndarray]], path: str | None = None) -> Figure:
    """{name: (scores, same)} → false rejects over false accepts, both on logarithmic axes."""
    figure, (axes,) = _axes(1)
    least = []
    for name, (values, same) in curves.items():
        curve = Roc(values, same)
        far, tar, _ = curve.points()
        least.append((1 / len(curve.negatives), 1 / len(curve.positives)))
        axes.step(
            np.maximum(far, least[-1][0] / 2),
            np.maximum(1 - tar, least[-1][1] / 2),
            where="post",
            label=f"{name}, EER {curve.eer:.4f}",
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
        axes.plot(places, [float(schedule(place)) for place in places], label=name)
    axes.set(xlabel="epoch", ylabel="learning rate", yscale="log", title="schedule")
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize="small")
    return _done(figure, path)


def reject(curves: dict[str, tuple[np.ndarray, np.ndarray]], path: str | None = None) -> Figure:
    """{quality: (parts rejected, false non-match rates)} → error-versus-reject curves."""
    figure, (axes,) = _axes(1)
    for name, (rejected, missed) in curves.items():
        axes.plot(rejected, missed, marker=".", label=name)
    axes.set(
        xlabel="part of the pairs rejected for low quality", ylabel="false non-match rate", title="error versus reject"
    )
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    return _done(figure, path)
