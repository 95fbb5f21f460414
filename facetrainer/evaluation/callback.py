"""The callback that measures a model while it trains."""

import contextlib
import logging
import os
from collections.abc import Callable

import keras
import numpy as np

from facetrainer import distributed
from facetrainer.data import pair_sheet
from facetrainer.evaluation import lengths
from facetrainer.evaluation.embedder import Embedder
from facetrainer.evaluation.pairs import read_pairs
from facetrainer.evaluation.verification import Verification, verify
from facetrainer.metrics import calibration
from facetrainer.metrics.verification import pair_scores
from facetrainer.models import saving

log = logging.getLogger("facetrainer")


class eval_callback(keras.callbacks.Callback):
    """Measures a model on one set of pairs after every epoch, and in between.

    Args:
        basic_model: Keras model from image to embedding.
        test_bin_file: `.bin` file, or folder with a pairs file.
        batch_size: Images at a time. Defaults to `128`.
        save_model: Path without suffix, or with `.h5` or `.keras`: the best model so far is kept as
            `{stem}_basic_{name}_epoch_{n}_{accuracy}` with its thresholds, the one before it is removed. Defaults to none.
        eval_freq: Above 1, measures every so many batches as well. Defaults to `1`.
        flip: Add the mirrored image's embedding. Defaults to `True`.
        PCA_acc: Refused; kept for its name.
        worst: Path without suffix: after every `worst_every` epochs the pairs that go most wrong are drawn into
            `{worst}_{name}_epoch_{n}.jpg`. Defaults to none.
        worst_every: Defaults to `1`.

    Attributes:
        clock: The run's `Progress`, set by `Train`; without one batches are counted here.
        measuring: Context manager to measure and save in, such as running means in the place of the weights.
        embs: Embeddings of the last time, `(2 n, D)`; None before.
        scores: Their cosines, `(n,)`.

    `logs` receive `{name}` (max accuracy), `{name}_thresh`, `{name}_10fold`, `{name}_auc` and `{name}_tar@...`.
    """

    def __init__(
        self,
        basic_model: keras.Model | str | Callable,
        test_bin_file: str,
        batch_size: int = 128,
        save_model: str | None = None,
        eval_freq: int = 1,
        flip: bool | str = True,
        PCA_acc: bool = False,
        worst: str | None = None,
        worst_every: int = 1,
    ):
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
        self.save_model, self.saved, self.epoch, self.step = save_model, None, 0, 0
        self.result: Verification | None = None
        self.worst, self.worst_every = worst, worst_every
        self.clock, self.measuring, self.told = None, contextlib.nullcontext, False
        self.embs: np.ndarray | None = None
        self.scores: np.ndarray | None = None

    def evaluate(self) -> Verification:
        """Embeds and scores now, inside `measuring()`."""
        with self.measuring():
            self.embs = self.embed(self.images, self.flip)
        self.scores = pair_scores(self.embs)
        self.result = verify(self.scores, self.pairs.same, self.pairs.name, self.flip, self.pairs.sha256)
        self.cur_acc, self.acc_thresh = self.result.max_accuracy, self.result.threshold
        return self.result

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.epoch, self.step = epoch, self.clock.step if self.clock else 0

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        before, self.step = self.step, self.clock.step if self.clock else batch + 1
        if self.eval_freq > 1 and self.step // self.eval_freq > before // self.eval_freq:
            self._measure(f"epoch_{self.epoch + 1}_batch_{self.step}")

    def on_epoch_end(self, epoch: int = 0, logs: dict[str, float] | None = None) -> None:
        result = self._measure(f"epoch_{epoch + 1}")
        if logs is not None:
            logs.update(self.as_logs(result))
        due = self.worst and (epoch + 1) % self.worst_every == 0
        if due and distributed.is_first() and np.isfinite(self.scores).all():
            self._draw_worst(f"{self.worst}_{self.test_names}_epoch_{epoch + 1}.jpg")

    def _draw_worst(self, path):
        names = self.pairs.names or self.pairs.files or [""] * len(self.images)
        kinds = pair_sheet.worst(self.scores, self.pairs.same)
        shown = ([pair_sheet.Shown(tuple(self.images[2 * k : 2 * k + 2]), float(self.scores[k]), tuple(names[2 * k : 2 * k + 2]))
                  for k in rows] for rows in kinds)  # fmt: skip
        pair_sheet.write(path, *shown, self.acc_thresh)

    def as_logs(self, result: Verification) -> dict[str, float]:
        """The last result as Keras logs."""
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
        log.info("\n>>>> %s, previous max accuracy: %.6f", result, self.max_accuracy)
        self._tell()
        if result.max_accuracy > self.max_accuracy:
            log.info(">>>> Improved = %.6f", result.max_accuracy - self.max_accuracy)
            self.max_accuracy = result.max_accuracy
            if self.save_model:
                self._keep(when)
        return result

    def _tell(self):
        """Once, of embeddings that are far longer than the others."""
        if not self.told and (warning := lengths.odd(self.test_names, self.embs)):
            log.warning("%s", warning)
            self.told = True

    def _keep(self, when):
        stem, suffix = os.path.splitext(self.save_model)
        suffix = suffix if suffix in (".h5", ".keras") else ".keras"
        path = f"{stem}_basic_{self.test_names}_{when}_{self.max_accuracy:.6f}{suffix}"
        with self.measuring():
            saving.save(self.basic_model, path)
        self._calibrate(path)
        if self.saved and self.saved != path:
            for old in (self.saved, calibration.path_of(self.saved)):
                with contextlib.suppress(FileNotFoundError):
                    os.remove(old)
        self.saved = path

    def _calibrate(self, path):
        """Thresholds for use beside the model, by the pairs it was measured on."""
        same = self.pairs.same
        if same.all() or not same.any():
            return
        about = {
            "model": path, "mirrored": "sum" if self.flip is True else self.flip or "", "sets": [self.result.protocol()],
            "length": float(np.median(np.linalg.norm(self.embs, axis=1))),
        }  # fmt: skip
        calibration.write(path, calibration.calibrate(self.scores, same, people=self.pairs.people, **about))

    def state_dict(self) -> dict:
        """Best accuracy so far, and the file that holds its model."""
        return {"max_accuracy": float(self.max_accuracy), "saved": self.saved}

    def load_state_dict(self, state: dict) -> None:
        """Goes on from what `state_dict` gave."""
        self.max_accuracy, self.saved = state["max_accuracy"], state["saved"]
