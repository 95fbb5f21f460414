"""Batch norms put into the layers beside them: the same function with fewer operations, for a model that trains no more."""

import keras
import numpy as np
from keras import layers

from facetrainer.backbones import surgery

LINEAR = (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D, layers.Dense)


def fold_batch_norm(model: keras.Model) -> keras.Model:
    """Functional model → copy without dropout and without the batch norms that a layer before or after them can take in.

    Before: a convolution or dense layer. After: a dense layer behind flattening or a mean over the map. What stays is a norm
    before a padded convolution (its zeros are not the norm's), or one whose input goes elsewhere too.

    Returns:
        The copy.
    """
    graph = _Graph(model)
    partners = {norm: graph.partner(norm) for norm in graph.norms()}
    partners = {norm: found for norm, found in partners.items() if found}
    biased = {layer for layer, _ in partners.values()}
    gone = {*partners, *(op.name for op in model.operations if isinstance(op, layers.Dropout))}

    def change(layer):
        return type(layer).from_config({**layer.get_config(), "use_bias": True}) if layer.name in biased else None

    copy = surgery.rebuild(
        model, change, lambda layer, x, *rest, **kw: x if layer.name in gone else layer(x, *rest, **kw)
    )
    for name in biased:
        copy.get_layer(name).set_weights(_with_bias(model.get_layer(name)))
    for norm, (name, behind) in partners.items():
        (_take_behind if behind else _take_before)(copy.get_layer(name), *_line(model.get_layer(norm)))
    return copy


class _Graph:
    """Who feeds whom, by the operations' names."""

    def __init__(self, model):
        self.ops = {op.name: op for op in model.operations}
        self.sources = {op.name: [one._keras_history.operation.name for one in _inputs(op)] for op in model.operations}
        self.readers = {name: [reader for reader, fed in self.sources.items() if name in fed] for name in self.ops}
        self.ends = {one._keras_history.operation.name for one in model.outputs}

    def norms(self):
        return [name for name, op in self.ops.items() if isinstance(op, layers.BatchNormalization)]

    def partner(self, norm):
        """→ (name of the layer that takes the norm in, whether that layer comes behind it) or None."""
        before = self._walk(norm, self._only_source, _passes_back)
        if before and isinstance(self.ops[before], LINEAR) and _is_linear(self.ops[before]):
            return before, False
        behind = self._walk(norm, self._only_reader, _passes_on)
        return (behind, True) if behind and isinstance(self.ops[behind], layers.Dense) else None

    def _walk(self, name, step, passes):
        name = step(name)
        while name and passes(self.ops[name]):
            name = step(name)
        return name

    def _only_reader(self, name):
        readers = self.readers[name]
        return readers[0] if len(readers) == 1 and name not in self.ends else None

    def _only_source(self, name):
        (source, *more) = self.sources[name] or [None]
        return source if source and not more and self._only_reader(source) == name else None


def _inputs(op):
    return [] if isinstance(op, layers.InputLayer) else keras.tree.flatten(op.input)


def _passes_back(op):
    """Between a linear layer and a norm that follows it."""
    return isinstance(op, layers.Dropout) or isinstance(op, layers.Flatten) and tuple(op.input.shape[1:-1]) == (1, 1)


def _passes_on(op):
    """Between a norm and a dense layer that follows it."""
    return isinstance(op, layers.Dropout | layers.Flatten | layers.GlobalAveragePooling2D)


def _is_linear(layer):
    return layer.activation is keras.activations.linear


def _line(norm):
    """Batch norm outside of training → factor and offset of each channel."""
    mean, variance = np.asarray(norm.moving_mean), np.asarray(norm.moving_variance)
    gamma = np.asarray(norm.gamma) if norm.scale else np.ones_like(mean)
    beta = np.asarray(norm.beta) if norm.center else np.zeros_like(mean)
    factor = gamma / np.sqrt(variance + norm.epsilon)
    return factor, beta - mean * factor


def _with_bias(layer):
    weights = layer.get_weights()
    channels = layer.output.shape[-1]
    return weights if layer.use_bias else [*weights, np.zeros(channels, np.float32)]


def _take_before(layer, factor, offset):
    """y = factor · (W x + b) + offset."""
    *first, kernel, bias = layer.get_weights()
    by_filter = factor.reshape(kernel.shape[2:]) if isinstance(layer, layers.DepthwiseConv2D) else factor
    layer.set_weights([*first, kernel * by_filter, bias * factor + offset])


def _take_behind(layer, factor, offset):
    """y = W (factor · x + offset) + b, for each place of a map that was flattened."""
    kernel, bias = layer.get_weights()
    repeats = len(kernel) // len(factor)
    factor, offset = np.tile(factor, repeats), np.tile(offset, repeats)
    layer.set_weights([kernel * factor[:, None], bias + offset @ kernel])
