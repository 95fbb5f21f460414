"""Embedding → one score a class: what the losses over logits and cosines read."""

import keras
from keras import ops


class Head(keras.layers.Layer):
    """Embedding (B, D) and labels (N,) → (scores (B, C), labels (N,) as columns of the scores), or scores alone.

    `gives` names the scores. N is B, or 2·B where images are mixed. A head that draws a part of the classes in training
    gives other columns than class ids.
    """

    gives = "scores"

    def __init__(self, units, name, kernel_regularizer=None, seed=None):
        super().__init__(name=name, dtype="float32")
        self.units, self.seed = units, seed
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def scores(self, embedding):
        """(B, D) → (B, units)"""
        raise NotImplementedError

    def train_scores(self, embedding, labels):
        """(B, D), (N,) → scores, labels, in a step of training."""
        return self.scores(embedding), labels

    def call(self, embedding, labels=None, training=False):
        if training and labels is not None:
            return self.train_scores(embedding, labels)
        return self.scores(embedding) if labels is None else (self.scores(embedding), labels)

    def get_config(self):
        regularizer = keras.regularizers.serialize(self.kernel_regularizer)
        return {"units": self.units, "name": self.name, "kernel_regularizer": regularizer, "seed": self.seed}


@keras.saving.register_keras_serializable("face")
class SoftmaxHead(Head):
    """Logits x·W + b."""

    gives = "logits"

    def __init__(self, units=1000, name="softmax_logits", kernel_regularizer=None, seed=None):
        super().__init__(units, name, kernel_regularizer, seed)

    def build(self, shape):
        initial = keras.initializers.GlorotUniform(self.seed)
        self.kernel = self.add_weight(
            (shape[-1], self.units), initial, regularizer=self.kernel_regularizer, name="kernel"
        )
        self.bias = self.add_weight((self.units,), "zeros", name="bias")

    def scores(self, embedding):
        return ops.matmul(embedding, self.kernel) + self.bias


def cosines(embedding, kernel, axis: int = 0):
    """(B, D), centers (D, C), or (C, D) with axis=1 → (B, C).

    The scores are divided by the centers' norms, not the centers: the table may be a thousand times larger than the scores.
    """
    square = ops.sum(ops.square(kernel), axis=axis)
    unit = ops.normalize(embedding, axis=-1)
    return ops.matmul(unit, kernel if axis == 0 else ops.transpose(kernel)) * ops.rsqrt(ops.maximum(square, 1e-20))


def take_rows(table, rows):
    """Rows of a weight. TensorFlow can read them alone; reading the weight first would have each update copy all of it."""
    read = getattr(table.value, "sparse_read", None)
    return ops.take(table, rows, axis=0) if read is None else read(rows)


