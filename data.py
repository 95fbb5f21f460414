"""Any source of faces → batches: the one module that imports tensorflow.

`open_faces` is the one door. Behind it stand a source (where samples lie), an order (which samples make batch `step` of
`epoch`: a function of the seed alone, so that a run can stop anywhere and go on) and a list of augmentations.
"""

import collections
import dataclasses
import functools
import itertools
import logging
from collections.abc import Callable

import cv2
import numpy as np
import tensorflow as tf

import augment
from formats.images import decode, normalised
from formats.sources import Source, open_source

log = logging.getLogger("face")


def strategy() -> tf.distribute.Strategy:
    """The strategy whose scope this is called in; the default one has one replica."""
    return tf.distribute.get_strategy()


# ----------------------------------------------------------------------------------------------------------- orders


@dataclasses.dataclass(frozen=True)
class Shuffled:
    """Every sample once an epoch, in an order of (seed, epoch); the rest that fills no batch waits for the next."""

    labels: np.ndarray
    batch_size: int

    def __post_init__(self):
        if len(self.labels) < self.batch_size:
            raise ValueError(
                f"{len(self.labels)} images are fewer than one batch of {self.batch_size}: "
                f"use batch_size={max(len(self.labels) // 2, 1)} or less."
            )

    @property
    def steps(self):
        return len(self.labels) // self.batch_size

    def __call__(self, seed: int, epoch: int) -> np.ndarray:
        """→ indices (steps, batch_size)."""
        order = np.random.default_rng((seed, epoch)).permutation(np.arange(len(self.labels), dtype=np.int32))
        return order[: self.steps * self.batch_size].reshape(self.steps, self.batch_size)


@dataclasses.dataclass(frozen=True)
class Balanced(Shuffled):
    """As many samples an epoch, drawn anew each, a person's share going with (images)^(1 − evenness): at 1 all alike."""

    evenness: float = 1.0

    def __call__(self, seed, epoch):
        weights = np.bincount(self.labels)[self.labels] ** -float(self.evenness)
        size = (self.steps, self.batch_size)
        return np.random.default_rng((seed, epoch)).choice(len(self.labels), size, p=weights / weights.sum())


