"""Layers that a stage leaves as they are."""

import contextlib
from collections.abc import Iterator

import keras


class Frozen:
    """Flags of all layers of a model, some of them frozen.

    Args:
        model: Basic model.
        names: Layers to freeze.
        everything: Freeze the whole model.
    """

    def __init__(self, model: keras.Model, names: set[str], everything: bool = False):
        self.layers = list(model._flatten_layers())
        self.before = [layer.trainable for layer in self.layers]
        self.active = bool(names) or everything
        self.wanted = [
            flag and not everything and layer.name not in names
            for layer, flag in zip(self.layers, self.before, strict=True)
        ]

    def _set(self, flags):
        for layer, trainable in zip(
            self.layers, flags, strict=True
        ):  # parents come first, their children's own flags last
            if self.active:
                layer.trainable = trainable

    @contextlib.contextmanager
    def lifted(self) -> Iterator[None]:
        """The flags are as they were before inside the block: a file that is saved there loads trainable."""
        self._set(self.before)
        try:
            yield
        finally:
            self._set(self.wanted)


@contextlib.contextmanager
def frozen_layers(model: keras.Model, names: set[str], everything: bool = False) -> Iterator[Frozen]:
    """Freezes layers for the time of the block; afterwards every layer is exactly as trainable as it was, whatever happens.

    Args:
        model: Basic model.
        names: Layers to freeze, nested ones included.
        everything: Freeze the whole model.

    Yields:
        The `Frozen`, whose `lifted()` undoes it for a moment.
    """
    frozen = Frozen(model, names, everything)
    frozen._set(frozen.wanted)
    try:
        yield frozen
    finally:
        frozen._set(frozen.before)
