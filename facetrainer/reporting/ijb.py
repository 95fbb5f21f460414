"""Scores of IJB → tables and pictures; with `IJB_test`, what `import IJB_evals` gives."""

import os

import numpy as np
import pandas as pd

from facetrainer.evaluation.ijb import IJB_test
from facetrainer.io import cached, ijb
from facetrainer.metrics.roc import Roc
from facetrainer.metrics.verification import FARS
from facetrainer.reporting import plots as plot

__all__ = ["IJB_test", "plot_dir_far_cmc_scores", "plot_roc_and_calculate_tpr"]


def plot_roc_and_calculate_tpr(scores, names=None, label=None, path=None):
    """Scores of pairs, a list or files of `-R` → (table of TAR at FAR, figure).

    The table has a row a score, a column a rate, and AUC; N0 and N1 stand with InsightFace's name beside.

    Returns:
        DataFrame and matplotlib figure.
    """
    named = _named_scores(scores, names, label)
    rows, drawn = {}, {}
    for name, (one, same) in named.items():
        curve = Roc(one, same)
        drawn[name] = _Corners(curve.points(), curve.auc)
        rates = {
            f"{far:g}": curve.tar_nearest(far) if far * len(curve.negatives) >= 1 else np.nan for far in FARS[::-1]
        }
        rows[name] = {"InsightFace": _their_name(name), **rates, "AUC": curve.auc}
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("TAR at FAR")
    return table, plot.roc(drawn, path, least=1e-6)


class _Corners:
    """What a picture takes of a curve, without its millions of scores."""

    def __init__(self, corners, auc):
        self.corners, self.auc = corners, auc

    def points(self):
        return self.corners


def _their_name(name):
    """InsightFace's script counts N the other way round."""
    swapped = {"N0D": "N1D", "N1D": "N0D"}
    return next((name[name.index(n) :].replace(n, other) for n, other in swapped.items() if n in name), "")


def _named_scores(scores, names, label):
    if isinstance(scores, (list, tuple)) and scores and isinstance(scores[0], str):
        return _from_files(scores, label)
    scores = [scores] if isinstance(scores, np.ndarray) and scores.ndim == 1 else list(scores)
    names = names or [f"result {k}" for k in range(len(scores))]
    return {name: (one, np.asarray(label, bool)) for name, one in zip(names, scores, strict=True)}


def _from_files(paths, label):
    """npz of `-R -L`; .npy of scores, with labels from IJB's template_pair_label.txt among the paths, or `label`."""
    texts = [path for path in paths if path.endswith(".txt")]
    if len(texts) > 1:
        raise ValueError(f"expected one file of labels. Received: {', '.join(texts)}")
    label = ijb.read_pairs(texts[0])[2] if texts else label
    found = {}
    for path in (path for path in paths if path not in texts):
        found |= _of_scores(path, label) if path.endswith(".npy") else _from_file(path, label)
    if not found:
        raise ValueError(f"{texts[0]} holds labels. Give files of scores too: .npy or .npz.")
    return found


def _of_scores(path, label):
    scores = cached.read_npy(path)
    if label is None or scores.shape != np.shape(label):
        raise ValueError(
            f"{path}: expected {'one score a label' if label is not None else 'labels beside: give IJB_template_pair_label.txt'}. "
            f"Received: scores {scores.shape}, labels {np.shape(label)}"
        )
    return {os.path.splitext(os.path.basename(path))[0]: (scores, np.asarray(label, bool))}


def _from_file(path, label):
    found = cached.read_npz(path)
    label = found.get("label", label)
    if not {"scores", "names"} <= set(found) or label is None:
        raise ValueError(
            f"{path}: expected scores, names and label (written with -L), or labels beside. Received: {sorted(found)}"
        )
    stem, same = os.path.splitext(os.path.basename(path))[0], np.asarray(label, bool)
    return {f"{stem} {name}": (one, same) for name, one in zip(found["names"], found["scores"], strict=True)}


def plot_dir_far_cmc_scores(scores, names=None, path=None):
    """Results of `run_model_test_1N`, a list → (table of DIR at FAR and ranks, figure)."""
    names = names or [f"result {k}" for k in range(len(scores))]
    rows = {
        name: {**{f"DIR@FAR={far:g}": float(np.interp(far, one[0], one[1])) for far in (0.001, 0.01, 0.1)},
               **{f"gallery {g} top-{k}": float(cmc[k - 1]) for g, cmc in enumerate(one[2:], 1) for k in (1, 5, 10)}}
        for name, one in zip(names, scores, strict=True)
    }  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index"), plot.identification(
        dict(zip(names, scores, strict=True)), path
    )
