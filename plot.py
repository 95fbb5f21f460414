"""Pictures of a run: curves of its history, ROC, embeddings in two dimensions.

Every function draws on new axes or on `axes`, writes `path` (PNG, SVG, PDF) if given, and returns the figure; nothing is
shown and no backend is chosen.
"""

import numpy as np
from matplotlib.figure import Figure
from sklearn.manifold import TSNE
from sklearn.metrics import auc, roc_curve


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


def roc(curves: dict[str, tuple[np.ndarray, np.ndarray]], path: str | None = None) -> Figure:
    """{name: (scores (n,), same (n,))} → true-accept rate over false-accept rate, on a logarithmic axis."""
    figure, (axes,) = _axes(1)
    least = 1.0
    for name, (scores, same) in curves.items():
        far, tar, _ = roc_curve(same, scores)
        least = min(least, 1 / max(np.sum(~np.asarray(same, bool)), 1))
        axes.step(np.maximum(far, least / 2), tar, where="post", label=f"{name}, AUC {auc(far, tar):.4f}")
    axes.set(
        xscale="log",
        xlim=(least, 1),
        ylim=(0, 1.01),
        xlabel="false accept rate",
        ylabel="true accept rate",
        title="ROC",
    )
    axes.grid(alpha=0.3, which="both")
    axes.legend(loc="lower right")
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
