"""Flags of commands that run on many devices and machines."""

from __future__ import annotations

import argparse
import contextlib
import os
import traceback
from collections.abc import Iterator

from facetrainer.utils.lazy import later

distributed, keras = later("facetrainer.distributed"), later("keras")


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the flags."""
    group = parser.add_argument_group("many devices and machines, on JAX (batch_size is that of each device)")
    group.add_argument("--devices", type=int, metavar="N", help="use the first N devices; otherwise all there are")
    group.add_argument(
        "--shard-classes", action="store_true", help="split the head's table and scores over the devices, by class"
    )
    group.add_argument(
        "--batch-norm", choices=("whole", "device"), default="whole", help="batch norm over all images or each device's"
    )
    group.add_argument(
        "--machines", metavar="HOST:PORT", help="address of the first process; Slurm's variables are read without it"
    )
    group.add_argument("--machine", metavar="K/N", help="number of this process, from 0, and how many there are")
    group.add_argument(
        "--heartbeat", type=int, default=30, metavar="S", help="seconds after which a lost process ends the others (30)"
    )


@contextlib.contextmanager
def used(a: argparse.Namespace) -> Iterator[None]:
    """What runs inside the block is on the devices that the flags ask for; on JAX without flags on all of this machine.

    An exception in one of several processes ends this one at once, so that the others end too.

    Args:
        a: Parsed arguments.
    """
    is_asked = a.devices is not None or a.shard_classes or a.batch_norm != "whole" or a.machines or a.machine
    if is_asked:
        os.environ.setdefault("KERAS_BACKEND", "jax")
    has_others = distributed.join(a.machines, a.machine, a.heartbeat)
    try:
        with contextlib.ExitStack() as stack:
            is_jax = keras.backend.backend() == "jax"
            if is_asked or has_others or (is_jax and len(keras.distribution.list_devices()) > 1):
                stack.enter_context(distributed.devices(a.shard_classes, a.batch_norm, a.devices or 0))
            if not distributed.is_first():
                stack.enter_context(contextlib.redirect_stdout(stack.enter_context(open(os.devnull, "w"))))
            yield
    except BaseException:
        if has_others:
            traceback.print_exc()
            distributed.leave(1)
        raise