@keras.saving.register_keras_serializable("face")
class NormDense(Head):
    """Cosines between the embedding and each class's center; with `loss_top_k` sub-centers the nearest one counts.

    (B, D) → (B, units). Weight "norm_dense_w" (D, units · loss_top_k).  Deng et al., ECCV 2020 (sub-center ArcFace), eq. 2.
    """

    gives = "cosine"
    rows = False  # whether the table is (centers, D)

    def __init__(
        self, units=1000, kernel_regularizer=None, loss_top_k=1, append_norm=False, partial_fc_split=0, name="arcface",
        seed=None,
    ):  # fmt: skip
        super().__init__(units, name, kernel_regularizer, seed)
        if append_norm or partial_fc_split:
            raise ValueError(
                "NormDense: append_norm is not needed, losses read the norm by name; partial_fc_split is not supported, "
                "Train's partial_fc_sample_rate (PartialNormDense) replaces it. Leave both out."
            )
        self.loss_top_k = loss_top_k

    def get_config(self):
        return {**super().get_config(), "loss_top_k": self.loss_top_k}

    def build(self, shape):
        table = (shape[-1], self.units * self.loss_top_k)
        self.kernel = self.add_weight(
            table[::-1] if self.rows else table,
            keras.initializers.RandomNormal(stddev=0.01, seed=self.seed),
            regularizer=None if self.rows else self.kernel_regularizer,
            name="norm_dense_rows" if self.rows else "norm_dense_w",
        )

    def scores(self, embedding):
        return self.nearest(cosines(embedding, self.kernel, axis=int(self.rows)))

    def nearest(self, cosine):
        """Cosines of all sub-centers (B, n · K) → of each class's nearest (B, n)."""
        if self.loss_top_k == 1:
            return cosine
        return ops.max(ops.reshape(cosine, (-1, cosine.shape[-1] // self.loss_top_k, self.loss_top_k)), axis=-1)

    def centers(self):
        """(units, loss_top_k, D), not normalised."""
        table = self.kernel if self.rows else ops.transpose(self.kernel)
        return ops.reshape(table, (self.units, self.loss_top_k, -1))


@keras.saving.register_keras_serializable("face")
class PartialNormDense(NormDense):
    """`NormDense` that trains on a part of the classes: those in the batch and others drawn anew in each step.

    A step sees max(⌊sample_rate · units⌋, labels in the batch) classes, all sub-centers of each; the table is (units ·
    loss_top_k, D), so that its gradient is the drawn rows alone. Weight decay touches the drawn rows only. Accuracy in the logs
    is among the drawn classes. Outside training all classes count. An et al., CVPR 2022, arXiv:2203.15565, section 3.2.
    """

    rows = True

    def __init__(self, units=1000, kernel_regularizer=None, loss_top_k=1, sample_rate=0.1, name="arcface", seed=None):
        super().__init__(units, kernel_regularizer, loss_top_k, name=name, seed=seed)
        if not 0 < sample_rate <= 1:
            raise ValueError(f"PartialNormDense: sample_rate must be above 0 and at most 1. Received: {sample_rate!r}")
        self.sample_rate, self.generator = sample_rate, keras.random.SeedGenerator(seed or 0)

    def get_config(self):
        return {**super().get_config(), "sample_rate": self.sample_rate}

    def sample_size(self, labels: int) -> int:
        """How many classes a step with so many labels sees."""
        return min(max(int(self.sample_rate * self.units), labels), self.units)

    def draw(self, labels):
        """(N,) → sorted class ids, among them every label."""
        luck = keras.random.uniform((self.units,), seed=self.generator)
        luck = ops.scatter_update(luck, labels[:, None], ops.full(ops.shape(labels), 2.0))
        return ops.sort(ops.top_k(luck, self.sample_size(labels.shape[0]), sorted=False)[1])

    def train_scores(self, embedding, labels):
        drawn = self.draw(labels)
        table = take_rows(self.kernel, self._rows_of(drawn))
        if self.kernel_regularizer is not None:
            self.add_loss(self.kernel_regularizer(table))
        return self.nearest(cosines(embedding, table, axis=1)), ops.searchsorted(drawn, labels)

    def _rows_of(self, drawn):
        k = self.loss_top_k
        return drawn if k == 1 else ops.reshape(drawn[:, None] * k + ops.arange(k, dtype=drawn.dtype), (-1,))


@keras.saving.register_keras_serializable("face")
class NormDenseVPL(NormDense):
    """`NormDense` whose centers are mixed in training with the last embedding seen of each class.

    From step `start_iters` on a center is (1 − λ) · center + λ · embedding, λ = `vpl_lambda`, where the embedding is at most
    `allowed_delta` steps old. `batch_size` is not needed any more. On several devices the first one's images are
    remembered.  Deng et al., CVPR 2021, "Variational Prototype Learning for Deep Face Recognition", eq. 7.
    """

    def __init__(
        self, batch_size=None, units=1000, kernel_regularizer=None, vpl_lambda=0.15, start_iters=8000, allowed_delta=200,
        name="arcface", seed=None,
    ):  # fmt: skip
        super().__init__(units, kernel_regularizer, name=name, seed=seed)
        self.vpl_lambda, self.start_iters, self.allowed_delta = vpl_lambda, start_iters, allowed_delta

    def get_config(self):
        config = {key: value for key, value in super().get_config().items() if key != "loss_top_k"}
        own = {name: getattr(self, name) for name in ("vpl_lambda", "start_iters", "allowed_delta")}
        return {**config, **own}

    def build(self, shape):
        super().build(shape)
        self.queue = self._memory((self.units, shape[-1]), "zeros", "vpl_queue")
        self.seen = self._memory((self.units,), keras.initializers.Constant(-1e9), "vpl_seen")
        self.step = self._memory((), "zeros", "vpl_step")

    def _memory(self, shape, initial, name):
        return self.add_weight(shape, initial, trainable=False, name=name, aggregation="only_first_replica")

    def train_scores(self, embedding, labels):
        unit = ops.normalize(embedding, axis=-1)
        fresh = ops.logical_and(self.step - self.seen <= self.allowed_delta, self.step >= self.start_iters)
        share = self.vpl_lambda * ops.cast(fresh, "float32")
        centers = ops.normalize(self.kernel, axis=0) * (1 - share) + ops.transpose(self.queue) * share
        cosine = cosines(embedding, centers)
        self._remember(ops.stop_gradient(unit), labels)
        return cosine, labels

    def _remember(self, unit, labels):
        """Images of one person all write the last one's row, so that the order of writing does not matter."""
        rows = ops.arange(labels.shape[0])
        last = ops.max(ops.where(labels[:, None] == labels[None], rows[None], -1), axis=1)
        self.queue.assign(ops.scatter_update(self.queue, labels[:, None], ops.take(unit, last, axis=0)))
        self.seen.assign(ops.scatter_update(self.seen, labels[:, None], ops.zeros(labels.shape) + self.step))
        self.step.assign(self.step + 1.0)


def carry(old, new) -> int:
    """Copy the weights that fit from a head or loss to its successor → how many.

    Within a kind those of the same name and shape fit, between kinds those of the same shape in order (softmax → cosine). A
    table of centers fits as well where one has it by rows and the other by columns.
    """
    if old is None or old is new:
        return 0
    if isinstance(old, NormDense) and isinstance(new, NormDense) and old.rows != new.rows:
        fits = old.kernel.shape == new.kernel.shape[::-1] and old.loss_top_k == new.loss_top_k
        if fits:
            new.kernel.assign(ops.transpose(old.kernel))
        return int(fits)
    if type(old) is type(new):
        named = {b.name: b for b in new.weights}
        pairs = [(a, named[a.name]) for a in old.weights if a.name in named]
    else:
        pairs = list(zip(old.weights, new.weights, strict=False))
    pairs = [(a, b) for a, b in pairs if a.shape == b.shape]
    for a, b in pairs:
        b.assign(a)
    return len(pairs)
