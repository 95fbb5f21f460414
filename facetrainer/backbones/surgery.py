"""Functional models changed layer by layer: copies that keep the weights and the layers' trainable flags."""

from collections.abc import Callable
from typing import Any

import keras
from keras import layers, ops

from facetrainer.utils.tensors import Tensor

DROP = "_drop_path"


def rebuild(model: keras.Model, change: Callable = lambda layer: None, call: Callable | None = None) -> keras.Model:
    """Copy of a functional model with `change(layer)` in place of each layer (None: the layer as it is).

    Weights and trainable flags are carried over layer by layer; a changed layer keeps those whose shapes fit.
    `call(layer, inputs…)`, if given, calls each layer of the copy.

    Returns:
        The copy.
    """

    def clone(layer):
        new = change(layer)
        return type(layer).from_config(layer.get_config()) if new is None else new

    copy = keras.models.clone_model(model, clone_function=clone, call_function=call, recursive=True)
    for old, new in _pairs(model, copy):
        new.trainable = old.trainable
        if [tuple(w.shape) for w in old.weights] == [tuple(w.shape) for w in new.weights]:
            new.set_weights(old.get_weights())
    return copy


def _pairs(model, copy):
    """Layers with weights of a model and of its copy, by their names."""
    for new in copy.layers:
        if isinstance(new, keras.Model):
            yield from _pairs(model.get_layer(new.name), new)
        elif new.weights:
            yield model.get_layer(new.name), new


def with_config(model: keras.Model, wanted: Callable[[layers.Layer], dict]) -> keras.Model:
    """Copy whose layers have other values in their configuration: `wanted(layer)` → {key: value}, empty for none."""

    def change(layer):
        new = wanted(layer) if isinstance(layer, layers.Layer) else {}
        return type(layer).from_config({**layer.get_config(), **new}) if new else None

    return rebuild(model, change)


def add_l2_regularizer_2_model(
    model: keras.Model,
    weight_decay: float,
    custom_objects: dict[str, Any] | None = None,
    apply_to_batch_normal: bool = False,
    apply_to_bias: bool = False,
    on: str | None = "weights",
) -> keras.Model:
    """Copy with L2(weight_decay / 2) on Dense and convolution kernels; weights kept.

    The loss grows by weight_decay / 2 · Σw²: the gradient is weight_decay · w, as in MXNet and torch.

    Args:
        model: Basic model.
        weight_decay: Strength.
        custom_objects: Not needed.
        apply_to_batch_normal: Scales and offsets of normalisation and slopes of PReLU as well. Defaults to `False`.
        apply_to_bias: Biases as well. Defaults to `False`.
        on: `"weights"`, as AdaFace and CVLface, or `"all"`, as arcface_torch and MXNet: both of the above. Defaults to `"weights"`.

    Returns:
        The copy.

    Raises:
        ValueError: `on` is something else.
    """
    if on not in ("weights", "all"):
        raise ValueError(f"add_l2_regularizer_2_model: expected on='weights' or 'all'. Received: {on!r}")
    apply_to_batch_normal, apply_to_bias = apply_to_batch_normal or on == "all", apply_to_bias or on == "all"
    suffixes = ["kernel_regularizer", "depthwise_regularizer", "pointwise_regularizer"]
    suffixes += ["bias_regularizer"] if apply_to_bias else []
    suffixes += ["gamma_regularizer", "beta_regularizer", "alpha_regularizer"] if apply_to_batch_normal else []
    regularizer = keras.regularizers.serialize(keras.regularizers.L2(weight_decay / 2))
    return with_config(
        model, lambda layer: dict.fromkeys([name for name in suffixes if name in layer.get_config()], regularizer)
    )


def change_batch_norm(model: keras.Model, momentum: float, epsilon: float) -> keras.Model:
    """Copy with this momentum and epsilon in every batch norm."""
    new = {"momentum": momentum, "epsilon": epsilon}
    return with_config(model, lambda layer: new if isinstance(layer, layers.BatchNormalization) else {})


def convert_to_batch_renorm(model: keras.Model) -> keras.Model:
    """Copy with batch renormalisation for every batch norm; moving statistics are carried over.

    Args:
        model: Basic model.

    Returns:
        The copy.

    Reference:
        Ioffe, arXiv:1702.03275.
    """
    copy = with_config(model, lambda layer: {"renorm": True} if isinstance(layer, layers.BatchNormalization) else {})
    for old, new in _pairs(model, copy):
        if isinstance(old, layers.BatchNormalization):
            for weight in old.weights:
                getattr(new, weight.name).assign(weight)
    return copy


def replace_ReLU_with_PReLU(model: keras.Model, target_activation: str = "PReLU", **kwargs) -> keras.Model:  # noqa: N802
    """Copy with another activation for every ReLU; weights are kept.

    Args:
        model: Basic model.
        target_activation: `"PReLU"` (0.25, one slope a channel), or another activation by name; `"aconC"` is one too. Defaults to
            `"PReLU"`.
        **kwargs: Of the activation's layer.

    Returns:
        The copy.
    """
    quarter = keras.initializers.Constant(0.25)

    def change(layer):
        if not _is_relu(layer):
            return None
        if target_activation.lower() == "prelu":
            return layers.PReLU(alpha_initializer=quarter, shared_axes=[1, 2], name=layer.name, **kwargs)
        if target_activation.lower() == "aconc":
            return AconC(name=layer.name, **kwargs)
        return layers.Activation(target_activation, name=layer.name, **kwargs)

    return rebuild(model, change)


