"""IJB-B and IJB-C: model and subset → scores, 1:1 and 1:N."""

import functools
import logging
import os
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
from tqdm import tqdm

from facetrainer.data.alignment import LAYOUTS
from facetrainer.data.images import decode
from facetrainer.evaluation import study
from facetrainer.evaluation.embedder import Embedder
from facetrainer.evaluation.pairs import joined
from facetrainer.io import cached
from facetrainer.io.ijb import Ijb
from facetrainer.metrics.identification import search
from facetrainer.metrics.templates import PairProducts, Pooling, image_weights
from facetrainer.utils.files import read_bytes, replacing

log = logging.getLogger("facetrainer")


class IJB_test:
    """Model and subset → results.

    `model_file`: a model, a model file (see `faces.interface`), or a function of uint8 images (B, 112, 112, 3) RGB. Without one, or with
    `restore_embs` (an npz of `-E`), embeddings are read. `keep` names the files in which embeddings are written while they are made.
    """

    def __init__(
        self,
        model_file,
        data_path,
        subset,
        batch_size=64,
        force_reload=False,
        restore_embs=None,
        keep=None,
        trusted=False,
    ):
        self.data, self.batch_size = Ijb.open(data_path, subset), batch_size
        if restore_embs:
            self.embs, self.embs_f = _restored(restore_embs, len(self.data.faces[0]))
        elif model_file is None:
            raise ValueError("IJB_test: give a model, or restore_embs= an npz with embs and embs_f.")
        else:
            self.embs, self.embs_f = self._embed(_of_bytes(model_file, trusted), keep, force_reload)
        self.skipped: list[str] = getattr(self, "skipped", [])

    def _embed(self, embed, keep, force_reload):
        """Embeddings of all images and of their mirror images; images are read and aligned while the model works."""
        names, _, _ = self.data.faces
        self.skipped, kept = [], Kept(keep, len(names), force_reload)
        begins = list(range(kept.done, len(names), self.batch_size))
        with (
            ThreadPoolExecutor() as readers,
            ThreadPoolExecutor(1) as ahead,
            tqdm(total=len(names), initial=kept.done, desc="embeddings", disable=None) as bar,
        ):
            coming = ahead.submit(self._read, readers, begins[0]) if begins else None
            for begin, following in zip(begins, [*begins[1:], None], strict=True):
                images, coming = coming.result(), following is not None and ahead.submit(self._read, readers, following)
                kept.put(begin, embed(images), embed(images[:, :, ::-1]))
                bar.update(len(images))
        return kept.arrays()

    def _read(self, readers, begin):
        return np.stack(
            list(readers.map(self._face, range(begin, min(begin + self.batch_size, len(self.data.faces[0])))))
        )

    def _face(self, i):
        """Aligned crop of image `i`; black where it cannot be read, which is named."""
        names, points, _ = self.data.faces
        try:
            image = decode(read_bytes(self.data.image(names[i])))
            return LAYOUTS["arcface"].crop(image, points[i].astype(np.float64), smooth=False)
        except (ValueError, OSError) as error:
            self.skipped.append(names[i])
            log.warning("skipped %s: %s", names[i], error)
            return np.zeros((112, 112, 3), np.uint8)

    def templates(
        self, use_flip_test=True, use_norm_score=False, use_detector_score=True
    ) -> tuple[np.ndarray, np.ndarray]:
        """→ ids in order (T,), features (T, D) of length 1."""
        flipped, detector = self.embs_f if use_flip_test else None, self.data.faces[2] if use_detector_score else None
        weights = image_weights(self.embs, flipped, detector, use_norm_score)
        embeddings = (self.embs,) if flipped is None else (self.embs, flipped)
        return self._pooling.ids, self._pooling(*embeddings, weights=weights)

    @functools.cached_property
    def _pooling(self):
        return Pooling(*self.data.templates)

    @functools.cached_property
    def _pairs(self):
        first, second, _ = self.data.pairs
        return PairProducts(rows_of(self._pooling.ids, first), rows_of(self._pooling.ids, second))

    @functools.cached_property
    def people(self) -> np.ndarray:
        """Persons of both templates of each pair of 1:1, integers (2, P).

        By the lists of 1:N where these hold every template, else as far as the pairs tell: those of one person join their templates.
        """
        first, second, same = self.data.pairs
        rows = np.stack([rows_of(self._pooling.ids, side).astype(np.int32) for side in (first, second)])
        try:
            listed = [self.data.list_1n(name) for name in ("gallery_S1", "gallery_S2", "probe_mixed")]
            subjects = dict(zip(*map(np.concatenate, zip(*listed, strict=True)), strict=True))
            person = np.array([subjects[one] for one in self._pooling.ids], np.int32)
        except (FileNotFoundError, KeyError):
            person = joined(len(self._pooling.ids), rows[:, same].T).astype(np.int32)
        return person[rows]

    def run_model_test_single(self, use_flip_test=True, use_norm_score=False, use_detector_score=True) -> np.ndarray:
        """1:1 → score of every pair."""
        return self._pairs(self.templates(use_flip_test, use_norm_score, use_detector_score)[1])

    def run_model_test_bunch(self) -> tuple[list[np.ndarray], list[str]]:
        """1:1 in all eight ways → scores, names N0D0F0 … N1D1F1."""
        names = [(n, d, f) for n in (0, 1) for d in (0, 1) for f in (0, 1)]
        return [self.run_model_test_single(f, n, d) for n, d, f in names], ["N{}D{}F{}".format(*name) for name in names]

    def run_model_test_1N(self, npoints: int = 100):  # noqa: N802
        """1:N, F1 N0 D1 → false-accept rates, mean detection and identification rates of both galleries, CMC of each gallery.

        Logs top-1, 5 and 10 over both galleries.

        Returns:
            False-accept rates, mean detection and identification rates, and two CMC, one a gallery.
        """
        fars = np.append(10 ** np.arange(-4, 0, 4 / npoints), 1.0)
        found = self.searches()
        rates = [[one.dir_at_far(far)[0] for far in fars] for one in found]
        tops = {
            k: sum(np.sum(one.rank[one.mated] < k) for one in found) / sum(one.mated.sum() for one in found)
            for k in (1, 5, 10)
        }
        log.info(
            "1:N of %d and %d mated probes: %s",
            *(one.mated.sum() for one in found),
            ", ".join(f"top-{k} {v:.4f}" for k, v in tops.items()),
        )
        return fars, np.mean(rates, axis=0), *(one.cmc(50) for one in found)

    def searches(self) -> list:
        """`measures.identification.Search` of the mixed probes in each of the two galleries."""
        ids, features = self.templates()
        probes, people = self.data.list_1n("probe_mixed")
        galleries = [self.data.list_1n(f"gallery_S{k}") for k in (1, 2)]
        return [search(features[rows_of(ids, probes)], features[rows_of(ids, g)], people, who) for g, who in galleries]

    def searched(self, draws: int = 200) -> dict[str, dict]:
        """What `study.searched` tells of each gallery."""
        _, people = self.data.list_1n("probe_mixed")
        enrolled = [len(self.data.list_1n(f"gallery_S{k}")[0]) for k in (1, 2)]
        found = zip(self.searches(), enrolled, strict=True)
        return {f"gallery {k}": study.searched(one, people, count, draws) for k, (one, count) in enumerate(found, 1)}


