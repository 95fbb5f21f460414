"""Embeddings → numbers, and the callback that measures a model while it trains.

Two protocols are named wherever a number stands: "max" takes the best threshold on the very pairs it is measured on (what
Keras_insightface prints), "10-fold" takes each fold's threshold from the other nine (what papers report).
"""

import argparse
import dataclasses
import hashlib
import json
import logging
import os

import keras
import numpy as np
from sklearn.decomposition import PCA

import data
import models
from formats import evalbin, lists
from formats.images import normalised
from measures import calibration
from measures.calibration import calibrate
from measures.quality import error_versus_reject
from measures.roc import Roc
from measures.verification import (
    FARS,
    best_threshold,
    bootstrap,
    calculate_accuracy,
    calculate_roc,
    calculate_val,
    calculate_val_far,
    evaluate,
    fold_accuracies,
    fold_correct,
    fold_table,
    mcnemar,
    pair_scores,
    unit,
)
from runs import cli

log = logging.getLogger("face")

__all__ = [
    "Embedder", "Pairs", "Roc", "Verification", "best_threshold", "bootstrap", "calculate_accuracy", "calculate_roc", "calculate_val",
    "calculate_val_far", "calibrate", "eval_callback", "evaluate", "evaluate_model", "fold_accuracies", "fold_correct", "fold_table",
    "mcnemar", "pair_scores", "read_pairs", "scores_of", "unit", "verify",
]  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Images of n pairs, first and second in turn (2n), and which are of one person (n,)."""

    name: str
    images: list
    same: np.ndarray
    sha256: str = ""


def read_pairs(path: str, pairs_file: str | None = None) -> Pairs:
    """`.bin` file, a folder with a pairs file in it, or a pairs file, → Pairs.

    A pairs file (`pairs.txt` or `pairs.csv` in the folder unless given) has lines `first second 0|1` with paths below the
    folder, separated by blanks or commas, or LFW's own `person i j` / `person i other j`.
    """
    path = os.path.expanduser(str(path))
    if os.path.isdir(path):
        return _folder_pairs(path, pairs_file or _find_pairs_file(path))
    if not os.path.exists(path):
        raise FileNotFoundError(f"eval_paths: {path!r} does not exist. Expected a .bin, or a folder with pairs.txt.")
    if path.endswith((".csv", ".txt")):
        return _folder_pairs(os.path.dirname(path), path)
    images, same = evalbin.read_bin(path)
    name = os.path.splitext(os.path.basename(path))[0]
    return Pairs(name, images, same, sha256_of(path))


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
    return Pairs(os.path.basename(os.path.abspath(folder)), images, np.array(same), sha256_of(pairs_file))


def _read(path):
    with open(path, "rb") as file:
        return file.read()


def sha256_of(path: str) -> str:
    """Of a file's bytes."""
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
        found = self.model.predict(_Batches(images, self.batch_size, self.model.inputs[0]), verbose=0)
        return np.asarray(found)[: len(images)]


