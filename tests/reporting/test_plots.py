import json
import os

import numpy as np
import pytest

from facetrainer.reporting import plots as plot


def history(epochs=5, best=3, name="lfw"):
    """A run whose accuracy is best in epoch `best`."""
    values = [0.9 - 0.01 * abs(epoch - best) for epoch in range(1, epochs + 1)]
    found = {
        "loss": np.linspace(9, 1, epochs).tolist(),
        "accuracy": np.linspace(0, 0.5, epochs).tolist(),
        "lr": [0.1] * epochs,
    }
    thresholds = {f"{one}_thresh": [0.3] * epochs for one in (name, "agedb_30")}
    return {**found, name: values, "agedb_30": [v - 0.1 for v in values], **thresholds}


def test_stages_join_on(tmp_path):
    values = history(5)
    axes, last = plot.hist_plot_split(values, [2, 2], names=["a", "b", "rest"], save=str(tmp_path / "h.png"))
    assert [panel.get_title() for panel in axes] == ["loss", "accuracy", "lfw", "agedb_30", "lr"]
    np.testing.assert_allclose(axes[0].lines[0].get_ydata(), values["loss"])
    assert last["loss"] == (5, 1.0) and [text.get_text() for text in axes[0].texts] == [" a", " b", " rest"]
    again, last = plot.hist_plot_split(history(3), [3], axes=axes, init_epoch=5, pre_item=last, fig_label="next")
    assert again[0].lines[-1].get_xdata().tolist() == [5, 6, 7, 8] and last["loss"][0] == 8
    assert os.path.getsize(tmp_path / "h.png") > 10_000
    together, _ = plot.hist_plot_split(values, eval_split=False)
    assert together[2].get_title() == "lfw, agedb_30"
    skipped, _ = plot.hist_plot_split(values, [2, 3], skip_epochs=2)
    assert skipped[0].lines[0].get_xdata().tolist() == [3, 4, 5]
    some, _ = plot.hist_plot_split(
        values, customs=["cfp_fp", "lfw", "lr"]
    )  # a set that this history has not is left out
    assert [panel.get_title() for panel in some] == ["loss", "accuracy", "lfw", "lr"]


def test_losses_beyond_a_limit_are_left_out():
    axes, _ = plot.hist_plot([[1e12, 2.0]], [[0.1, 0.2]], {"lr": [0.1, 0.1]}, limit_loss_max=100)
    assert np.isnan(axes[0].lines[0].get_ydata()[0]) and axes[0].lines[0].get_ydata()[1] == 2.0


def test_histories_from_files_and_choose_accuracy(tmp_path, capsys):
    paths = []
    for best in (2, 4):
        paths.append(str(tmp_path / f"run_{best}_hist.json"))
        json.dump(history(5, best), open(paths[-1], "w"))
    axes, last = plot.hist_plot_split(paths, [5, 5])
    assert len(axes[0].lines[0].get_ydata()) == 10
    by_metric, each, by_sum = plot.choose_accuracy(paths, skip_name_len=4)
    assert by_metric["2_hist"]["epoch"] == by_sum["2_hist"]["epoch"] == 2 and by_metric["4_hist"]["lfw"] == 0.9
    assert each["4_hist"] == {"lfw": 0.9, "agedb_30": 0.8}
    printed = capsys.readouterr().out
    assert all(title in printed for title in ("best agedb_30", "best of each", "best sum", "last epoch"))
    json.dump({"loss": [1.0]}, open(tmp_path / "bare_hist.json", "w"))
    other = plot.choose_accuracy([*paths, str(tmp_path / "bare_hist.json")], metric_key="IJBC", sort_metric=True)[0]
    assert other["run_2_hist"] == {"lfw": 0.9, "agedb_30": 0.8, "epoch": 2, "best of": "agedb_30"}
    assert "bare_hist: no evaluation set" in capsys.readouterr().out and "bare_hist" not in other


def test_names_are_text(tmp_path):
    """A set called a$b$ broke the picture at the end of a run; one called _x was missing from the legend."""
    names = ["a$b$", "_x", "$\\frac{1}", "plain"]
    rng, same = np.random.default_rng(0), np.arange(60) % 2 == 0
    curves = {name: (rng.normal(size=60) + same, same) for name in names}
    history = {
        "loss": [2.0, 1.0],
        **{name: [0.5, 0.6] for name in names},
        **{f"{name}_thresh": [0.1, 0.2] for name in names},
    }
    figures = [
        plot.roc(curves, str(tmp_path / "a.png")), plot.det(curves, str(tmp_path / "b.png")),
        plot.history(history, str(tmp_path / "c.png")),
        plot.embeddings(rng.normal(size=(40, 8)), [names[k % 4] for k in range(40)], str(tmp_path / "d.png"), "a$b$"),
    ]  # fmt: skip
    for figure in figures:
        shown = [text.get_text() for axes in figure.axes if axes.get_legend() for text in axes.get_legend().get_texts()]
        assert sum("x" in text for text in shown) >= 1 and sum("b\\$" in text for text in shown) >= 1, shown


def test_axes_of_a_roc_begin_where_data_are():
    rng, same = np.random.default_rng(0), np.arange(2000) % 2 == 0
    scores = rng.normal(size=2000) + 5 * same
    (axes,) = plot.roc({"set": (scores, same, np.stack([np.arange(2000)] * 2))}).axes
    assert axes.get_xlim()[0] == pytest.approx(1e-3) and 0.5 < axes.get_ylim()[0] < 0.99
    assert axes.collections, "a band over people"
    (axes,) = plot.roc({"set": (scores, same)}).axes
    assert not axes.collections
