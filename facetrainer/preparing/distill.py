"""A teacher's embeddings of a whole dataset, once: what `distill` trains on.

python data_distiller.py -D /datasets/faces_casia -M r100.onnx --use_fp16
train.Train("faces_casia_distill_fp16.tfrecord", …)
"""

import json
import logging
import os

import numpy as np

from facetrainer.data import sources
from facetrainer.evaluation.embedder import Embedder
from facetrainer.evaluation.interface import file_of
from facetrainer.io import cached
from facetrainer.preparing.views import Views
from facetrainer.utils.files import sha256_of, write_json

__all__ = ["Data_distiller", "Rows"]
log = logging.getLogger("facetrainer")


class Rows:
    """Rows of one width appended to a file that may be broken off at any byte; beside it stands of what they are.

    Args:
        path: The file.
        dtype: Of the rows.
        recover: Whether to go on with the rows that are there.
        about: Teacher, data and whatever else has to be the same to go on, as JSON takes it.

    Raises:
        ValueError: The rows that are there are of something else.
    """

    def __init__(self, path: str, dtype: str, recover: bool, about: dict | None = None):
        self.path, self.dtype, self.width, self.head = path, np.dtype(dtype), 0, path + ".json"
        self.about = {**(about or {}), "dtype": str(self.dtype)}
        if not recover:
            self.remove()
        elif os.path.exists(path) and os.path.exists(self.head):
            self.width = self._same_width()

    def _same_width(self):
        with open(self.head, encoding="utf-8") as file:
            found = json.load(file)
        width = found.pop("width")
        changed = [
            f"{key} was {found.get(key)}, is {self.about[key]}"
            for key in self.about
            if found.get(key) != self.about[key]
        ]
        if changed:
            raise ValueError(
                f"{self.path} was begun with another setting: {'; '.join(changed)}. Leave -R (recover) out to begin anew, or give another "
                "dest_file."
            )
        return width

    def __len__(self):
        return os.path.getsize(self.path) // (self.width * self.dtype.itemsize) if self.width else 0

    def append(self, rows: np.ndarray) -> None:
        """Writes rows behind those that are whole."""
        if not self.width:
            self.width = rows.shape[1]
            write_json(self.head, {**self.about, "width": self.width})
        with open(self.path, "ab") as file:
            file.truncate(len(self) * self.width * self.dtype.itemsize)
            file.write(rows.astype(self.dtype).tobytes())

    def read(self) -> np.ndarray:
        """All rows, `(n, D)`."""
        return np.fromfile(self.path, self.dtype).reshape(-1, self.width)

    def remove(self) -> None:
        """Deletes both files."""
        for path in (self.path, self.head):
            if os.path.exists(path):
                os.remove(path)


