"""IJB-B and IJB-C as InsightFace distributes them: `{subset}/loose_crop/*.jpg` and text files in `{subset}/meta`."""

import csv
import dataclasses
import functools
import os

import numpy as np


@dataclasses.dataclass(frozen=True)
class Ijb:
    """Where one subset lies: `root` holds `loose_crop` and `meta`."""

    root: str
    subset: str

    @classmethod
    def open(cls, data_path: str, subset: str) -> "Ijb":
        """`data_path`, or the subset's folder in it; FileNotFoundError says what is missing."""
        for root in (os.path.join(data_path, subset), data_path):
            if os.path.isdir(os.path.join(root, "meta")):
                return cls(root, subset.lower())
        raise FileNotFoundError(
            f"{os.path.join(data_path, subset, 'meta')} does not exist. Expected {subset}/meta/{subset.lower()}_face_tid_mid.txt "
            f"and others, and {subset}/loose_crop, as in InsightFace's IJB_release."
        )

    def path(self, name: str) -> str:
        """Path of one of the set's lists; FileNotFoundError where it is missing."""
        path = os.path.join(self.root, "meta", f"{self.subset}_{name}")
        if not os.path.exists(path):
            raise FileNotFoundError(f"{path} does not exist.")
        return path

    def image(self, name: str) -> str:
        """Path of an image by its name."""
        return os.path.join(self.root, "loose_crop", name)

    @functools.cached_property
    def templates(self) -> tuple[np.ndarray, np.ndarray]:
        """Template and medium of each image (n,), (n,)."""
        table = _numbers(self.path("face_tid_mid.txt"), (1, 2))
        return table[:, 0].astype(np.int64), table[:, 1].astype(np.int64)

    @functools.cached_property
    def faces(self) -> tuple[list[str], np.ndarray, np.ndarray]:
        """File, five landmarks (n, 5, 2) and the detector's score (n,) of each image."""
        path = self.path("name_5pts_score.txt")
        with open(path, encoding="utf-8") as file:
            names = [line.split(" ", 1)[0] for line in file if line.strip()]
        table = _numbers(path, range(1, 12))
        return names, table[:, :10].reshape(-1, 5, 2).astype(np.float32), table[:, 10].astype(np.float32)

    @functools.cached_property
    def pairs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """First template, second template, whether they are of one person (P,)."""
        return read_pairs(self.path("template_pair_label.txt"))

    def list_1n(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Templates and their people, of gallery_S1, gallery_S2 or probe_mixed (gallery_G1, gallery_G2 in IJB-C)."""
        with open(self._list_path(name), encoding="utf-8", newline="") as file:
            rows = {int(row["TEMPLATE_ID"]): int(row["SUBJECT_ID"]) for row in csv.DictReader(file)}
        return np.array(list(rows), np.int64), np.array(list(rows.values()), np.int64)

    def _list_path(self, name):
        for one in (name, name.replace("_S", "_G")):
            path = os.path.join(self.root, "meta", f"{self.subset}_1N_{one}.csv")
            if os.path.exists(path):
                return path
        raise FileNotFoundError(f"{path} does not exist: 1:N needs the two galleries' and the probes' lists.")


def read_pairs(path: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """template_pair_label.txt → first template, second template, whether they are of one person (P,)."""
    table = _numbers(path, (0, 1, 2), np.int32)
    return *np.ascontiguousarray(table[:, :2].T), table[:, 2] == 1


def _numbers(path, columns, dtype=np.float64):
    """Columns of a file of blanks and numbers; pandas reads fifteen million lines in seconds."""
    import pandas as pd

    try:
        return pd.read_csv(path, sep=" ", header=None, usecols=list(columns), dtype=dtype).to_numpy()
    except ValueError as error:
        raise ValueError(f"{path}: expected numbers in columns {list(columns)} ({error})") from None
