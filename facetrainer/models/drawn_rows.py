"""A step of the sampled head on JAX costs what the drawn classes cost, however many there are.

For as long as the step lasts the head's table, and whatever the optimizer remembers that is as long, are their drawn rows; these are
written back afterwards. So gradient, momentum and weight decay are those of the drawn rows, as in arcface_torch's PartialFC, where a
gradient of the whole table would be zeros for the most part.
"""

import contextlib

import keras

from facetrainer import optimizers
from facetrainer.heads import PartialNormDense


def tables(model) -> list[keras.Variable]:
    """What is replaced: the head's table and its memory in the optimizer.

    Args:
        model: `FaceModel`, compiled.

    Returns:
        None of them where a step needs all of the table: no sampled head, a frozen one, or an optimizer that adds up gradients of several
        steps, keeps a mean of the weights, or remembers the table in another shape.
    """
    head, inner = model.head, optimizers.inner_of(model.optimizer)
    if not isinstance(head, PartialNormDense) or not any(v is head.kernel for v in model.trainable_variables):
        return []
    path = head.kernel.path.replace("/", "_")
    memory = [v for v in inner.variables if path in v.path and len(v.shape)]
    needs_all = inner.gradient_accumulation_steps or inner.use_ema
    return [] if needs_all or any(v.shape != head.kernel.shape for v in memory) else [head.kernel, *memory]


def step(model, variables: list[keras.Variable], drawn, inner, state: tuple, data) -> tuple:
    """A step on drawn rows.

    Args:
        model: `FaceModel`.
        variables: As `tables` gives them.
        drawn: Ids of drawn classes.
        inner: The step, a function of state and batch.
        state: Values of the trainable, the other, the optimizer's and the metrics' variables.
        data: A batch.

    Returns:
        Logs and the new state.
    """
    head, (trainable, others, memory, metrics) = model.head, state

    def is_table(of):
        return [any(v is one for one in variables) for v in of]

    def reading(values, of):
        return [head.rows_at(x, drawn) if found else x for x, found in zip(values, is_table(of), strict=True)]

    def writing(values, new, of):
        found = zip(values, new, is_table(of), strict=True)
        return [head.with_rows_at(x, drawn, rows) if is_one else rows for x, rows, is_one in found]

    weights, slots = model.trainable_variables, model.optimizer.variables
    rows = reading(trainable, weights), others, reading(memory, slots), metrics
    with _as_rows(head, variables, drawn):
        logs, (new, others, new_memory, metrics) = inner(rows, data)
    return logs, (writing(trainable, new, weights), others, writing(memory, new_memory, slots), metrics)


@contextlib.contextmanager
def _as_rows(head, variables, drawn):
    """Inside, the variables have the shape of the drawn rows, and the head takes its table for those."""
    full = head.kernel.shape
    for v in variables:
        v._shape = (drawn.shape[0] * head.loss_top_k, *full[1:])
    head.given = drawn
    try:
        yield
    finally:
        head.given = None
        for v in variables:
            v._shape = full
