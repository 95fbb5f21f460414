"""The sampled head where classes are split over devices: each draws from its own. On JAX.

Ids of drawn classes are `(devices · size,)`, split over the devices as the classes are, and sorted.
"""

from keras import ops

from facetrainer import distributed
from facetrainer.distributed import AXIS
from facetrainer.heads import drawing


def sample_size(head, labels: int) -> tuple[int, int]:
    """How many classes a step sees.

    Args:
        head: `PartialNormDense`.
        labels: Labels of a step, those of all devices.

    Returns:
        Classes that each device draws, enough for all labels wherever they lie; and how many there are together, which are fewer where the
        last device has not as many.
    """
    devices = distributed.sharding().count
    share = -(-head.units // devices)
    size = max(int(head.sample_rate * share), min(labels, share))
    return size, sum(min(size, max(head.units - place * share, 0)) for place in range(devices))


def draw(head, labels):
    """Ids of the classes of a step; those that only fill up the table come last.

    Args:
        head: `PartialNormDense`.
        labels: `(N,)`, whole on every device.

    Returns:
        Ids `(rows of the step,)`.
    """
    devices, (size, _) = distributed.sharding().count, sample_size(head, labels.shape[0])
    share = -(-head.units // devices)

    def on_one_device(functions, labels):
        first = _place() * share
        local = ops.where((labels >= first) & (labels < first + share), labels - first, share)
        return first + drawing.drawn(local, functions[0], size, share, head.units - first, spare=devices - 1)

    return _mapped(on_one_device, "s.", "s")(drawing.functions(share, head.generator, devices), labels)


def columns(head, drawn, labels):
    """Labels as places among the drawn classes, on every device."""
    share = -(-head.units // distributed.sharding().count)

    def on_one_device(drawn, labels):
        import jax

        is_own = labels // share == _place()
        found = _place() * drawn.shape[0] + ops.searchsorted(drawn, labels)
        return jax.lax.psum(ops.where(is_own, found, 0), AXIS)

    return _mapped(on_one_device, "s.", ".")(drawn, labels)


def rows(table, places):
    """Rows of a table; each device reads its own.

    Args:
        table: `(all rows, D)`, split by row.
        places: Those of the rows, split likewise.

    Returns:
        The rows `(places, D)`.
    """

    def on_one_device(table, places):
        return ops.take(table, places - _place() * table.shape[0], axis=0)

    return _mapped(on_one_device, "ss", "s")(table, places)


def with_rows(table, places, values):
    """The table with other values in some rows, as `rows` gives them."""

    def on_one_device(table, places, values):
        own = places - _place() * table.shape[0]
        return table.at[own].set(values, unique_indices=True, indices_are_sorted=True)

    return _mapped(on_one_device, "sss", "s")(table, places, values)


def _place():
    """Number of the device."""
    import jax

    return jax.lax.axis_index(AXIS)


def _mapped(function, given: str, gives: str):
    """`shard_map`; a letter for each tensor: "s" split by its first axis, "." whole on every device."""
    import jax
    from jax.sharding import PartitionSpec as Spec

    specs = {"s": Spec(AXIS), ".": Spec()}
    mesh = distributed.sharding().mesh
    return jax.shard_map(function, mesh=mesh, in_specs=tuple(specs[one] for one in given), out_specs=specs[gives])
