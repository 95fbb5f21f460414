"""Pictures of results."""

import os

import numpy as np
from helpers import random_pairs

from facetrainer import evaluation as evals
from facetrainer.reporting import plots as plot


def test_pictures(workdir):
    embeddings, same = random_pairs(0)
    scores = evals.pair_scores(embeddings)
    plot.roc({"a": (scores, same)}, "roc.png")
    plot.det({"a": (scores, same)}, "det.png")
    plot.scores(scores, same, 0.3, "scores.svg")
    plot.rates({"cosine": lambda epoch: 0.1 / (1 + epoch)}, 10, "rates.png")
    plot.identification({"a": (np.array([0.01, 0.1, 1]), np.array([0.5, 0.8, 0.9]), np.array([0.7, 0.9]))}, "cmc.png")
    plot.embeddings(embeddings[:60], [f"p{k // 6}" for k in range(60)], "three.png", dimensions=3)
    assert all(os.path.getsize(name) > 3000 for name in os.listdir())
