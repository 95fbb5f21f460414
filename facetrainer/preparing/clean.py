"""Cleaning by sub-centers: images that do not lie near their person's main center are left out.

tt.train([{"loss": losses.ArcfaceLoss(scale=16), "epoch": 5, "lossTopK": 3}])
clean = data_drop_top_k.data_drop_top_k(tt.model, tt.data_path)
python data_drop_top_k.py -M checkpoints/run.keras -D /datasets/faces_casia
"""

import logging
import os

import keras
import numpy as np
import pandas as pd

from facetrainer import models
from facetrainer.data import sources
from facetrainer.evaluation.embedder import Embedder

log = logging.getLogger("facetrainer")


def data_drop_top_k(model, data_path, dest_file=None, deg_thresh=75, limit=0, batch_size=256, trusted=False) -> str:
    """Full model (object or file) with sub-centers, and the data it was trained on → npz of what is kept.

    The sub-center nearest to most of a person's images is theirs; images farther from it than `deg_thresh` degrees go.
    Deng et al., ECCV 2020, section 3.4. `limit` > 0: the first so many people. Beside the npz a .csv names every image left
    out and its angle. `trusted`: see `models.load`.

    Returns:
        Path of the npz.
    """
    model = models.load(model, compile=False, trusted=trusted) if isinstance(model, str) else model
    basic_model, head = models.split(model)
    source = sources.open_source(data_path)
    _check(head, source)
    people = min(limit, head.units) if limit > 0 else head.units
    indices = np.flatnonzero(source.labels < people)
    embeddings = np.concatenate(list(Embedder(basic_model, batch_size).of_source(source, indices)))
    angles = angles_to_main(embeddings, source.labels[indices], keras.ops.convert_to_numpy(head.centers()))
    kept = angles <= deg_thresh
    dest = (
        dest_file or f"{os.path.splitext(os.path.basename(os.path.abspath(str(data_path))))[0]}_topk_{deg_thresh:g}.npz"
    )
    sources.write_list(dest, source, indices[kept])
    _report(dest, source, indices[~kept], angles[~kept])
    log.info("%s: %d images kept, %d left out", dest, kept.sum(), (~kept).sum())
    return dest


def angles_to_main(embeddings: np.ndarray, labels: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """(n, D), (n,), (C, K, D) → degrees to the main sub-center of each image's person; 180 where there is no embedding."""
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    centers = centers / np.maximum(np.linalg.norm(centers, axis=2, keepdims=True), 1e-12)
    cosine = np.einsum("nd,nkd->nk", unit, centers[labels])
    seen = np.isfinite(cosine).all(axis=1)
    votes = np.zeros(centers.shape[:2])
    np.add.at(votes, (labels[seen], cosine[seen].argmax(axis=1)), 1)
    np.add.at(votes, labels[seen], 1e-6 * cosine[seen])  # of equally many, the one that lies nearer
    main = cosine[np.arange(len(labels)), votes.argmax(axis=1)[labels]]
    return np.where(seen, np.degrees(np.arccos(np.clip(main, -1, 1))), 180.0)


def _check(head, source):
    if not isinstance(head, models.NormDense):
        raise ValueError(
            "the model has no cosine head: expected the full model of a stage with lossTopK, as checkpoints/run.keras, "
            "not a basic model."
        )
    if head.units != len(source.class_names):
        raise ValueError(
            f"the model has {head.units} people, the data {len(source.class_names)}: give the data it was trained on."
        )


def _report(dest, source, dropped, angles):
    table = {"image": [source.name(int(i)) for i in dropped],
             "person": [source.class_names[source.labels[i]] for i in dropped], "degrees": angles.round(1)}  # fmt: skip
    pd.DataFrame(table).to_csv(os.path.splitext(dest)[0] + "_dropped.csv", index=False)
