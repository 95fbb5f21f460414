"""Torch checkpoints whose tensors reach outside their storage, or are none."""

import pickle
import struct
import zipfile

from .files import Calls, flag, hostile, put


def torch_file(path, pickled, storages, compress=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compress, compresslevel=1) as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/version", "3\n")
        for key, data in storages.items():
            archive.writestr(f"archive/data/{key}", data)


def tensor(offset, size, stride, count):
    """Pickle of {"fc.weight": one tensor} over storage 0."""
    integer = lambda n: b"\x8a\x08" + struct.pack("<q", n)  # noqa: E731
    several = lambda numbers: b"(" + b"".join(map(integer, numbers)) + b"t"  # noqa: E731
    storage = (
        b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
        + integer(count)
        + b"tQ"
    )
    hooks = b"\x89ccollections\nOrderedDict\n)R"
    rebuilt = (
        b"ctorch._utils\n_rebuild_tensor_v2\n("
        + storage
        + integer(offset)
        + several(size)
        + several(stride)
        + hooks
        + b"tR"
    )
    return b"\x80\x02}X\x09\x00\x00\x00fc.weight" + rebuilt + b"s."


@hostile("before.pt", "read")
def before_pt(path):
    torch_file(path, tensor(-3, [4], [1], 8), {"0": bytes(32)})


@hostile("behind.pt", "read")
def behind_pt(path):
    torch_file(path, tensor(0, [1000], [1], 1000), {"0": bytes(32)})


@hostile("backwards.pt", "read")
def backwards_pt(path):
    torch_file(path, tensor(0, [8], [-100], 8), {"0": bytes(32)})


@hostile("stride_0.pt", "memory")
def stride_0_pt(path):
    torch_file(path, tensor(0, [40_000, 36_000], [0, 0], 8), {"0": bytes(32)})


@hostile("overlap.pt", "memory")
def overlap_pt(path):
    torch_file(path, tensor(0, [40_000, 36_000], [1, 1], 76_000), {"0": bytes(4 * 76_000)})


@hostile("bomb.pt", "memory")
def bomb_pt(path):
    torch_file(path, tensor(0, [100_000_000], [1], 100_000_000), {"0": bytes(400_000_000)}, zipfile.ZIP_DEFLATED)


@hostile("lists.pt", "error")
def lists_pt(path):
    torch_file(path, pickle.dumps({"fc.weight": [1, 2], "layer1.0.conv1.weight": [[3]]}, 2), {})


@hostile("list.pt", "error")
def list_pt(path):
    torch_file(path, pickle.dumps([1, 2], 2), {})


@hostile("calls.pt", "code")
def calls_pt(path):
    torch_file(path, pickle.dumps({"a": Calls(open, flag(), "w")}, 2), {})


@hostile("legacy.pt", "error")
def legacy_pt(path):
    put(
        path, pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickle.dumps({"little_endian": True}, 2)
    )


@hostile("junk.pt", "error")
def junk_pt(path):
    put(path, bytes(range(256)) * 4)