class Kept:
    """Embeddings written to disk as they come, so that a run can be broken off: `keep`.npy and how many are whole."""

    def __init__(self, keep: str | None, count: int, anew: bool = False):
        self.keep, self.count, self.rows, self.done = keep, count, None, 0
        if keep and not anew and os.path.exists(keep + ".done"):
            with open(keep + ".done", encoding="utf-8") as file:
                self.done = int(file.read())
            self.rows = np.load(keep + ".npy", mmap_mode="r+")
            if self.rows.shape[1] != count:
                raise ValueError(f"{keep}.npy holds {self.rows.shape[1]} images, the set {count}: use force_reload.")
            log.info("%s: going on after %d of %d images", keep, self.done, count)

    def put(self, begin: int, plain: np.ndarray, flipped: np.ndarray) -> None:
        """Keeps the rows of one block."""
        if self.rows is None:
            self.rows = self._new(np.asarray(plain).shape[1])
        end = begin + len(plain)
        self.rows[0, begin:end], self.rows[1, begin:end] = plain, flipped
        if self.keep:
            self.rows.flush()
            with replacing(self.keep + ".done") as part, open(part, "w", encoding="utf-8") as file:
                file.write(str(end))

    def _new(self, width):
        if not self.keep:
            return np.empty((2, self.count, width), np.float32)
        os.makedirs(os.path.dirname(self.keep) or ".", exist_ok=True)
        return np.lib.format.open_memmap(self.keep + ".npy", "w+", np.float32, (2, self.count, width))

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Embeddings as they are, and of the mirrored images."""
        return self.rows[0], self.rows[1]

    @staticmethod
    def remove(keep: str | None) -> None:
        """Once a result is written: a later run is of the model as it is then."""
        for suffix in (".npy", ".done"):
            if keep and os.path.exists(keep + suffix):
                os.remove(keep + suffix)


def _of_bytes(model, trusted):
    """→ function of uint8 images; a function given is taken as it is."""
    if callable(model) and not isinstance(model, keras.Model):
        return model
    embed = Embedder(model, trusted=trusted)
    return lambda images: embed(embed.decode(images), flip=False)


def _restored(path, count):
    found = cached.read_npz(path)
    if not {"embs", "embs_f"} <= set(found):
        raise ValueError(f"{path}: expected arrays embs and embs_f, as -E writes them. Received: {sorted(found)}")
    if len(found["embs"]) != count:
        raise ValueError(f"{path} holds {len(found['embs'])} embeddings, the set has {count} images.")
    return found["embs"], found["embs_f"]


def rows_of(ids: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Places of template ids among those in order; ValueError names one that has no image."""
    rows = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
    if not np.array_equal(ids[rows], wanted):
        raise ValueError(
            f"template {wanted[ids[rows] != wanted][0]} is asked for, but face_tid_mid.txt has no image of it."
        )
    return rows
