"""Many devices and several processes, on JAX."""

from facetrainer.distributed.mesh import (
    AXIS,
    Devices,
    by_class,
    current,
    devices,
    norm_parts,
    sharding,
    spread,
    strategy,
    whole,
)  # fmt: skip
from facetrainer.distributed.processes import (
    agreed,
    check_parts,
    gathered,
    is_first,
    join,
    leave,
    process,
    wait_for_all,
)  # fmt: skip
from facetrainer.distributed.tables import (
    Rows,
    Table,
    WithTables,
    add_table,
    assign,
    is_finite,
    kept,
    like,
    shape_of,
    value_of,
)  # fmt: skip

__all__ = [
    "AXIS", "Devices", "Rows", "Table", "WithTables", "add_table", "agreed", "assign", "by_class", "check_parts", "current", "devices",
    "gathered", "is_finite", "is_first", "join", "kept", "leave", "like", "norm_parts", "process", "shape_of", "sharding", "spread",
    "strategy", "value_of", "wait_for_all", "whole",
]  # fmt: skip
