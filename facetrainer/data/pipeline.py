"""A source of faces, an order and augmentations → batches."""

import dataclasses
import functools
import hashlib
import itertools
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from facetrainer import distributed
from facetrainer.data import ready, sampling, stream
from facetrainer.data.images import decode, grey, normalised
from facetrainer.data.sampling import PeopleByImages, Shuffled
from facetrainer.data.sources import Source, open_source

log = logging.getLogger("facetrainer")

MOST_UNREADABLE, FEW = 0.02, 3  # part of the images, and a number that is never too many


class Chance:
    """Random numbers of a batch, those of each image by its place: which process reads it does not matter.

    Args:
        seed: Of the run.
        epoch: Number of the epoch.
        step: Number of the batch.
    """

    def __init__(self, seed: int, epoch: int, step: int):
        key = np.random.SeedSequence((seed, epoch, step, 1)).generate_state(2, np.uint64)
        self.bits = np.random.Philox(key=key)
        self.state, self.generator = self.bits.state, np.random.Generator(self.bits)

    def of(self, place: int, kind: int = 0) -> np.random.Generator:
        """The generator, at the begin of the numbers of an image (kind 0) or of a part of the batch (1); any use before is over."""
        self.state["state"]["counter"][2:] = kind, place
        self.bits.state = self.state
        return self.generator