@dataclasses.dataclass(frozen=True)
class PeopleByImages:
    """P×K batches: `image_per_class` images of each of P different people, always full.

    An epoch shows every image of everybody who has at least two, in groups of K; the last group of a person is filled up
    with images of theirs drawn again. Nobody stands twice in one batch.
    """

    labels: np.ndarray
    batch_size: int
    image_per_class: int

    def __post_init__(self):
        if self.batch_size % self.image_per_class:
            raise ValueError(
                f"batch_size {self.batch_size} is not a multiple of image_per_class {self.image_per_class}: "
                f"use {max(self.batch_size // self.image_per_class, 1) * self.image_per_class}."
            )
        if len(self.people) < self.per_batch:
            raise ValueError(
                f"{len(self.people)} people have two or more images, a P×K batch of {self.batch_size} needs "
                f"{self.per_batch}: use batch_size={len(self.people) * self.image_per_class} or less."
            )

    @property
    def people(self):
        return np.flatnonzero(np.bincount(self.labels) >= 2)

    @property
    def per_batch(self):
        return self.batch_size // self.image_per_class

    @property
    def steps(self):
        counts = np.bincount(self.labels)
        return max(int(np.sum(-(-counts[counts >= 2] // self.image_per_class))) // self.per_batch, 1)

    def __call__(self, seed, epoch):
        rng = np.random.default_rng((seed, epoch))
        owners, groups = self._groups(rng)
        batches = np.empty((self.steps, self.per_batch, self.image_per_class), np.int32)
        waiting, rest = collections.deque(), iter(rng.permutation(len(groups)).tolist())
        for batch in batches:
            chosen = self._different(owners, waiting, rest)
            batch[: len(chosen)] = groups[chosen]
            batch[len(chosen) :] = self._drawn(owners[chosen], self.per_batch - len(chosen), rng)
        return batches.reshape(self.steps, self.batch_size)

    def _groups(self, rng):
        """Persons (n,) and K indices of each (n, K): all images in random order, the last group of a person filled up."""
        counts, mixed = np.bincount(self.labels), rng.permutation(np.arange(len(self.labels), dtype=np.int32))
        mixed = mixed[np.argsort(self.labels[mixed], kind="stable")]
        per_person = -(-counts // self.image_per_class) * (counts >= 2)
        owners = np.repeat(np.arange(len(counts)), per_person)
        number = np.arange(len(owners)) - np.repeat(np.cumsum(per_person) - per_person, per_person)
        places = number[:, None] * self.image_per_class + np.arange(self.image_per_class)
        have = counts[owners][:, None]
        places = np.where(places < have, places, (rng.random(places.shape) * have).astype(np.int64))
        return owners, mixed[(np.cumsum(counts) - counts)[owners][:, None] + places]

    def _different(self, owners, waiting, rest):
        """The next groups of different people, those that had to wait first; the ones passed over wait."""
        chosen, people, passed = [], set(), []
        while len(chosen) < self.per_batch:
            group = waiting.popleft() if waiting else next(rest, None)
            if group is None:
                break
            if owners[group] in people:
                passed.append(group)
            else:
                chosen.append(group)
                people.add(owners[group])
        waiting.extendleft(reversed(passed))
        return chosen

    def _drawn(self, taken, count, rng):
        """K images of each of `count` other people: when the groups left over do not fill a batch."""
        others = rng.permutation(np.setdiff1d(self.people, taken))[:count] if count else []
        drawn = [rng.choice(np.flatnonzero(self.labels == person), self.image_per_class) for person in others]
        return np.array(drawn, np.int32).reshape(count, self.image_per_class)


# ------------------------------------------------------------------------------------------------------ image → batch


def normalise(images):
    """uint8 0…255 → float32 (x − 127.5) / 128, the input of every model here. tf tensors and numpy arrays."""
    return (tf.cast(images, tf.float32) - 127.5) / 128.0


@dataclasses.dataclass
class Faces:
    """Batches of `(images uint8 (B, H, W, C), {"labels": int32 (B,)})`.

    With a teacher there is "teacher" (B, D) beside; with `mixup`, α of the Beta distribution, an image is "mix" (B,) of the
    one labelled so and for the rest another of the batch, labelled "labels2" (Zhang et al., arXiv:1710.09412). `skipped`
    names the images that could not be decoded; another image stands in their place.
    """

    source: Source
    order: Shuffled | PeopleByImages
    shape: tuple[int, int, int] = (112, 112, 3)
    augmentations: list = dataclasses.field(default_factory=list)
    seed: int = 0
    teacher: Callable | None = None
    mixup: float = 0.0
    workers: int = tf.data.AUTOTUNE
    skipped: dict = dataclasses.field(default_factory=dict)

    @property
    def steps(self):
        return self.order.steps

    @property
    def classes(self):
        return len(self.source.class_names)

    @property
    def fingerprint(self):
        """What a resumed run must find unchanged."""
        return [
            len(self.source),
            self.classes,
            int(np.bitwise_xor.reduce(self.source.labels * np.int32(2654435))),
            self.steps,
        ]

    def batches(self, epoch: int = 0, step: int = 0) -> tf.data.Dataset:
        """Endless dataset that begins with batch `step` of `epoch`."""

        def positions():
            for e in itertools.count(epoch):
                order = self.order(self.seed, e)
                for s in range(step if e == epoch else 0, self.steps):
                    yield np.int64(e), np.int64(s), order[s].astype(np.int64)

        if self.has_teacher:
            _ = self.teacher_width  # asked here, outside the graph
        scalar = tf.TensorSpec((), tf.int64)
        signature = (scalar, scalar, tf.TensorSpec((self.order.batch_size,), tf.int64))
        dataset = tf.data.Dataset.from_generator(positions, output_signature=signature)
        return dataset.map(self._tensors, num_parallel_calls=self.workers).prefetch(2)

    def _tensors(self, epoch, step, indices):
        names = ["labels", *(["teacher"] if self.has_teacher else []), *(["labels2", "mix"] if self.mixup else [])]
        kinds = {"labels": tf.int32, "teacher": tf.float32, "labels2": tf.int32, "mix": tf.float32}

        def load(*position):
            images, named = self.load(*position)
            return images, *(named[name] for name in names)

        types = [tf.uint8, *(kinds[name] for name in names)]
        images, *values = tf.numpy_function(load, [epoch, step, indices], types, stateful=False)
        images.set_shape((self.order.batch_size, *self.shape))
        for name, value in zip(names, values, strict=True):
            value.set_shape(
                (self.order.batch_size, self.teacher_width) if name == "teacher" else (self.order.batch_size,)
            )
        return images, dict(zip(names, values, strict=True))

    @property
    def has_teacher(self):
        return self.teacher is not None or self.source.embeddings is not None

    @functools.cached_property
    def teacher_width(self):
        """Length of the teacher's embeddings: a callable tells it only when it is called, with a batch as in training."""
        blank = np.zeros((self.order.batch_size, *self.shape), np.uint8)
        return self._teacher(blank, np.zeros(len(blank), np.int64)).shape[1]

    def load(self, epoch: int, step: int, indices: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Indices (B,) → images uint8 and what goes with them by name, as in a batch."""
        rng = np.random.default_rng((self.seed, int(epoch), int(step), 1))
        images, used = np.empty((len(indices), *self.shape), np.uint8), np.empty(len(indices), np.int64)
        for row, i in enumerate(indices):
            used[row], image = self._readable(int(i))
            for change in self.augmentations:
                image = change(image, rng)
            images[row] = image if self.shape[2] == 3 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None]
        named = {"labels": self.source.labels[used]}
        if self.mixup:
            images = self._mix(images, named, rng)
        if self.has_teacher:
            named["teacher"] = self._teacher(images, used)
        return images, named

    def _mix(self, images, named, rng):
        other, mix = rng.permutation(len(images)), rng.beta(self.mixup, self.mixup, len(images)).astype(np.float32)
        named.update(labels2=named["labels"][other], mix=mix)
        share = mix[:, None, None, None]
        return np.rint(images * share + images[other] * (1 - share)).astype(np.uint8)

    def _teacher(self, images, used):
        if self.teacher is not None:
            return np.asarray(self.teacher(normalised(images)), np.float32)
        return np.asarray(self.source.embeddings[used], np.float32)

    def _readable(self, i):
        """Sample `i`, or the next one that can be decoded."""
        for j in itertools.chain(range(i, len(self.source)), range(i)):
            if j in self.skipped:
                continue
            try:
                return j, decode(self.source.read(j), self.shape[:2])
            except (ValueError, OSError) as error:
                self.skipped[j] = f"{self.source.name(j)}: {error}"
                log.warning("skipped image %d so far: %s", len(self.skipped), self.skipped[j])
        raise ValueError(f"none of the {len(self.source)} images can be decoded; the first: {self.skipped[i]}")


@dataclasses.dataclass
class ReadyFaces:
    """A finite, batched `tf.data.Dataset` of `(images, labels)` or `(images, (embeddings, labels))`, as it is.

    Labels are integers (B,) or one-hot (B, classes). Floating-point images must be normalised already.
    """

    dataset: tf.data.Dataset
    classes: int = 0
    skipped: dict = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        self.steps = int(self.dataset.cardinality())
        if self.steps < 0:
            self.steps = sum(1 for _ in self.dataset) if self.steps == tf.data.UNKNOWN_CARDINALITY else 0
        if self.steps == 0:
            raise ValueError("data_path: the dataset is empty or endless. Give it one epoch long, without repeat().")
        self.dataset = self.dataset.map(self._named)
        if not self.classes:
            log.info("counting the classes of the dataset: one pass over its labels")
            self.classes = 1 + max(int(tf.reduce_max(y["labels"])) for _, y in self.dataset)
        self.fingerprint = [self.steps, self.classes]

    def _named(self, images, labels):
        teacher, labels = labels if isinstance(labels, (tuple, list)) else (None, labels)
        if labels.shape.rank == 2:
            self.classes = labels.shape[1]
            labels = tf.argmax(labels, -1)
        named = {"labels": tf.cast(labels, tf.int32)}
        return images, named if teacher is None else {**named, "teacher": teacher}

    @property
    def has_teacher(self):
        return "teacher" in self.dataset.element_spec[1]

    @property
    def teacher_width(self):
        return self.dataset.element_spec[1]["teacher"].shape[-1]

    def batches(self, epoch: int = 0, step: int = 0) -> tf.data.Dataset:
        """Endless dataset that begins with batch `step`."""
        return self.dataset.skip(step).concatenate(self.dataset.repeat())


def open_faces(
    path: str | tf.data.Dataset,
    batch_size: int = 128,
    shape: tuple[int, int, int] = (112, 112, 3),
    augmentations: list | None = None,
    image_per_class: int = 0,
    seed: int = 0,
    teacher: Callable | None = None,
    source: Source | None = None,
    balanced: float = 0.0,
    mixup: float = 0.0,
) -> Faces | ReadyFaces:
    """Folder, InsightFace directory, `.rec`, `.npz`, `.tfrecord` or dataset → `Faces`.

    `image_per_class` > 0 asks for P×K batches, `balanced` for people drawn evenly. `source` saves indexing `path` again.
    Raises ValueError on an empty folder, a single class, or fewer images than a batch, each with its remedy.
    """
    if isinstance(path, tf.data.Dataset):
        if teacher is not None:
            raise ValueError(
                "teacher_model_interf: a ready dataset brings its own embeddings: (images, (embeddings, labels))"
            )
        if balanced or mixup:
            raise ValueError(
                "balanced and mixup need the images themselves: give a folder or a record file, no dataset."
            )
        return ReadyFaces(path)
    source = source or open_source(path)
    if len(source.class_names) < 2:
        raise ValueError(
            f"{path} holds one class only, {source.class_names[0]!r} ({len(source)} images): "
            "training needs two people or more, one folder each."
        )
    order = _order(source.labels, batch_size, image_per_class, balanced)
    return Faces(source, order, shape, augmentations or [], seed, teacher, mixup)


def _order(labels, batch_size, image_per_class, balanced):
    if image_per_class:
        return PeopleByImages(labels, batch_size, image_per_class)
    return Balanced(labels, batch_size, balanced) if balanced else Shuffled(labels, batch_size)


# ------------------------------------------------------------------------------------------------ names of the seed's


def prepare_dataset(
    data_path, batch_size=128, img_shape=(112, 112), random_status=0, random_crop=(100, 100, 3),
    random_cutout_mask_area=0.0, image_per_class=0, teacher_model_interf=None, seed=0,
):  # fmt: skip
    """→ (endless dataset of normalised float images and integer labels, steps per epoch)."""
    changes = augment.from_status(random_status, random_crop, random_cutout_mask_area)
    shape = (*img_shape[:2], 3)
    faces = open_faces(data_path, batch_size, shape, changes, image_per_class, seed, teacher_model_interf)
    if faces.has_teacher:
        return faces.batches().map(lambda x, y: (normalise(x), (y["teacher"], y["labels"]))), faces.steps
    return faces.batches().map(lambda x, y: (normalise(x), y["labels"])), faces.steps


def show_batch_sample(dataset, rows: int = 8, path: str | None = None):
    """First batch of a dataset as one picture, `rows` images high → uint8 array; written to `path` if given."""
    images = next(iter(dataset))[0].numpy()
    images = images if images.dtype == np.uint8 else np.clip(images * 128 + 127.5, 0, 255).astype(np.uint8)
    columns = len(images) // rows or 1
    sheet = np.vstack([np.hstack(images[i : i + columns]) for i in range(0, len(images) // columns * columns, columns)])
    if path:
        cv2.imwrite(path, cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    return sheet
