"""What `import plot` had besides curves."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

PALETTES = {
    "deep": "#4C72B0 #DD8452 #55A868 #C44E52 #8172B3 #937860 #DA8BC3 #8C8C8C #CCB974 #64B5CD",
    "colorblind": "#0173B2 #DE8F05 #029E73 #D55E00 #CC78BC #CA9161 #FBAFE4 #949494 #ECE133 #56B4E9",
}


def set_colors(max_color, palette="deep"):
    """The colours of lines that are drawn from now on.

    Args:
        max_color: How many before they begin again.
        palette: "deep" or "colorblind", or a Matplotlib colour map. Defaults to `"deep"`.

    Returns:
        The colours.
    """
    if palette in PALETTES:
        names = PALETTES[palette].split()
        colors = [names[k % len(names)] for k in range(max_color)]
    else:
        colors = [mpl.colors.to_hex(c) for c in mpl.colormaps[palette](np.linspace(0, 1, max_color))]
    plt.rcParams["axes.prop_cycle"] = mpl.cycler(color=colors)
    return colors


def set_scale(scale):
    """Size of text and lines of figures that are drawn from now on, as a part of Matplotlib's own.

    Args:
        scale: 1 leaves them as they are.
    """
    for name in ("font.size", "lines.linewidth", "lines.markersize", "axes.linewidth"):
        plt.rcParams[name] = mpl.rcParamsDefault[name] * scale


def peak_scatter(ax, array, peak_method, color="r", init_epoch=0):
    """Marks the peak of each stage.

    Args:
        ax: Axes.
        array: Lists of values, one a stage.
        peak_method: `np.argmax` or `np.argmin`.
        color: Of the marks. Defaults to `"r"`.
        init_epoch: Epochs before the first value. Defaults to `0`.
    """
    begin = init_epoch + 1
    for stage in array:
        place = int(peak_method(stage))
        ax.scatter(begin + place, stage[place], color=color, marker="v")
        ax.annotate(f"{stage[place]:.4f}", (begin + place, stage[place]), ha="center", va="bottom", fontsize="x-small")
        begin += len(stage)


def arrays_plot(ax, arrays, color=None, label=None, init_epoch=0, pre_value=0):
    """Stages one behind another as one line.

    Args:
        ax: Axes.
        arrays: Lists of values, one a stage.
        color: Of the line.
        label: Of the line.
        init_epoch: Epochs before the first value. Defaults to `0`.
        pre_value: Value that the line comes from; 0 is none. Defaults to `0`.
    """
    values = [*([pre_value] if pre_value else []), *(value for stage in arrays for value in stage)]
    first = init_epoch + (0 if pre_value else 1)
    ax.plot(range(first, first + len(values)), values, color=color, label=label)
