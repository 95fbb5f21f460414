"""ROC of a folder's scores; with `Eval_folder`, what `import eval_folder` gives."""

import numpy as np

from facetrainer.evaluation.folder import Eval_folder, People
from facetrainer.reporting import plots as plot

__all__ = ["Eval_folder", "People", "plot_tpr_far"]

_curves: dict[str, tuple] = {}


def plot_tpr_far(score, label, new_figure=True, label_prefix="", path=None):
    """Scores and which are same, as `do_evaluation` gives them, → figure; without `new_figure` beside the curves of the calls before."""
    if new_figure:
        _curves.clear()
    _curves[label_prefix or f"result {len(_curves) + 1}"] = (np.asarray(score), np.asarray(label, bool))
    return plot.roc(dict(_curves), path, title="own person's mean against the nearest stranger's")