def _is_relu(layer):
    return isinstance(layer, layers.ReLU) or (
        isinstance(layer, layers.Activation) and layer.activation is keras.activations.relu
    )


@keras.saving.register_keras_serializable("face")
class AconC(layers.Layer):
    """(p1 − p2) x σ(β (p1 − p2) x) + p2 x with p1, p2 and β learnt for each channel.  Ma et al., CVPR 2021, arXiv:2009.04759, eq. 6.

    Args:
        p1: Of every channel to begin with. Defaults to `1`.
        p2: Likewise. Defaults to `0`.
        beta: Likewise. Defaults to `1`.
    """

    def __init__(self, p1: float = 1, p2: float = 0, beta: float = 1, **kwargs):
        super().__init__(**kwargs)
        self.first = {"p1": p1, "p2": p2, "beta": beta}

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """p1, p2 and beta of each channel."""
        for name, value in self.first.items():
            start = keras.initializers.Constant(value)
            setattr(self, name, self.add_weight(shape=(input_shape[-1],), initializer=start, name=name))

    def call(self, x: Tensor) -> Tensor:
        """Applies the activation channel by channel."""
        steep = (self.p1 - self.p2) * x
        return steep * ops.sigmoid(self.beta * steep) + self.p2 * x

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.first}


def replace_add_with_stochastic_depth(model: keras.Model, survivals: Any = (1, 0.8)) -> keras.Model:
    """Copy whose residual branches are left out at random in training.

    A branch that survives is divided by its probability, so that nothing is to be scaled afterwards. Made of Keras's own Dropout.

    Args:
        model: Basic model.
        survivals: The first and the last branch's probability, those between on a line; a number for all; or one for each addition.
            Defaults to `(1, 0.8)`.

    Returns:
        The copy.

    Reference:
        Huang et al., ECCV 2016, arXiv:1603.09382.
    """
    deep = _deep_inputs(model)
    rates = dict(zip(deep, _spread(survivals, len(deep)), strict=True))

    def call(layer, inputs, *args, **kwargs):
        if rates.get(layer.name, 1) < 1:
            inputs, place = list(inputs), deep[layer.name]
            shape = (None, *[1] * (len(inputs[place].shape) - 1))
            inputs[place] = layers.Dropout(1 - rates[layer.name], shape, name=layer.name + DROP)(inputs[place])
        return layer(inputs, *args, **kwargs)

    return rebuild(model, call=call)


def _deep_inputs(model):
    """{name of a residual addition: which of its two inputs is the branch, not the shortcut: the one on the longer way}."""
    depth, deep = {}, {}
    for op in (op for op in model.operations if not isinstance(op, layers.InputLayer)):
        ways = [depth.get(one._keras_history.operation.name, 0) for one in keras.tree.flatten(op.input)]
        depth[op.name] = 1 + max(ways)
        if isinstance(op, layers.Add) and len(ways) == 2 and ways[0] != ways[1]:
            deep[op.name] = int(ways[1] > ways[0])
    return deep


def _spread(survivals, count):
    if isinstance(survivals, int | float):
        survivals = (survivals, survivals)
    found = list(survivals)
    if len(found) == 2 != count:
        found = [found[0] + (found[1] - found[0]) * place / max(count - 1, 1) for place in range(count)]
    if len(found) != count or not all(0 < one <= 1 for one in found):
        raise ValueError(
            f"survivals: expected two numbers, or one for each of {count} additions, in (0, 1]. Received: {survivals}"
        )
    return found


def replace_stochastic_depth_with_add(model: keras.Model, drop_survival: bool = False) -> keras.Model:
    """Copy without stochastic depth.

    Args:
        model: Basic model.
        drop_survival: Means nothing here: no branch is scaled outside of training. Defaults to `False`.

    Returns:
        The copy.
    """
    return rebuild(model, call=lambda layer, x, *rest, **kwargs: x if _drops(layer) else layer(x, *rest, **kwargs))


def _drops(layer):
    return isinstance(layer, layers.Dropout) and layer.name.endswith(DROP)


def convert_to_mixed_float16(model: keras.Model, convert_batch_norm: bool = False) -> keras.Model:
    """Copy that computes in float16 on float32 weights; softmax and the embedding never do.

    Args:
        model: Basic model.
        convert_batch_norm: Whether batch norm computes in float16, too. Defaults to `False`.

    Returns:
        The copy.
    """

    def wanted(layer):
        stays = isinstance(layer, layers.BatchNormalization) and not convert_batch_norm
        stays |= isinstance(layer, layers.InputLayer | layers.Softmax) or layer.name == "embedding"
        return {} if stays else {"dtype": "mixed_float16"}

    return with_config(model, wanted)


def convert_mixed_float16_to_float32(model: keras.Model) -> keras.Model:
    """Copy that computes in float32, of a model that computes in float16.

    Args:
        model: Basic model.

    Returns:
        The copy.
    """
    return with_config(model, lambda layer: {} if isinstance(layer, layers.InputLayer) else {"dtype": "float32"})
