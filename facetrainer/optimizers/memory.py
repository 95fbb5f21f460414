"""What an optimizer remembers: carried over to the next stage's, and saved for tables over several devices."""

import types

import keras

from facetrainer import distributed
from facetrainer.utils.keras_compat import skip_all_reduce


def successor(
    template: keras.optimizers.Optimizer, variables: list, memory_of: keras.optimizers.Optimizer | None = None,
    loss_scale: bool = False, forget: str | None = None, **options,
) -> tuple[keras.optimizers.Optimizer, int]:  # fmt: skip
    """An optimizer of the same kind for other variables.

    Args:
        template: Gives class and settings.
        variables: What the new one trains.
        memory_of: The one in use before: its memory of the variables that stay is carried over. Defaults to none.
        loss_scale: Wrap it in Keras's `LossScaleOptimizer`, as float16 needs. Defaults to `False`.
        forget: Part of the names of variables whose memory is not. Defaults to none.
        **options: Settings over those of `template`.

    Returns:
        The optimizer, built, and how many of its slots were carried over.
    """
    inner = inner_of(template)
    new = type(inner).from_config({**inner.get_config(), **options})
    skip_all_reduce(new)
    new = keras.optimizers.LossScaleOptimizer(new) if loss_scale else new
    build(new, variables)
    known = {v.path: v for v in getattr(memory_of, "variables", ()) if not (forget and forget in v.path)}
    carried = [v for v in new.variables if v.path in known and known[v.path].shape == v.shape]
    for v in carried:
        v.assign(known[v.path])
    return new, len(carried)


def build(optimizer: keras.optimizers.Optimizer, variables: list) -> None:
    """As Keras's `build`; memory of a table that is filled up to the number of devices is so in files as well.

    Args:
        optimizer: Not built yet.
        variables: What it trains.
    """
    optimizer.build(variables)
    tables = {v.path.replace("/", "_"): v for v in variables if hasattr(v, "table")}
    for slot in optimizer.variables if tables else ():
        for path, table in tables.items():
            if path in slot.path:
                distributed.like(slot, table)
    if tables:
        object.__setattr__(optimizer, "save_own_variables", types.MethodType(_save_tables, optimizer))
        object.__setattr__(optimizer, "load_own_variables", types.MethodType(_load_tables, optimizer))


def _save_tables(self, store):
    for i, v in enumerate(self.variables):
        store[str(i)] = distributed.value_of(v)


def _load_tables(self, store):
    if len(store.keys()) != len(self.variables):
        type(self).load_own_variables(self, store)  # which says so
        return
    for i, v in enumerate(self.variables):
        distributed.assign(v, store[str(i)])


def inner_of(optimizer: keras.optimizers.Optimizer | None) -> keras.optimizers.Optimizer | None:
    """The optimizer without loss scaling around it.

    Args:
        optimizer: Perhaps with loss scaling around it; None where there is none.

    Returns:
        The optimizer itself.
    """
    return getattr(optimizer, "inner_optimizer", optimizer)
