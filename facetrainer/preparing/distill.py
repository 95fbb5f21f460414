"""A teacher's embeddings of a whole dataset, once: what `distill` trains on.

python data_distiller.py -D /datasets/faces_casia -M r100.onnx --use_fp16
train.Train("faces_casia_distill_fp16.tfrecord", …)
"""

import logging
import os

import numpy as np

from facetrainer.data import sources
from facetrainer.evaluation.embedder import Embedder
from facetrainer.evaluation.interface import interface

__all__ = ["Data_distiller", "Rows", "teacher_model_interf_wrapper"]
log = logging.getLogger("facetrainer")

teacher_model_interf_wrapper = interface  # the seed's name


class Rows:
    """Rows of one width appended to a file that may be broken off at any byte."""

    def __init__(self, path: str, dtype: str, recover: bool):
        self.path, self.dtype, self.width = path, np.dtype(dtype), 0
        if not recover and os.path.exists(path):
            os.remove(path)
        self.head = path + ".width"
        if os.path.exists(path) and os.path.exists(self.head):
            with open(self.head) as file:
                self.width = int(file.read())

    def __len__(self):
        return os.path.getsize(self.path) // (self.width * self.dtype.itemsize) if self.width else 0

    def append(self, rows: np.ndarray) -> None:
        if not self.width:
            self.width = rows.shape[1]
            with open(self.head, "w") as file:
                file.write(str(self.width))
        with open(self.path, "ab") as file:
            file.truncate(len(self) * self.width * self.dtype.itemsize)
            file.write(rows.astype(self.dtype).tobytes())

    def read(self) -> np.ndarray:
        return np.fromfile(self.path, self.dtype).reshape(-1, self.width)

    def remove(self) -> None:
        for path in (self.path, self.head):
            os.remove(path)


def Data_distiller(  # noqa: N802
    data_path, model_file=None, dest_file=None, save_npz=False, batch_size=256, use_fp16=False, limit=-1, recover=False,
    shape=None,
) -> str:  # fmt: skip
    """Dataset and teacher (see `faces.interface`) → path of a TFRecord file of images, labels and embeddings, or of an npz.

    The npz names the images where they are, the TFRecord holds them. `limit` > 0: the first so many images. `recover` goes on
    with a run that was broken off. Images that cannot be read are named and left out.
    """
    if model_file is None:
        raise ValueError("Data_distiller: no teacher given. Give model_file= a model, a model file or a callable.")
    source = sources.open_source(data_path)
    dest = dest_file or _default_name(data_path, use_fp16) + (".npz" if save_npz else ".tfrecord")
    if not dest.endswith((".npz", ".tfrecord")):
        raise ValueError(f"dest_file: expected a name ending in .npz or .tfrecord. Received: {dest!r}")
    count = min(limit, len(source)) if limit > 0 else len(source)
    rows = Rows(dest + ".rows", "float16" if use_fp16 else "float32", recover)
    if len(rows):
        log.info("going on after %d of %d images", len(rows), count)
    for found in Embedder(model_file, batch_size, shape).of_source(source, np.arange(len(rows), count)):
        rows.append(found)
    _write(dest, source, rows.read()[:count])
    rows.remove()
    return dest


def _default_name(data_path, use_fp16):
    name = os.path.basename(os.path.abspath(os.path.expanduser(str(data_path))))
    return f"{os.path.splitext(name)[0]}_distill" + ("_fp16" if use_fp16 else "")


def _write(dest, source, embeddings):
    kept = np.flatnonzero(np.isfinite(embeddings).all(axis=1))
    log.info("%s: %d images, %d left out", dest, len(kept), len(embeddings) - len(kept))
    if dest.endswith(".npz"):
        sources.write_list(dest, source, kept, embeddings[kept])
    else:
        sources.write_shard(dest, ((source.read(int(i)), source.labels[i], embeddings[i]) for i in kept))
