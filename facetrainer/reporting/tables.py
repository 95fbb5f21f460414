"""What a run ends with: a table, curves, ROC, and a picture of embeddings."""

import os

import keras
import numpy as np
import pandas as pd

from facetrainer import distributed
from facetrainer.data.sources import open_source
from facetrainer.evaluation.callback import eval_callback
from facetrainer.evaluation.embedder import Embedder
from facetrainer.evaluation.verification import Verification
from facetrainer.heads import NormDense
from facetrainer.metrics.verification import pair_scores
from facetrainer.reporting import plots as plot

WIDTH = 110  # of a table


def history_frame(history: dict[str, list]) -> pd.DataFrame:
    """One row an epoch: loss, accuracy, rate, and both protocols of every evaluation set."""
    shown = [k for k in history if not k.endswith(("_thresh", "_auc")) and "_tar@" not in k and k != "regular_loss"]
    table = pd.DataFrame({k: pd.Series(history[k], dtype=float) for k in shown})
    table.insert(0, "epoch", np.arange(1, len(table) + 1))
    return table


def history_table(history: dict[str, list]) -> str:
    """`history_frame` as text, as many of its columns as fit a line: evaluation sets before the terms of a loss."""
    table = history_frame(history)
    sets = [name for name in table if f"{name}_10fold" in table or name.endswith("_10fold")]
    first = [name for name in ("epoch", "loss", "accuracy", "lr", *sets, "target_cosine") if name in table]
    order, shown = [*first, *(name for name in table if name not in first)], ""
    for count in range(len(first), len(order) + 1):
        text = table[order[:count]].to_string(index=False, na_rep="–", float_format=lambda v: f"{v:.4g}")
        if shown and len(text.split("\n", 1)[0]) > WIDTH:
            break
        shown = text
    return shown


def accuracy_table(rows: list[tuple[str, Verification]]) -> str:
    """(what, result) → a table with the protocols named."""
    return pd.DataFrame(
        {
            "model": what,
            "set": r.name,
            "10-fold": f"{r.accuracy:.4f} ± {r.std:.4f}",
            "max": f"{r.max_accuracy:.4f}",
            "AUC": f"{r.auc:.4f}",
            **{f"TAR@FAR={far:g}": f"{value:.4f}" for far, value in r.tar.items()},
            "pairs": r.pairs,
        }
        for what, r in rows
    ).to_string(index=False)


def pictures(trainer, untrained: dict | None = None, people: int = 12) -> list[str]:
    """History, ROC and embeddings of a finished `Train` as PNG beside its checkpoint → paths."""
    paths = [f"{trainer.stem}_{name}.png" for name in ("history", "roc", "embeddings")]
    plot.history(trainer.my_history.history, paths[0])
    curves = {e.test_names: (scores(e), e.pairs.same, e.pairs.people) for e in trainer.my_evals}
    before = {f"{name}, untrained": curve for name, curve in (untrained or {}).items()}
    if curves:
        plot.roc({**curves, **before}, paths[1])
    if trainer.basic_model.output_shape[-1] == 2:
        vectors, names, title = some_people(trainer, people, 200)
        plot.rings({f"embeddings, {title}": (vectors, names, _centers(trainer.head))}, paths[2])
    else:
        vectors, names, title = some_people(trainer, people)
        plot.embeddings(vectors, names, paths[2], f"t-SNE of embeddings, {title}")
    return [path for path in paths if os.path.exists(path)]


def scores(callback: eval_callback) -> np.ndarray:
    """Cosine of every pair of an evaluation callback's set, by its model as it is now."""
    return pair_scores(callback.embed(callback.images, callback.flip))


def _centers(head):
    """Of the classes, or None: the columns of a softmax head point there too."""
    if isinstance(head, NormDense):
        return keras.ops.convert_to_numpy(head.centers())[:, 0]
    return None if head is None else distributed.value_of(head.kernel).T


def some_people(trainer, count, images=20):
    """Embeddings and names of people with many images: held-out ones where an evaluation set is a folder."""
    held_out = [path for path in trainer.eval_paths if os.path.isdir(path)]
    source = open_source(held_out[0]) if held_out else trainer.source
    often = np.argsort(-np.bincount(source.labels), kind="stable")[:count]
    chosen = np.concatenate([np.flatnonzero(source.labels == person)[:images] for person in often])
    embed = Embedder(trainer.basic_model, 64)
    mirrored = trainer.basic_model.output_shape[-1] > 2  # on a plane every image as it is
    vectors = embed(embed.decode([source.read(int(i)) for i in chosen]), flip=mirrored)
    kind = "people never trained on" if held_out else "people of the training set"
    return vectors, [source.class_names[source.labels[i]] for i in chosen], kind