class _Batches(keras.utils.PyDataset):
    """Batches of one shape, normalised unless the model does it inside: `predict` compiles once and is called once."""

    def __init__(self, images, size, wanted):
        super().__init__()
        self.images, self.size, self.channels, self.raw = images, size, wanted.shape[-1], wanted.dtype == "uint8"

    def __len__(self):
        return -(-len(self.images) // self.size)

    def __getitem__(self, number):
        batch = np.zeros((self.size, *self.images.shape[1:]), np.float32)
        part = self.images[number * self.size : (number + 1) * self.size]
        batch[: len(part)] = part
        batch = batch.astype(np.uint8) if self.raw else normalised(batch)
        return batch if self.channels == 3 else batch.mean(-1, keepdims=True)


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
    eer: float
    tar: dict
    flip: bool | str = True
    sha256: str = ""

    def __str__(self):
        tar = ", ".join(f"TAR@FAR={far:g} {value:.4f}" for far, value in self.tar.items())
        return (
            f"{self.name}: 10-fold accuracy {self.accuracy:.4f} ± {self.std:.4f}, max accuracy {self.max_accuracy:.4f} "
            f"(thresh {self.threshold:.4f}), AUC {self.auc:.4f}, EER {self.eer:.4f}, {tar} ({self.pairs} pairs)"
        )

    def protocol(self) -> dict:
        """What the numbers rest on, for a report."""
        return {
            "set": self.name, "sha256": self.sha256, "pairs": self.pairs, "input": "RGB, (x - 127.5) / 128", "score": "cosine",
            "mirrored": {"": "no", False: "no", "concat": "embedding set behind"}.get(self.flip, "embedding added"),
            "10-fold": "each fold at the best threshold of the other nine, consecutive folds; ± standard deviation over folds",
            "max": "the best threshold on the pairs themselves",
        }  # fmt: skip


def verify(
    scores: np.ndarray, same: np.ndarray, name: str = "", flip: bool | str = True, sha256: str = ""
) -> Verification:
    """Scores (n,) and same (n,) → Verification: max and 10-fold accuracy, AUC, EER, TAR@FAR.

    A rate that the negative pairs cannot resolve (FAR below 1 / negatives) is left out. Where a score is not finite every number is nan.
    """
    scores, same = np.asarray(scores, np.float64), np.asarray(same, bool)
    if not np.isfinite(scores).all():
        log.warning(
            "%s: %d of %d scores are not finite: the model gives nan", name, np.sum(~np.isfinite(scores)), len(scores)
        )
        return Verification(name, len(same), *[float("nan")] * 6, {}, flip, sha256)
    curve = Roc(scores, same)
    top, threshold = best_threshold(scores, same)
    folds = fold_accuracies(scores, same)
    tar = {far: curve.tar(far) for far in FARS if curve.both and far * len(curve.negatives) >= 1}
    eer = curve.eer if curve.both else float("nan")
    return Verification(name, len(same), top, threshold, folds.mean(), folds.std(), curve.auc, eer, tar, flip, sha256)


def scores_of(embeddings: np.ndarray, pca: int = 0, centre: bool = False) -> np.ndarray:
    """Embeddings (2n, D), pairs in turn → cosines (n,), after `pca` > 0 principal components or subtraction of the mean.

    Both are learnt on these very embeddings: name it where you print the number. `evaluate(pca=)` learns on the other folds.
    """
    embeddings = unit(embeddings)
    embeddings = (
        PCA(pca).fit_transform(embeddings) if pca else embeddings - embeddings.mean(axis=0) if centre else embeddings
    )
    return pair_scores(embeddings)


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


# ------------------------------------------------------------------------------------------------------------ command


def parser() -> argparse.ArgumentParser:
    main = argparse.ArgumentParser(
        "evals.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    main.add_argument(
        "-m", "--basic_model", required=True, help="model file: .keras, .h5, .onnx, .pt, .tflite, SavedModel folder"
    )
    main.add_argument("-b", "--batch_size", type=int, default=128)
    main.add_argument(
        "-t", "--test_bin_files", nargs="+", required=True, help=".bin files, or folders with pairs.txt or pairs.csv"
    )
    main.add_argument("-F", "--no_flip", action="store_true", help="the image alone, without its mirror image")
    main.add_argument(
        "--flip", choices=("sum", "concat"), default="sum", help="what becomes of the mirror image's embedding"
    )
    main.add_argument("--centre", action="store_true", help="subtract the mean embedding of the set first")
    main.add_argument("-p", "--pca_acc", type=int, nargs="?", const=128, default=0, metavar="N",
                      help="accuracy after N principal components, learnt on the other folds, as well")  # fmt: skip
    main.add_argument("--folds", action="store_true", help="a table of the ten folds")
    main.add_argument("--bootstrap", type=int, default=0, metavar="DRAWS", help="95 %% intervals")
    main.add_argument("--compare", metavar="MODEL", help="another model on the same pairs: McNemar's test")
    main.add_argument("--calibrate", action="store_true", help="write MODEL_thresholds.json, from all sets together")
    main.add_argument(
        "--reject", metavar="PNG", help="error-versus-reject curve of the embedding's length as quality of an image"
    )
    main.add_argument("--json", metavar="FILE", help="every number, with its protocol")
    return main


def main(argv: list[str] | None = None) -> int:
    """Exit code 0 when the results are printed, 2 for a wrong call."""
    return cli.call(parser(), _run, argv)


def _run(a):
    results = [_evaluated(a, pairs) for pairs in map(read_pairs, a.test_bin_files)]
    if a.calibrate:
        scores, same = (np.concatenate([one[key] for one in results]) for key in ("scores", "same"))
        about = {"model": a.basic_model, "sets": [one["protocol"] for one in results]}
        print(calibration.write(a.basic_model, calibrate(scores, same, **about)))
    if a.json:
        with open(a.json, "w", encoding="utf-8") as file:
            json.dump(
                [{key: value for key, value in one.items() if key not in ("scores", "same")} for one in results],
                file,
                indent=1,
            )


def _evaluated(a, pairs):
    """Prints and returns all that is asked for about one set."""
    flip = "" if a.no_flip else a.flip
    embeddings = embed_file(a.basic_model, pairs, a.batch_size, flip)
    scores, same = scores_of(embeddings, centre=a.centre), pairs.same
    result = verify(scores, same, pairs.name, flip, pairs.sha256)
    print(result)
    protocol = {**result.protocol(), "centred": "on the mean of this very set" if a.centre else "no"}
    found = {**dataclasses.asdict(result), "protocol": protocol, "scores": scores, "same": same}
    val, val_std, far = calculate_val(np.arange(0, 4, 0.001), *(unit(embeddings[k::2]) for k in (0, 1)), same)
    found["VAL@FAR=0.001"] = {"val": val, "std": val_std, "far": far}
    print(f"  VAL@FAR=1e-3 {val:.4f} ± {val_std:.4f} at FAR {far:.5f}")
    if a.folds:
        for number, fold in enumerate(fold_table(scores, same), 1):
            wrong = f"{fold.false_accepts} false accepts, {fold.false_rejects} false rejects"
            print(f"  fold {number:>2}  {fold.accuracy:.4f} at {fold.threshold:.4f}, {wrong}")
    if a.pca_acc:
        _, _, accuracy = calculate_roc(
            np.arange(0, 4, 0.01), *(unit(embeddings)[k::2] for k in (0, 1)), same, pca=a.pca_acc
        )
        found["pca"] = {"components": a.pca_acc, "accuracy": accuracy.mean(), "std": accuracy.std()}
        print(f"  {a.pca_acc} principal components, 10-fold accuracy {accuracy.mean():.4f} ± {accuracy.std():.4f}")
    if a.bootstrap:
        low, high = bootstrap(scores, same, lambda s, y: best_threshold(s, y)[0], a.bootstrap)
        auc_low, auc_high = bootstrap(scores, same, lambda s, y: Roc(s, y).auc, a.bootstrap)
        found["bootstrap 95%"] = {"max accuracy": [low, high], "AUC": [auc_low, auc_high]}
        print(f"  95 % intervals: max accuracy {low:.4f}–{high:.4f}, AUC {auc_low:.4f}–{auc_high:.4f}")
    if a.reject:
        found["reject"] = _reject(embeddings, scores, same, a.reject)
    if a.compare:
        other = scores_of(embed_file(a.compare, pairs, a.batch_size, flip), centre=a.centre)
        mine, theirs, p = mcnemar(fold_correct(scores, same), fold_correct(other, same))
        found["compared"] = {"model": a.compare, "right here only": mine, "right there only": theirs, "p": p}
        print(f"  against {a.compare}: {mine} pairs right here only, {theirs} there only, p = {p:.3g}")
    return found


def _reject(embeddings, scores, same, path):
    import plot  # on this floor too; matplotlib only where a picture is asked for

    norms = np.linalg.norm(embeddings, axis=1)
    rejected, missed = error_versus_reject(scores, same, np.minimum(norms[::2], norms[1::2]), 1e-2)
    plot.reject({"length of the embedding": (rejected, missed)}, path)
    fifth = int(np.argmax(rejected >= 0.2))
    less = f"{missed[fifth]:.4f} without the fifth of the pairs with the shortest embeddings"
    print(f"  false non-matches at FMR 1e-2: {missed[0]:.4f}, {less}")
    return {"rejected": rejected.tolist(), "false non-match rate": missed.tolist()}


def embed_file(model: str, pairs: Pairs, batch_size: int = 128, flip: str = "sum") -> np.ndarray:
    """Model file and pairs → embeddings (2n, D); the mirror image's is added ("sum"), set behind ("concat": (2n, 2D)), or left out ("")."""
    from faces.interface import image_size, interface  # stands on this floor and needs models, as we do

    embed = interface(model)
    found = []
    for begin in range(0, len(pairs.images), batch_size):
        images = np.stack([data.decode(image, image_size(embed)) for image in pairs.images[begin : begin + batch_size]])
        batch = normalised(images)
        both = [embed(batch), embed(batch[:, :, ::-1])] if flip else [embed(batch)]
        found.append(np.concatenate(both, axis=1) if flip == "concat" else sum(both))
    return np.concatenate(found)


if __name__ == "__main__":
    raise SystemExit(main())
