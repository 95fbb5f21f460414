"""Embeddings → numbers, and the callback that measures a model while it trains.

Two protocols are named wherever a number stands: "max" takes the best threshold on the very pairs it is measured on (what
Keras_insightface prints), "10-fold" takes each fold's threshold from the other nine (what papers report).
"""

import dataclasses
import hashlib
import logging
import os

import keras
import numpy as np
from sklearn.metrics import auc, roc_curve

import data
import models
from formats import evalbin, lists

log = logging.getLogger("face")

FARS = (1e-1, 1e-2, 1e-3, 1e-4)


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Images of n pairs, first and second in turn (2n), and which are of one person (n,)."""

    name: str
    images: list
    same: np.ndarray
    sha256: str = ""


def read_pairs(path: str, pairs_file: str | None = None) -> Pairs:
    """`.bin` file, or a folder with a pairs file in it, → Pairs.

    A pairs file (`pairs.txt` or `pairs.csv` in the folder unless given) has lines `first second 0|1` with paths below the
    folder, separated by blanks or commas, or LFW's own `person i j` / `person i other j`.
    """
    path = os.path.expanduser(str(path))
    if os.path.isdir(path):
        return _folder_pairs(path, pairs_file or _find_pairs_file(path))
    if not os.path.exists(path):
        raise FileNotFoundError(f"eval_paths: {path!r} does not exist. Expected a .bin, or a folder with pairs.txt.")
    images, same = evalbin.read_bin(path)
    name = os.path.splitext(os.path.basename(path))[0]
    return Pairs(name, images, same, _sha256(path))


def _find_pairs_file(folder):
    for name in ("pairs.txt", "pairs.csv"):
        if os.path.exists(os.path.join(folder, name)):
            return os.path.join(folder, name)
    raise FileNotFoundError(
        f"{folder} holds no pairs.txt or pairs.csv: lines 'first second 0|1', paths below the folder."
    )


def _folder_pairs(folder, pairs_file):
    first, second, same = lists.read_pairs(pairs_file)
    images = [_read(os.path.join(folder, path)) for pair in zip(first, second, strict=True) for path in pair]
    return Pairs(os.path.basename(os.path.normpath(folder)), images, np.array(same), _sha256(pairs_file))


def _read(path):
    with open(path, "rb") as file:
        return file.read()


def _sha256(path):
    return hashlib.sha256(_read(path)).hexdigest()


# -------------------------------------------------------------------------------------------------------- embeddings


class Embedder:
    """uint8 images → embeddings through one compiled function of one batch shape; the last batch is filled up.

    Keep the object: another one would compile again.
    """

    def __init__(self, model: keras.Model, batch_size: int = 128):
        self.model, self.batch_size = model, batch_size
        self.shape = model.input_shape[1:3]

    def decode(self, images: list) -> np.ndarray:
        """Encoded images or arrays → uint8 (n, H, W, 3) of the model's size; ValueError numbers a damaged one."""
        decoded = []
        for number, image in enumerate(images):
            try:
                decoded.append(data.decode(image, self.shape))
            except ValueError as error:
                raise ValueError(f"evaluation image {number} (pair {number // 2}): {error}") from error
        return np.stack(decoded)

    def __call__(self, images: np.ndarray, flip: bool = True) -> np.ndarray:
        """uint8 (n, H, W, 3) → float32 (n, D); with `flip` the mirrored image's embedding is added."""
        plain = self._run(images)
        return plain + self._run(images[:, :, ::-1]) if flip else plain

    def _run(self, images):
        found = self.model.predict(_Batches(images, self.batch_size, self.model.input_shape[-1]), verbose=0)
        return np.asarray(found)[: len(images)]


class _Batches(keras.utils.PyDataset):
    """Normalised batches of one shape: `predict` compiles once and is called once."""

    def __init__(self, images, size, channels):
        super().__init__()
        self.images, self.size, self.channels = images, size, channels

    def __len__(self):
        return -(-len(self.images) // self.size)

    def __getitem__(self, number):
        batch = np.zeros((self.size, *self.images.shape[1:]), np.float32)
        part = self.images[number * self.size : (number + 1) * self.size]
        batch[: len(part)] = part
        batch = (batch - 127.5) / 128
        return batch if self.channels == 3 else batch.mean(-1, keepdims=True)


def unit(embeddings: np.ndarray) -> np.ndarray:
    """Rows of length 1; rows of zeros stay zeros."""
    return embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-12)


