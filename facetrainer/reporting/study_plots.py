"""Pictures of a study, from its report alone: error rates, discarding, groups, evidence.

Every function returns a figure and writes it to `path` if given.
"""

import numpy as np
from matplotlib.figure import Figure

from facetrainer.reporting.plots import text
from facetrainer.utils.files import replacing

MOST = 40  # groups in a picture
STYLES = ("-", "--", ":", "-.")


def _panel(width=6.0, height=4.2):
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def _done(figure, path):
    if path:
        with replacing(path) as part:
            figure.savefig(part, dpi=120, bbox_inches="tight")
    return figure


def _style(number):
    return {"color": f"C{number % 10}", "linestyle": STYLES[number // 10 % 4]}


def errors(curves: dict[str, dict], path: str | None = None, title: str = "") -> Figure:
    """{name: {"FMR": (k,), "FNMR": (k,), "EER": rate}} → FNMR over FMR on logarithmic axes."""
    figure, axes = _panel()
    for number, (name, one) in enumerate(curves.items()):
        fmr, fnmr = np.array(one["FMR"]), np.array(one["FNMR"])
        axes.plot(fmr, np.maximum(fnmr, 1e-6), label=f"{text(name)}, EER {one['EER']:.4f}", **_style(number))
    least = min(np.min(np.array(one["FNMR"])[np.array(one["FNMR"]) > 0], initial=1.0) for one in curves.values())
    begin = min(min(one["FMR"]) for one in curves.values())
    axes.plot([begin, 1], [begin, 1], color="grey", linewidth=0.8, linestyle=":")
    axes.set(xscale="log", yscale="log", xlim=(begin, 1), ylim=(least / 1.5, 1), xlabel="false match rate (FMR)",
             ylabel="false non-match rate (FNMR)", title=text(title))  # fmt: skip
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize="small")
    return _done(figure, path)


def discard(curves: dict[str, dict], path: str | None = None, title: str = "", most: float = 0.5) -> Figure:
    """{quality: what `evaluation.study.discarded` gives} → error-versus-discard curves, with a quality that knows the errors."""
    figure, axes = _panel()
    first = 0.0
    for number, (name, one) in enumerate(curves.items()):
        gone, left = np.append(one["discarded"], 1.0), np.append(one["FNMR"], one["FNMR"][-1])
        axes.step(gone, left, where="post", label=f"{text(name)}, area {one['area']:.4f}", **_style(number))
        first = max(first, one["FNMR"][0])
    places = np.linspace(0, min(first, 0.999), 50)
    perfect = np.append((first - places) / (1 - places), 0)
    axes.plot(np.append(places, 1), perfect, color="grey", linewidth=0.8, linestyle=":", label="all errors first")
    axes.axhline(first, color="grey", linewidth=0.8, label="by chance")
    axes.set(xlim=(0, most), ylim=(0, max(first * 1.3, 1e-3)), title=text(title))
    axes.set(xlabel="part of the pairs discarded for low quality", ylabel="false non-match rate (FNMR)")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    return _done(figure, path)


def groups(found: dict[str, dict], path: str | None = None, title: str = "") -> Figure:
    """{group: rates at one threshold, see `metrics.matching.AtThreshold`} → both error rates of the first 40 groups."""
    found = dict(list(found.items())[:MOST])
    figure = Figure(figsize=(9, 1.3 + 0.35 * len(found)), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    names = list(found)[::-1]
    for axes, rate in zip(panels, ("fmr", "fnmr"), strict=True):
        values = np.array([found[name][rate] for name in names])
        ends = np.array([found[name][f"{rate}_95"] for name in names])
        axes.errorbar(values, range(len(names)), xerr=np.abs(ends.T - values), fmt="o", capsize=3)
        axes.axvline(values.mean(), color="grey", linewidth=0.8, linestyle=":")
        axes.set(
            xlabel=f"{rate.upper()}, 95 % over people",
            yticks=range(len(names)),
            yticklabels=[text(name) for name in names],
        )
        axes.grid(alpha=0.3)
        axes.margins(y=0.25)
        axes.set_xlim(left=0)
    figure.suptitle(text(title), fontsize="medium")
    return _done(figure, path)


def pareto(models: dict[str, tuple[float, float, float]], path: str | None = None, title: str = "") -> Figure:
    """{name: (milliseconds an image, megabytes, accuracy)} → accuracy over time, areas are sizes; a line through what nothing betters."""
    figure, axes = _panel()
    for number, (name, (ms, megabytes, accuracy)) in enumerate(models.items()):
        axes.scatter(
            ms,
            accuracy,
            s=20 + 20 * megabytes**0.5,
            alpha=0.7,
            color=f"C{number % 10}",
            label=f"{text(name)}, {megabytes:.1f} MB",
        )
    front, best = [], -1.0
    for ms, _, accuracy in sorted(models.values(), key=lambda one: (one[0], -one[2])):
        if accuracy > best:
            front.append((ms, accuracy))
            best = accuracy
    axes.step(*zip(*front, strict=True), where="post", color="grey", linewidth=0.8, linestyle=":")
    axes.set(xscale="log", xlabel="milliseconds an image, one at a time", ylabel="10-fold accuracy", title=text(title))
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize="small")
    return _done(figure, path)


def tippett(curves: dict[str, dict], path: str | None = None, title: str = "") -> Figure:
    """{name: {"log10 LR": (k,), "one person": (k,), "two people": (k,)}} → parts of the pairs with a ratio above each value."""
    figure, axes = _panel()
    for number, (name, one) in enumerate(curves.items()):
        color = f"C{number % 10}"
        axes.plot(one["log10 LR"], one["one person"], color=color, label=f"{text(name)}, one person")
        axes.plot(one["log10 LR"], one["two people"], color=color, linestyle="--", label=f"{text(name)}, two people")
    axes.axvline(0, color="grey", linewidth=0.8)
    axes.set(
        xlabel="log10 of the likelihood ratio", ylabel="part of the pairs above", ylim=(0, 1.01), title=text(title)
    )
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    return _done(figure, path)
