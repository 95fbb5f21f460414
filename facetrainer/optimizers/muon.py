"""Muon for convolutions as well as matrices."""

import logging

import keras
from keras import ops

from facetrainer.optimizers.memory import inner_of
from facetrainer.utils.tensors import Tensor

log = logging.getLogger("facetrainer")


@keras.saving.register_keras_serializable("face")
class Muon(keras.optimizers.Muon):
    """Keras's Muon with convolutions: steps along orthogonal directions, so that no direction of a layer is left to learn last.

    The momentum of a matrix, or of a kernel `(h, w, in, out)` as the matrix `(h·w·in, out)`, is made orthogonal by Newton and Schulz's
    iteration and scaled by `rms_rate · sqrt(rows or columns, whichever are more)`. AdamW learns all else: vectors, depthwise kernels
    and the head's table of classes. The iteration works on the Gram matrix of the smaller side, two products with the momentum
    instead of two in each of its steps.

    Weight decay is decoupled and goes with the rate: take no `add_l2_regularizer_2_model` beside it, whose gradient is lost in the
    orthogonal one.

    Args:
        learning_rate: Number; `Train`'s `lr_*` arguments are its schedule. Defaults to `0.03`.
        weight_decay: Times the rate, of matrices and kernels. Defaults to `0.1`.
        adam_weight_decay: The same of what AdamW learns. Defaults to `0.0`.
        adam_lr_ratio: AdamW's rate as a part of `learning_rate`. Defaults to `0.3`.
        exclude_layers: Parts of the paths of variables that AdamW learns; `Train`'s heads are named arcface and softmax. Defaults to
            `("arcface", "softmax")`.
        exclude_embeddings: Leave what has "embedding" in its path, as a table of words, to AdamW. Here that is the last layer of a
            model. Defaults to `False`.
        name: Of the optimizer. Defaults to `"Muon"`.
        **kwargs: Keras's: `momentum=0.95`, `nesterov=True`, `ns_steps=5`, `rms_rate=0.2`, ...

    Reference:
        Jordan et al., https://kellerjordan.github.io/posts/muon; Liu et al., arXiv:2502.16982 (`rms_rate`).
    """

    def __init__(
        self,
        learning_rate: float = 0.03,
        weight_decay: float = 0.1,
        adam_weight_decay: float = 0.0,
        adam_lr_ratio: float = 0.3,
        exclude_layers: tuple[str, ...] | list[str] = ("arcface", "softmax"),
        exclude_embeddings: bool = False,
        name: str = "Muon",
        **kwargs,
    ):
        super().__init__(
            learning_rate=learning_rate, weight_decay=weight_decay, adam_weight_decay=adam_weight_decay, adam_lr_ratio=adam_lr_ratio,
            exclude_layers=list(exclude_layers), exclude_embeddings=exclude_embeddings, name=name, **kwargs,
        )  # fmt: skip

    def _should_use_adamw(self, variable):
        is_matrix = len(variable.shape) in (2, 4) and variable.shape[-1] > 1
        left_out = [*self.exclude_layers, *(["embedding"] if self.exclude_embeddings else [])]
        return not is_matrix or any(part in variable.path for part in left_out)

    def _muon_update_step(self, gradient, variable, lr, m):
        """w ← w − rate · rms_rate · sqrt(larger side) · orthogonal(momentum)."""
        self.assign(m, m * self.momentum + gradient)
        ahead = gradient + m * self.momentum if self.nesterov else m
        matrix = ops.reshape(ahead, (-1, variable.shape[-1]))
        step = self.lr_adjust(lr * self.zeropower_via_newtonschulz5(matrix, self.ns_steps))
        self.assign_sub(variable, ops.reshape(step, variable.shape))

    def zeropower_via_newtonschulz5(self, x: Tensor, steps: int) -> Tensor:
        """Matrix `(rows, columns)` with singular values s → one with the same directions and values near 1."""
        tall = x.shape[0] >= x.shape[1]
        x = x / (ops.norm(x) + 1e-7)
        gram = ops.matmul(ops.transpose(x), x) if tall else ops.matmul(x, ops.transpose(x))
        whole = identity = ops.eye(gram.shape[0], dtype=x.dtype)
        for _ in range(steps):
            factor = self.muon_a * identity + self.muon_b * gram + self.muon_c * ops.matmul(gram, gram)
            whole, gram = ops.matmul(factor, whole), ops.matmul(factor, ops.matmul(gram, factor))
        return ops.matmul(x, whole) if tall else ops.matmul(whole, x)


def warn_of_penalty(optimizer: keras.optimizers.Optimizer, model: keras.Model) -> None:
    """Says so where Muon trains kernels with an L2 penalty, whose gradient is lost in the orthogonal one.

    Args:
        optimizer: In use.
        model: What it trains.
    """
    penalties = [getattr(layer, "kernel_regularizer", None) for layer in model._flatten_layers()]
    if isinstance(inner_of(optimizer), keras.optimizers.Muon) and any(getattr(one, "l2", 0) > 0 for one in penalties):
        log.warning(
            "Muon's steps do not keep the size of a gradient, so the L2 penalty of add_l2_regularizer_2_model does little but turn them. "
            "Leave it out and use Muon(weight_decay=%g).",
            inner_of(optimizer).weight_decay or 0.1,
        )
