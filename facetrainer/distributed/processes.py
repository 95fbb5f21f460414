"""Several processes as one run: how they meet, what they agree on, and how they end."""

import hashlib
import logging
import os
import sys

import keras
import numpy as np

from facetrainer.distributed.mesh import current
from facetrainer.utils import files

log = logging.getLogger("facetrainer")

SLURM = ("SLURM_JOB_ID", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_STEP_NODELIST", "SLURM_STEP_NUM_NODES", "SLURM_NTASKS")


def join(machines: str | None = None, machine: str | None = None, heartbeat: int = 30) -> bool:
    """Makes this process one of a run of several, before anything is computed; on the JAX backend.

    Files, messages and pictures are those of process 0. Without arguments Slurm's variables are read, where there are any.

    Args:
        machines: `"HOST:PORT"` of process 0, which the others can reach.
        machine: `"k/n"`: number of this process, from 0, and how many there are.
        heartbeat: Seconds after which a process that is no longer heard of ends the others. Defaults to `30`.

    Returns:
        Whether the run has several processes.

    Raises:
        ValueError: The arguments are wrong, or Keras does not run on JAX.
    """
    where = _where(machines, machine)
    if where is None or (not where and keras.backend.backend() != "jax"):
        return False
    if keras.backend.backend() != "jax":
        raise ValueError("several machines need the JAX backend: set KERAS_BACKEND=jax before Keras is imported.")
    import jax

    jax.distributed.initialize(**where, heartbeat_timeout_seconds=heartbeat)
    if jax.process_count() == 1:
        return False
    if jax.process_index():
        files.keep_nothing()
        log.setLevel(logging.WARNING)
    keras.utils.set_random_seed(int(_of_first(np.random.SeedSequence().generate_state(1)[0] % 2**31)))
    log.info("process %d of %d, %d devices", jax.process_index(), jax.process_count(), jax.device_count())
    return True


def _where(machines, machine):
    """Arguments of `jax.distributed.initialize`, or None for a process alone."""
    if machines is None and machine is None:
        is_slurm = all(name in os.environ for name in SLURM) and int(os.environ["SLURM_NTASKS"]) > 1
        return {} if is_slurm else None
    number, slash, count = (machine or "").partition("/")
    host, colon, port = (machines or "").rpartition(":")
    is_whole = slash and colon and host and all(part.isdecimal() for part in (number, count, port))
    if not is_whole or not int(number) < int(count):
        raise ValueError(
            "expected machines HOST:PORT, those of the first process, and machine k/n, from 0/n to n-1/n. "
            f"Received: {machines!r}, {machine!r}"
        )
    return {"coordinator_address": machines, "num_processes": int(count), "process_id": int(number)}


def _of_first(value):
    from jax.experimental import multihost_utils

    return multihost_utils.broadcast_one_to_all(np.asarray(value))


def process() -> tuple[int, int]:
    """Number of this process among those of the run, and how many there are."""
    found = current()
    return (0, 1) if found is None else (found._process_id, found.num_processes)


def is_first() -> bool:
    """Whether this process writes the run's files."""
    return process()[0] == 0


def gathered(value: np.ndarray) -> np.ndarray:
    """Arrays of all processes, of one shape, in order: `(...)` → `(processes, ...)`. Every process has to call this."""
    if process()[1] == 1:
        return np.asarray(value)[None]
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.process_allgather(np.asarray(value)))


def agreed(wish: bool) -> bool:
    """Whether any process wishes it. Every process has to call this."""
    return bool(gathered(np.array(wish)).any())


def wait_for_all() -> None:
    """Until every process is here."""
    gathered(np.zeros((), np.int32))


def check_parts(order: np.ndarray, images: np.ndarray) -> None:
    """Before a stage: the processes have to read different parts of one batch.

    Args:
        order: Samples of the whole batch, where it is known; the same for all.
        images: This process's part of it.

    Raises:
        ValueError: The parts are of other sizes or the same, or the processes go by different orders.
    """
    if process()[1] == 1:
        return
    about = np.array([len(images), _digest(images), _digest(order)], np.uint32)
    sizes, parts, orders = gathered(about).T
    if len(set(sizes.tolist())) > 1:
        raise ValueError(
            f"the processes read {sizes.tolist()} images of a batch: expected as many for each. Start as many devices in every process."
        )
    if len(set(parts.tolist())) < len(parts):
        raise ValueError(
            "several processes read the same images, and would train on them twice. Give each its own part of a dataset; a path is divided "
            "by Train itself."
        )
    if len(set(orders.tolist())) > 1:
        raise ValueError(
            "the processes go through the data in different orders: expected the same data and the same seed in all."
        )


def _digest(array):
    return int.from_bytes(hashlib.blake2b(np.ascontiguousarray(array), digest_size=4).digest(), "little")


def leave(code: int) -> None:
    """Ends this process at once where others may be waiting for it, or it for them; a lone process goes on."""
    import jax

    if jax.process_count() > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
