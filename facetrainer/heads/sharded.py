"""The sampled head where classes are split over devices: each draws from its own. On JAX."""

from keras import ops

from facetrainer import distributed
from facetrainer.distributed import AXIS
from facetrainer.heads.cosine import cosines


def sample_size(head, labels: int, devices: int) -> tuple[int, int]:
    """How many classes a step sees.

    Args:
        head: `PartialNormDense`.
        labels: Labels of a step, those of all devices.
        devices: Number of devices.

    Returns:
        Classes that each device draws, enough for all labels wherever they lie; and how many there are together, which are fewer where the
        last device has not as many.
    """
    share = -(-head.units // devices)
    size = max(int(head.sample_rate * share), min(labels, share))
    return size, sum(min(size, max(head.units - place * share, 0)) for place in range(devices))


def sampled(head, embedding, labels):
    """Scores of the classes that are drawn in this step.

    Args:
        head: `PartialNormDense`.
        embedding: `(batch, D)`, whole on every device.
        labels: `(N,)`, likewise.

    Returns:
        Scores `(batch, drawn)`, split by class; labels as columns of them; regularisation of the drawn rows or 0; ids of the drawn classes.
    """
    import jax
    from jax.sharding import PartitionSpec as Spec

    devices = distributed.sharding()
    size, together = sample_size(head, labels.shape[0], devices.count)

    def on_one_device(table, embedding, labels, key):
        place, share = jax.lax.axis_index(AXIS), table.shape[0] // head.loss_top_k
        local = labels - place * share
        is_own = (local >= 0) & (local < share)
        drawn = _draw(jax.random.fold_in(key, place), share, head.units - place * share, local, is_own, size)
        rows = ops.take(table, head.rows_of(drawn), axis=0)
        columns = jax.lax.psum(ops.where(is_own, place * size + ops.searchsorted(drawn, local), 0), AXIS)
        penalty = 0.0 if head.kernel_regularizer is None else jax.lax.psum(head.kernel_regularizer(rows), AXIS)
        return head.nearest(cosines(embedding, rows, axis=1)), columns, penalty, drawn + place * share

    mapped = jax.shard_map(
        on_one_device, mesh=devices.mesh, in_specs=(Spec(AXIS), Spec(), Spec(), Spec()),
        out_specs=(Spec(None, AXIS), Spec(), Spec(), Spec(AXIS)),
    )  # fmt: skip
    scores, *rest, drawn = mapped(ops.convert_to_tensor(head.kernel), embedding, labels, head.generator.next())
    return scores[:, :together], *rest, drawn[:together]  # what fills up the table comes last


def _draw(key, share, there, local, is_own, size):
    """`size` sorted classes of a device, among them the labels that are its own; of the table's rows `there` are classes."""
    import jax

    luck = ops.where(ops.arange(share) < there, jax.random.uniform(key, (share,)), -1.0)
    luck = luck.at[ops.where(is_own, local, share)].set(2.0, mode="drop")
    return ops.sort(ops.top_k(luck, size, sorted=False)[1])