def Data_distiller(  # noqa: N802
    data_path, model_file=None, dest_file=None, save_npz=False, batch_size=256, use_fp16=False, limit=-1, recover=False,
    shape=None, trusted=False, views=1, blend=0.5, seed=0,
) -> str:  # fmt: skip
    """Writes a teacher's embeddings of a dataset.

    Args:
        data_path: As `Train` takes it.
        model_file: The teacher: a model, a model file or a function, see `evaluation.interface`. Without one, data that hold embeddings
            already are written anew: `x.npz` → `x.tfrecord`.
        dest_file: `.tfrecord`, which holds the images, or `.npz`, which names them. Defaults to the data's name and `_distill.tfrecord`.
        save_npz: Ending of the default name. Defaults to `False`.
        batch_size: Images at a time. Defaults to `256`.
        use_fp16: Embeddings as float16. Defaults to `False`.
        limit: Above 0, the first so many images. Defaults to `-1`.
        recover: Go on with a run of the same teacher, type and data that was broken off. Defaults to `False`.
        shape: `(height, width)` of the images, where the teacher leaves it open.
        trusted: See `evaluation.interface`. Defaults to `False`.
        views: Above 1, the file holds each image as it is and `views - 1` times changed, see `preparing.views`; `.tfrecord` alone
            can. Defaults to `1`.
        blend: Part of the changed images that are laid over another one. Defaults to `0.5`.
        seed: Of the changes. Defaults to `0`.

    Returns:
        Path of the file: images, labels and embeddings. Images that cannot be read are named and left out.

    Raises:
        ValueError: There is no teacher and no embeddings, the run that was broken off is of something else, an `.npz` is asked to hold
            changed images, or `views` or `blend` are out of range.
    """
    if views < 1 or not 0 <= blend <= 1 or views > 1 and model_file is None:
        raise ValueError(
            f"expected views of 1 or more, blend from 0 to 1, and a teacher to look at views. Received: {views}, {blend}, {model_file}"
        )
    source = sources.open_source(data_path)
    if model_file is None:
        return _rewritten(source, data_path, dest_file, use_fp16)
    dest = checked(dest_file or _default_name(data_path, use_fp16) + (".npz" if save_npz else ".tfrecord"))
    embedder = Embedder(model_file, batch_size, shape, trusted)
    count = min(limit, len(source)) if limit > 0 else len(source)
    if views > 1:
        source = _viewed(sources.Subset(source, np.arange(count)), dest, views, blend, seed, embedder.size)
        count = len(source)
    about = {
        "teacher": named(model_file),
        "data": os.path.abspath(str(data_path)),
        "images": len(source),
        "first": source.name(0),
        **({"views": views, "blend": blend, "seed": seed} if views > 1 else {}),
    }
    rows = Rows(dest + ".rows", "float16" if use_fp16 else "float32", recover, about)
    if len(rows):
        log.info("going on after %d of %d images", len(rows), count)
    for found in embedder.of_source(source, np.arange(len(rows), count)):
        rows.append(found)
    write(dest, source, rows.read()[:count])
    rows.remove()
    return dest


def _viewed(source, dest, views, blend, seed, size):
    if dest.endswith(".npz"):
        raise ValueError(
            f"views={views}: {dest} names images and holds none, so that changed ones have no place there. Give a .tfrecord."
        )
    return Views(source, views, blend, seed, size)


def checked(dest: str) -> str:
    """`dest`, where its name says what it is to be."""
    if not dest.endswith((".npz", ".tfrecord")):
        raise ValueError(f"dest_file: expected a name ending in .npz or .tfrecord. Received: {dest!r}")
    return dest


def _rewritten(source, data_path, dest_file, use_fp16):
    """Embeddings that the data bring → `x.tfrecord` of `x.npz`, or `dest_file`."""
    if source.embeddings is None:
        raise ValueError(
            "no teacher given, and the data hold no embeddings. Give -M (model_file=) a model, a model file or a callable."
        )
    dest = checked(dest_file or os.path.splitext(os.path.basename(data_path))[0] + ".tfrecord")
    if os.path.abspath(dest) == os.path.abspath(data_path):
        raise ValueError(f"{data_path} is both source and target: give another dest_file.")
    embeddings = np.asarray(source.embeddings[np.arange(len(source))])
    write(dest, source, embeddings.astype(np.float16) if use_fp16 else embeddings)
    return dest


def named(model: object) -> str:
    """What tells one teacher from another: a file's bytes, a model's or function's name."""
    if not isinstance(model, str):
        return f"{type(model).__name__} {getattr(model, 'name', getattr(model, '__qualname__', ''))}"
    path = file_of(model)
    if not os.path.exists(path):
        raise FileNotFoundError(f"model file {path!r} does not exist.")
    return f"{os.path.basename(path)} {sha256_of(path)[:16] if os.path.isfile(path) else cached.state(path)}"


def _default_name(data_path, use_fp16):
    name = os.path.basename(os.path.abspath(os.path.expanduser(str(data_path))))
    return f"{os.path.splitext(name)[0]}_distill" + ("_fp16" if use_fp16 else "")


def write(dest: str, source: sources.Source, embeddings: np.ndarray) -> None:
    """Images whose embeddings are numbers, with them, to an `.npz` or `.tfrecord`."""
    kept = np.flatnonzero(np.isfinite(embeddings).all(axis=1))
    log.info("%s: %d images, %d left out", dest, len(kept), len(embeddings) - len(kept))
    if dest.endswith(".npz"):
        sources.write_list(dest, source, kept, embeddings[kept])
    else:
        sources.write_shard(dest, ((source.read(int(i)), source.labels[i], embeddings[i]) for i in kept))