def pair_scores(embeddings: np.ndarray) -> np.ndarray:
    """Embeddings (2n, D), pairs in turn → cosine of each pair (n,)."""
    embeddings = unit(embeddings)
    return np.sum(embeddings[::2] * embeddings[1::2], axis=1)


# ------------------------------------------------------------------------------------------------------------ numbers


def best_threshold(scores: np.ndarray, same: np.ndarray) -> tuple[float, float]:
    """Accuracy at the best of all thresholds, and that threshold ("same" where score > threshold).

    Every cut between two different scores is tried; among equally good ones the middle one is taken.
    """
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], same[order]
    right = np.concatenate([[0], np.cumsum(np.where(hits, 1, -1))]) + np.sum(~same)
    cuts = np.concatenate([[True], ranked[1:] < ranked[:-1], [True]])
    places = np.flatnonzero(cuts & (right == right[cuts].max()))
    place = places[len(places) // 2]
    edges = np.concatenate([[ranked[0] + 1e-3], (ranked[1:] + ranked[:-1]) / 2, [ranked[-1] - 1e-3]])
    return right[place] / len(same), float(edges[place])


def fold_accuracies(scores: np.ndarray, same: np.ndarray, folds: int = 10) -> np.ndarray:
    """Accuracy of each fold at the best threshold of the others; folds are consecutive parts of the list."""
    folds = min(folds, len(same))
    if folds < 2:
        return np.array([best_threshold(scores, same)[0]])
    result = []
    for fold in np.array_split(np.arange(len(same)), folds):
        rest = np.setdiff1d(np.arange(len(same)), fold)
        threshold = best_threshold(scores[rest], same[rest])[1]
        result.append(np.mean((scores[fold] > threshold) == same[fold]))
    return np.array(result)


def tar_at_far(scores: np.ndarray, same: np.ndarray, far: float) -> float:
    """Largest part of the same-pairs accepted while at most `far` of the others are; nan without pairs of both kinds."""
    negatives, positives = np.sort(scores[~same])[::-1], scores[same]
    if len(negatives) == 0 or len(positives) == 0:
        return float("nan")
    allowed = int(np.floor(far * len(negatives) + 1e-9))
    return float(np.mean(positives > negatives[allowed])) if allowed < len(negatives) else 1.0


@dataclasses.dataclass(frozen=True)
class Verification:
    """Result of one set of pairs, with the protocols it was found by."""

    name: str
    pairs: int
    max_accuracy: float
    threshold: float
    accuracy: float
    std: float
    auc: float
    tar: dict
    flip: bool = True
    sha256: str = ""

    def __str__(self):
        tar = ", ".join(f"TAR@FAR={far:g} {value:.4f}" for far, value in self.tar.items())
        return (
            f"{self.name}: 10-fold accuracy {self.accuracy:.4f} ± {self.std:.4f}, max accuracy {self.max_accuracy:.4f} "
            f"(thresh {self.threshold:.4f}), AUC {self.auc:.4f}, {tar} ({self.pairs} pairs)"
        )


def verify(scores: np.ndarray, same: np.ndarray, name: str = "", flip: bool = True, sha256: str = "") -> Verification:
    """Scores (n,) and same (n,) → Verification: max and 10-fold accuracy, AUC, TAR@FAR.

    A rate that the negative pairs cannot resolve (FAR below 1 / negatives) is left out.
    """
    scores, same = np.asarray(scores, np.float64), np.asarray(same, bool)
    top, threshold = best_threshold(scores, same)
    folds = fold_accuracies(scores, same)
    negatives = int(np.sum(~same))
    both = 0 < negatives < len(same)
    area = auc(*roc_curve(same, scores)[:2]) if both else float("nan")
    tar = {far: tar_at_far(scores, same, far) for far in FARS if both and far * negatives >= 1}
    return Verification(name, len(same), top, threshold, folds.mean(), folds.std(), area, tar, flip, sha256)


def evaluate_model(
    model: keras.Model, paths: list[str], batch_size: int = 128, flip: bool = True
) -> list[Verification]:
    """Basic model and evaluation sets → results, in order."""
    embed = Embedder(model, batch_size)
    sets = [read_pairs(path) for path in paths]
    return [verify(pair_scores(embed(embed.decode(s.images), flip)), s.same, s.name, flip, s.sha256) for s in sets]


# ----------------------------------------------------------------------------------------------------------- callback


class eval_callback(keras.callbacks.Callback):
    """Measures `basic_model` on one set after every epoch, and every `eval_freq` batches where that is above 1.

    `logs` receive `{name}` (max accuracy), `{name}_thresh`, `{name}_10fold`, `{name}_auc` and `{name}_tar@…`. With
    `save_model` (a path without suffix, or with `.h5` / `.keras`) the best basic model so far is kept as
    `{stem}_basic_{name}_epoch_{n}_{accuracy}`, the one before it is removed.
    """

    def __init__(
        self, basic_model, test_bin_file, batch_size=128, save_model=None, eval_freq=1, flip=True, PCA_acc=False,
    ):  # fmt: skip
        super().__init__()
        if PCA_acc:
            raise ValueError(
                "eval_callback: PCA_acc is not available during training; 10-fold accuracy is always printed."
            )
        self.pairs = read_pairs(test_bin_file)
        self.basic_model, self.flip, self.eval_freq = basic_model, flip, eval_freq
        self.embed = Embedder(basic_model, min(batch_size, len(self.pairs.images)))
        self.images = self.embed.decode(self.pairs.images)
        self.test_names, self.max_accuracy, self.acc_thresh, self.cur_acc = self.pairs.name, 0.0, 0.0, 0.0
        self.save_model, self.saved, self.result, self.epoch = save_model, None, None, 0

    def evaluate(self) -> Verification:
        """Embed and score now."""
        scores = pair_scores(self.embed(self.images, self.flip))
        self.result = verify(scores, self.pairs.same, self.pairs.name, self.flip, self.pairs.sha256)
        self.cur_acc, self.acc_thresh = self.result.max_accuracy, self.result.threshold
        return self.result

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.eval_freq > 1 and (batch + 1) % self.eval_freq == 0:
            self._measure(f"epoch_{self.epoch + 1}_batch_{batch + 1}")

    def on_epoch_end(self, epoch=0, logs=None):
        result = self._measure(f"epoch_{epoch + 1}")
        if logs is not None:
            logs.update(self.as_logs(result))

    def as_logs(self, result):
        name = result.name
        tar = {f"{name}_tar@{far:g}": value for far, value in result.tar.items()}
        return {
            name: result.max_accuracy,
            f"{name}_thresh": result.threshold,
            f"{name}_10fold": result.accuracy,
            f"{name}_auc": result.auc,
            **tar,
        }

    def _measure(self, when):
        result = self.evaluate()
        print(f"\n>>>> {result}, previous max accuracy: {self.max_accuracy:.6f}")
        if result.max_accuracy > self.max_accuracy:
            print(f">>>> Improved = {result.max_accuracy - self.max_accuracy:.6f}")
            self.max_accuracy = result.max_accuracy
            if self.save_model:
                self._keep(when)
        return result

    def _keep(self, when):
        stem, suffix = os.path.splitext(self.save_model)
        suffix = suffix if suffix in (".h5", ".keras") else ".keras"
        path = f"{stem}_basic_{self.test_names}_{when}_{self.max_accuracy:.6f}{suffix}"
        models.save(self.basic_model, path)
        if self.saved and self.saved != path and os.path.exists(self.saved):
            os.remove(self.saved)
        self.saved = path

    def get_state(self):
        """For the checkpoint."""
        return {"max_accuracy": float(self.max_accuracy), "saved": self.saved}

    def set_state(self, state):
        self.max_accuracy, self.saved = state["max_accuracy"], state["saved"]
