"""npz archives of arrays that are none."""

import zipfile

import numpy as np

from .files import Calls, flag, hostile


@hostile("bomb.npz", "memory")
def bomb_npz(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, array in (
            ("image_names", np.zeros(2_000_000, "U40")),
            ("image_classes", np.zeros(2_000_000, np.int64)),
        ):
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, array)


@hostile("characters.npz", "error")
def characters_npz(path):
    """Found by fuzzing: numbers in a text that are no characters."""
    names = np.array([0x110000, 0x7FFFFFFF], "<u4").view("<U1")
    np.savez(path, image_names=names, image_classes=np.zeros(2))


@hostile("scalar.npz", "error")
def scalar_npz(path):
    np.savez(path, image_names=np.array("a.jpg"), image_classes=np.array(3))


@hostile("objects.npz", "code")
def objects_npz(path):
    np.savez(path, image_names=np.array([Calls(open, flag(), "w")], object), image_classes=np.zeros(1))
