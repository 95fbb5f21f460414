"""Basic model + head + losses = `FaceModel`, which trains."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from facetrainer import distributed, optimizers
from facetrainer.backbones import fused_norm, fused_prelu, grouped, local_norm
from facetrainer.data.images import scaled
from facetrainer.losses.base import FaceLoss, slots
from facetrainer.models import blocks, gallery, stateless
from facetrainer.utils.tensors import Tensor, length, unit


@keras.saving.register_keras_serializable("face")
class Mean(keras.losses.Loss):
    """Mean of values that are losses already: Keras's own way to divide by the global batch on several replicas."""

    def call(self, y_true, y_pred):
        """The values as they are."""
        return y_pred


@keras.saving.register_keras_serializable("face")
class FaceModel(keras.Model):
    """Embedder + head + the losses ("terms") of one stage. (B, H, W, C) images → embedding (B, D).

    uint8 images are normalised here, (x − 127.5) / 128; floating-point ones are taken as they are. Logs: loss, accuracy
    (without a margin), target_cosine, each term by its name when there are several, what the losses note, embedding_spread
    (1 − ‖mean of the unit embeddings‖², 0 when all faces fall on one point), regular_loss when there is one.

    Args:
        embedder: Basic model.
        head: See `heads`; None where no loss needs one. Defaults to `None`.
        terms: The losses. Defaults to `()`.
        term_weights: A weight each; 1 unless given. Defaults to `None`.
        name: Of the model. Defaults to `"face_model"`.
    """

    def __init__(
        self,
        embedder: keras.Model,
        head: keras.layers.Layer | None = None,
        terms: Sequence[FaceLoss] = (),
        term_weights: Sequence[float] | None = None,
        name: str = "face_model",
    ):
        super().__init__(name=name)
        self.embedder, self.head, self.terms = embedder, head, list(terms)
        self.term_weights = [float(w) for w in term_weights or [1.0] * len(self.terms)]
        if head is not None and not head.built:
            head.build((None, embedder.output_shape[-1]))
            head.built = True
        self.slots = slots(self.terms)
        for term, slot in zip(self.terms, self.slots, strict=True):
            term.attach(
                head.units if head else getattr(term, "num_classes", 0) or 0, embedder.output_shape[-1], slot=slot
            )
        self.gallery = gallery.made(embedder, self.terms)
        self.mean, self.sam_rho, self.logit_blocks = Mean(), 0.0, 1
        self.keep_averages(None)
        self.trackers = [keras.metrics.Mean(name=name) for name in self._tracker_names()]
        self.built = True

    def _tracker_names(self):
        names = [f"{slot}_loss" for slot in self.slots] if len(self.terms) > 1 else []
        names += ["accuracy"] if self.head is not None else []
        names += ["target_cosine"] if self.head is not None and self.head.gives == "cosine" else []
        names += [name for name, _ in self._notes("notes")]
        regular = self.losses or getattr(self.head, "kernel_regularizer", None)
        return names + ["embedding_spread"] + (["regular_loss"] if regular else [])

    def _notes(self, kind):
        """(name in the logs, (term, its own name)) of what the losses note; that of a second loss of a kind has its number."""
        pairs = [(term, slot.removeprefix(term.short)) for term, slot in zip(self.terms, self.slots, strict=True)]
        return [(f"{note}{number}", (term, note)) for term, number in pairs for note in getattr(term, kind)]

    def get_config(self) -> dict[str, Any]:
        return {
            "embedder": keras.saving.serialize_keras_object(self.embedder),
            "head": keras.saving.serialize_keras_object(self.head),
            "terms": [keras.saving.serialize_keras_object(term) for term in self.terms],
            "term_weights": self.term_weights,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "FaceModel":
        parts = {key: keras.saving.deserialize_keras_object(config[key]) for key in ("embedder", "head", "terms")}
        return cls(**{**config, **parts})

    def compile(self, *args, **kwargs) -> None:
        """As Keras's; where XLA will not run, batch normalisation, PReLU and grouped convolutions are computed in faster ways."""
        super().compile(*args, **kwargs)
        fused_norm.set_fused(self, not self.jit_compile)
        local_norm.set_local(self, distributed.norm_parts())
        on_cpu = not self.jit_compile and all(name.startswith("cpu") for name in keras.distribution.list_devices())
        grouped.set_bundled(self, on_cpu)
        fused_prelu.set_fused(self, on_cpu)

    def get_compile_config(self) -> dict[str, Any] | None:
        return {"optimizer": keras.optimizers.serialize(self.optimizer)} if self.compiled else None

    def compile_from_config(self, config: dict[str, Any]) -> None:
        self.compile(keras.optimizers.deserialize(config["optimizer"]))
        optimizers.build(self.optimizer, self.trainable_variables)

    def call(self, images: Tensor, training: bool = False) -> Tensor:
        """Images, uint8 or normalised, → embeddings `(B, D)`."""
        with fused_prelu.while_training(training):
            return self.embedder(prepared(images), training=training)

    def named_outputs(self, embedding: Tensor, targets: dict, images: Tensor | None = None) -> dict:
        """Everything that a loss may read but scores, by name."""
        embedding = distributed.whole(ops.cast(embedding, "float32"))
        outputs = {**{name: distributed.whole(value) for name, value in targets.items()}, "embedding": embedding}
        if any("norm" in term.reads for term in self.terms):
            outputs["norm"] = length(embedding)
        if self.gallery is not None:
            outputs["gallery"] = distributed.whole(ops.cast(self.gallery(prepared(images), training=False), "float32"))
        return outputs

    def labels_in(self, targets: dict) -> Tensor:
        """Labels that the head sees: of mixed images both."""
        return distributed.whole(ops.concatenate([targets[name] for name in ("labels", "labels2") if name in targets]))

    def scored(self, outputs: dict, training: bool) -> dict:
        """What comes of the scores of some images, each `(images,)`: values of the losses that read them, and numbers for the logs.

        "columns" are the labels as columns of the scores.

        Returns:
            "values" of the losses and "seen" for the logs, by name; "sums" of the scores; "penalty" of the head where it has one.
        """
        scores, columns = self.head(outputs["embedding"], self.labels_in(outputs), training=training)
        size = outputs["labels"].shape[0] or ops.shape(outputs["labels"])[0]
        outputs = {**outputs, self.head.gives: scores, "columns": columns[:size], "columns2": columns[size:]}
        found = {slot: self._value(term, outputs, training) for slot, term in self._terms(with_scores=True)}
        target = ops.take_along_axis(scores, columns[:size, None], axis=1)
        seen = {"accuracy": is_largest(scores, target), "target_cosine": target[:, 0], **self._noted(with_scores=True)}
        sums = ops.sum(ops.cast(ops.stop_gradient(scores), "float32"), axis=1)
        penalty = ops.reshape(sum(self.head.penalties), (1,)) if self.head.penalties and training else None
        return {"values": found, "seen": seen, "sums": sums, **({} if penalty is None else {"penalty": penalty})}

    def objective(self, targets: dict, embedding: Tensor, training: bool = True, images: Tensor | None = None) -> tuple:
        """→ weighted sum of the terms and the regularisation, and by their names values of each term and numbers for the logs."""
        outputs = self.named_outputs(embedding, targets, images)
        found = {"values": {}, "seen": {}}
        if self.head is not None and self.logit_blocks > 1:
            found = blocks.in_blocks(lambda part: self.scored(part, training), self.logit_blocks, outputs)
        elif self.head is not None:
            found = self.scored(outputs, training)
        others = {slot: self._value(term, outputs, training) for slot, term in self._terms(with_scores=False)}
        values, seen = {**found["values"], **others}, {**found["seen"], **self._noted(with_scores=False)}
        weighted = zip(self.slots, self.term_weights, strict=True)
        total = sum(weight * self.mean(values[slot], values[slot]) for slot, weight in weighted)
        penalties = [*self.losses, *([ops.mean(found["penalty"])] if "penalty" in found else [])]
        if penalties:
            seen["regular_loss"] = sum(penalties)
            total = total + self.mean(*[ops.reshape(seen["regular_loss"], (1,))] * 2)
        seen["embedding_spread"] = 1.0 - ops.sum(ops.square(ops.mean(unit(outputs["embedding"]), axis=0)))
        return total + self.alarm(found.get("sums")), values, seen

    def _terms(self, with_scores):
        """Slot and loss of those that read scores, or of the others."""
        return [pair for pair in zip(self.slots, self.terms, strict=True) if bool(pair[1].head) == with_scores]

    def _noted(self, with_scores):
        """What those losses have noted, by its name in the logs."""
        notes = [one for one in self._notes("noted") if bool(one[1][0].head) == with_scores]
        return {name: term.noted[note] for name, (term, note) in notes}

    def alarm(self, sums: Tensor | None = None) -> Tensor:
        """0, or NaN where a weight of the embedder or a score of the head, of which `sums` are given, is not finite.

        Some CPUs' ReLU and PReLU turn NaN into 0: a poisoned weight, or a poisoned statistic of batch normalisation, would hide
        behind a finite loss.

        Returns:
            Scalar tensor.
        """
        weights = [ops.sum(ops.cast(ops.stop_gradient(one), "float32")) for one in self.embedder.weights]
        seen = ops.concatenate([ops.stack(weights), *([] if sums is None else [sums])])
        return ops.where(ops.all(ops.isfinite(seen)), 0.0, float("nan"))

    def compute_loss(
        self,
        x: Tensor | None = None,
        y: dict | None = None,
        y_pred: Tensor | None = None,
        sample_weight: None = None,
        training: bool = True,
    ) -> Tensor:
        """`objective`, reduced over the global batch, and the numbers for the logs."""
        total, *seen = self.objective(y, y_pred, training, x)
        self._track(*seen)
        return total

    def _value(self, term, outputs, training):
        """(B,); of mixed images both labels count, by their shares, and memory moves for the first alone."""
        reads, labels = [outputs[name] for name in term.reads], "columns" if term.head else "labels"
        value = term(outputs[labels], *reads, training=training)
        if "mix" not in outputs:
            return value
        return outputs["mix"] * value + (1 - outputs["mix"]) * term(outputs[f"{labels}2"], *reads)

    def _track(self, values, seen):
        found = {"regular_loss": 0.0, **seen, **{f"{slot}_loss": value for slot, value in values.items()}}
        for tracker in self.trackers:
            tracker.update_state(found[tracker.name])

    def train_step(self, *args) -> Any:
        """As Keras's; with `sam_rho` the gradient is taken at the worst point near by; running means follow."""
        plain = super().train_step
        if keras.backend.backend() == "jax":
            return stateless.train_step(self, plain, *args)
        logs = optimizers.sharpness_aware_step(self, self.sam_rho, plain, *args) if self.sam_rho else plain(*args)
        for one in self.followers:
            one.update()
        return logs

    @property
    def followers(self) -> list:
        """What follows the weights after each step: means of them, and the gallery network of semi-siamese training."""
        networks = [] if getattr(self, "gallery", None) is None else [gallery.Follower(self.embedder, self.gallery)]
        return [*networks, *([self.averages] if getattr(self, "averages", None) else [])]

    @property
    def non_trainable_variables(self):
        """As Keras's; on JAX with the running means, since a step there changes what it is handed and nothing else."""
        means = self.averages.state if keras.backend.backend() == "jax" and getattr(self, "averages", None) else []
        return [*super().non_trainable_variables, *means]

    def split_logits(self, count: int) -> None:
        """From now on scores are computed for one part of a step's images after the other, see `models.blocks`.

        Args:
            count: Number of parts.

        Raises:
            ValueError: A step would not come out the same.
        """
        blocks.check(self, count)
        self.logit_blocks = count

    def keep_averages(self, averages: Any) -> None:
        """From now on `averages.update()` follows each step.

        Args:
            averages: `training.averaging.Averages`, or None to keep none. They are no weights of the model and not saved with it.
        """
        object.__setattr__(self, "averages", averages)


def prepared(images):
    """Normalised images; those that are integers are normalised here."""
    return scaled(ops.cast(images, "float32")) if keras.backend.is_int_dtype(images.dtype) else images


def is_largest(scores, target):
    """Whether no other class scores as high, `(batch, classes)`, `(batch, 1)` → `(batch,)` of 0 and 1.

    Counted and not by `argmax`, which would bring all scores to every device where classes are split.

    Returns:
        float tensor `(batch,)`.
    """
    as_high = ops.sum(ops.cast(scores >= target, "float32"), axis=-1)
    return ops.cast(as_high == 1, "float32")