@dataclasses.dataclass
class Faces:
    """Batches of `(images uint8 (B, H, W, C), {"labels": int32 (B,)})`.

    Args:
        source: Where the images are.
        order: Which ones make a batch.
        shape: `(height, width, channels)`. Defaults to `(112, 112, 3)`.
        augmentations: `(image, rng) → image`, uint8 both. Defaults to `<factory>`.
        seed: Of the order and the augmentations. Defaults to `0`.
        teacher: Function of normalised images; its embeddings are "teacher" `(B, D)`. Defaults to `None`.
        mixup: α of the Beta distribution: an image is "mix" `(B,)` of the one labelled so and for the rest another of the batch, labelled
            "labels2". Defaults to `0.0`.
        workers: Threads; 0 for as many as there are cores. Defaults to `0`.
        skipped: Images that could not be read and why; another stands in their place, the next epoch tries them again. Defaults to
            `<factory>`.
        failure: What ended the reading, which TensorFlow wraps: too many unreadable images, or an augmentation that gives something else.
            Defaults to `None`.
        part: `(number, count)` of the processes that read a part of each batch. Defaults to `(0, 1)`.

    Reference:
        Mixup: Zhang et al., arXiv:1710.09412.
    """

    source: Source
    order: Shuffled | PeopleByImages
    shape: tuple[int, int, int] = (112, 112, 3)
    augmentations: list = dataclasses.field(default_factory=list)
    seed: int = 0
    teacher: Callable | None = None
    mixup: float = 0.0
    workers: int = 0
    skipped: dict = dataclasses.field(default_factory=dict)
    failure: Exception | None = None
    part: tuple[int, int] = (0, 1)

    def __post_init__(self):
        self.waited = 0.0  # seconds that `fit` has waited for batches
        self._tried = {}  # image that could not be read → in which epoch

    @property
    def steps(self):
        """Batches of an epoch."""
        return self.order.steps

    @property
    def batch_size(self):
        """Images of a batch, all processes together."""
        return self.order.batch_size

    @property
    def classes(self):
        """How many people there are."""
        return len(self.source.class_names)

    @property
    def fingerprint(self):
        """What a resumed run must find unchanged."""
        labels = np.ascontiguousarray(self.source.labels, np.int32)
        return {
            "images": len(self.source), "people": self.classes, "steps": self.steps,
            "labels": hashlib.blake2b(labels, digest_size=12).hexdigest(),
        }  # fmt: skip

    def batches(self, epoch: int = 0, step: int = 0) -> Iterator:
        """Endless iterator that begins with batch `step` of `epoch`."""
        epochs = (self._rest(e, step if e == epoch else 0) for e in itertools.count(epoch))
        return stream.ahead(self.load, itertools.chain.from_iterable(epochs), self.workers)

    def epochs(self, clock: stream.Clock, steps: int) -> Any:
        """One epoch's batches for `fit`, `steps` long: each time they are iterated, the rest of the epoch that `clock` shows.

        Returns:
            On TensorFlow a `tf.data.Dataset`, which its strategies and graphs want; else a `keras.utils.PyDataset`.
        """
        if keras.backend.backend() == "tensorflow":
            return ready.dataset(lambda: self._pass(clock), self.specification(), steps)
        return stream.Epochs(lambda: self._pass(clock), steps)

    def _pass(self, clock):
        batches = stream.ahead(self.load, self._rest(clock.epoch, clock.step), self.workers)
        while True:
            begin = time.perf_counter()
            try:
                batch = next(batches)
            except StopIteration:
                return
            finally:
                self.waited += time.perf_counter() - begin
            yield batch

    def _rest(self, epoch, step=0):
        """Positions of an epoch from batch `step` on."""
        order = self.order(self.seed, epoch)
        for s in range(step, self.steps):
            yield epoch, s, order[s]

    def specification(self) -> tuple:
        """Shapes and types of a batch, by name."""
        size = self.order.batch_size
        named: dict[str, tuple] = {"labels": ((size,), "int32")}
        named |= {"teacher": ((size, self.teacher_width), "float32")} if self.has_teacher else {}
        named |= {"labels2": ((size,), "int32"), "mix": ((size,), "float32")} if self.mixup else {}
        return ((size, *self.shape), "uint8"), named

    @property
    def has_teacher(self):
        """Whether batches bring a teacher's embeddings."""
        return self.teacher is not None or self.source.embeddings is not None

    @functools.cached_property
    def teacher_width(self):
        """Length of the teacher's embeddings: a callable tells it only when it is called, with a batch as in training."""
        blank = np.zeros((self.order.batch_size, *self.shape), np.uint8)
        return self._teacher(blank, np.zeros(len(blank), np.int64)).shape[1]

    def load(self, epoch: int, step: int, indices: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Indices (B,) → images uint8 and what goes with them by name, as in a batch."""
        try:
            return self._load(epoch, step, indices)
        except Exception as error:
            self.failure = error
            raise

    def _load(self, epoch, step, indices):
        first, indices = self._part(indices)
        images, used = np.empty((len(indices), *self.shape), np.uint8), np.empty(len(indices), np.int64)
        chance = Chance(self.seed, int(epoch), int(step))
        for row, i in enumerate(indices):
            used[row], image = self._readable(int(i), int(epoch))
            rng = chance.of(first + row)
            for change in self.augmentations:
                image = self._changed(image, change, rng)
            images[row] = image if self.shape[2] == 3 else grey(image)
        named = {"labels": self.source.labels[used]}
        if self.mixup:
            images = self._mix(images, named, chance.of(first + len(images), 1))
        if self.has_teacher:
            named["teacher"] = self._teacher(images, used)
        return images, named

    def _part(self, indices):
        """Where this process's part of a batch begins, and the part."""
        number, count = self.part
        first = number * len(indices) // count
        return first, indices[first : (number + 1) * len(indices) // count]

    def _mix(self, images, named, rng):
        other, mix = rng.permutation(len(images)), rng.beta(self.mixup, self.mixup, len(images)).astype(np.float32)
        named.update(labels2=named["labels"][other], mix=mix)
        share = mix[:, None, None, None]
        return np.rint(images * share + images[other] * (1 - share)).astype(np.uint8)

    def _teacher(self, images, used):
        if self.teacher is not None:
            return np.asarray(self.teacher(normalised(images)), np.float32)
        return np.asarray(self.source.embeddings[used], np.float32)

    def _changed(self, image, change, rng):
        changed, expected = change(image, rng), (*self.shape[:2], 3)
        if getattr(changed, "dtype", None) != np.uint8 or changed.shape != expected:
            raise ValueError(
                f"augmentation {change!r}: expected an image uint8 {expected}, 0 to 255. Received: "
                f"{getattr(changed, 'dtype', type(changed).__name__)} {getattr(changed, 'shape', '')}"
            )
        return changed

    def _readable(self, i, epoch):
        """Sample `i`, or the next one that can be read in this epoch."""
        for j in itertools.chain(range(i, len(self.source)), range(i)):
            if self._tried.get(j) == epoch:
                continue
            try:
                image = decode(self.source.read(j), self.shape[:2])
            except (ValueError, OSError) as error:
                self._skip(j, epoch, error)
            else:
                self.skipped.pop(j, None)
                return j, image
        raise ValueError(f"none of the {len(self.source)} images can be decoded; the first: {self.skipped[i]}")

    def _skip(self, j, epoch, error):
        fault = f"{self.source.name(j)}: {error}"
        self._tried[j] = epoch
        if self.skipped.setdefault(j, fault) is fault:  # in one step: several threads may meet here
            log.warning("skipped image %d so far: %s", len(self.skipped), fault)
        count, whole = len(self.skipped), len(self.source)
        if FEW < count > MOST_UNREADABLE * whole:
            some = "\n  ".join(list(self.skipped.values())[:10])
            raise ValueError(
                f"{count} of {whole} images cannot be read, more than {MOST_UNREADABLE:.0%}: training stops. `prepare_data.py check` names "
                f"all. The first:\n  {some}"
            )


def open_faces(
    path: Any,
    batch_size: int = 128,
    shape: tuple[int, int, int] = (112, 112, 3),
    augmentations: list | None = None,
    image_per_class: int = 0,
    seed: int = 0,
    teacher: Callable | None = None,
    source: Source | None = None,
    balanced: float = 0.0,
    mixup: float = 0.0,
    epoch_size: int = 0,
    repeats: int = 1,
) -> Faces | ready.ReadyFaces:
    """Opens training data.

    Args:
        path: What `Train` takes as `data_path`.
        batch_size: Images in a batch. Defaults to `128`.
        shape: `(height, width, channels)`. Defaults to `(112, 112, 3)`.
        augmentations: `(image, rng) → image`; none unless given. Defaults to `None`.
        image_per_class: Above 0, images of each person in a P×K batch. Defaults to `0`.
        seed: Of the order and the augmentations. Defaults to `0`.
        teacher: Function of normalised images. Defaults to `None`.
        source: Saves indexing `path` again. Defaults to `None`.
        balanced: How evenly people are drawn, 0 to 1. Defaults to `0.0`.
        mixup: α of the Beta distribution; 0 mixes nothing. Defaults to `0.0`.
        epoch_size: Batches of an epoch; 0 for as many as show every image. Defaults to `0`.
        repeats: How often an image stands in its batch. Defaults to `1`.

    Returns:
        `Faces`, or `ReadyFaces` of a `tf.data.Dataset`.

    Raises:
        ValueError: An empty folder, a single class, or fewer images than a batch; the message has the remedy.
    """
    if ready.is_dataset(path):
        if teacher is not None:
            raise ValueError(
                "teacher_model_interf: a ready dataset brings its own embeddings: (images, (embeddings, labels))"
            )
        if balanced or mixup or repeats > 1:
            raise ValueError(
                "balanced, mixup and repeats need the images themselves: give a folder or a record file, no dataset."
            )
        return ready.ReadyFaces(path)
    source = source or open_source(path)
    if len(source.class_names) < 2:
        raise ValueError(
            f"{path if isinstance(path, str) else 'data_path'} holds one class only, {source.class_names[0]!r} ({len(source)} images): "
            "training needs two people or more, one folder each."
        )
    order = sampling.order(source.labels, batch_size, image_per_class, balanced, epoch_size, repeats)
    return Faces(source, order, shape, augmentations or [], seed, teacher, mixup, part=distributed.process())
