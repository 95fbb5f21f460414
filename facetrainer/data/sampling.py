"""Which samples make which batch: functions of (seed, epoch), so that a run can stop anywhere and go on."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Shuffled:
    """Every sample once an epoch, in an order of (seed, epoch); the rest that fills no batch waits for the next.

    Args:
        labels: Person of each sample `(n,)`.
        batch_size: Samples in a batch.
    """

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
        """Batches of an epoch."""
        return len(self.labels) // self.batch_size

    def __call__(self, seed: int, epoch: int) -> np.ndarray:
        """→ indices (steps, batch_size)."""
        order = np.random.default_rng((seed, epoch)).permutation(np.arange(len(self.labels), dtype=np.int32))
        return order[: self.steps * self.batch_size].reshape(self.steps, self.batch_size)


@dataclasses.dataclass(frozen=True)
class Balanced(Shuffled):
    """As many samples an epoch, drawn anew each, a person's share going with (images)^(1 − evenness): at 1 all alike.

    Args:
        labels: Person of each sample `(n,)`.
        batch_size: Samples in a batch.
        evenness: From 0, by images, to 1, all people alike. Defaults to `1.0`.
    """

    evenness: float = 1.0

    def __call__(self, seed: int, epoch: int) -> np.ndarray:
        weights = np.bincount(self.labels)[self.labels] ** -float(self.evenness)
        size = (self.steps, self.batch_size)
        return np.random.default_rng((seed, epoch)).choice(len(self.labels), size, p=weights / weights.sum())


@dataclasses.dataclass(frozen=True)
class Repeated:
    """Every image several times in its batch, each time augmented anew; as many batches an epoch, of a part of the images.

    Repeated augmentation: Hoffer et al., CVPR 2020, arXiv:1901.09335; Berman et al., arXiv:1902.05509. An epoch goes on with the images
    where the last one ended.

    Args:
        whole: Order of batches that are `repeats` times smaller.
        repeats: How often.
    """

    whole: Shuffled
    repeats: int

    @property
    def batch_size(self):
        """Images of a batch, repetitions included."""
        return self.whole.batch_size * self.repeats

    @property
    def steps(self):
        """Batches of an epoch."""
        return max(self.whole.steps // self.repeats, 1)

    def __call__(self, seed, epoch):
        return np.repeat(Portions(self.whole, self.steps)(seed, epoch), self.repeats, axis=1)


@dataclasses.dataclass(frozen=True)
class PeopleByImages:
    """P×K batches: `image_per_class` images of each of P different people, always full.

    An epoch shows every image of everybody who has at least two, in groups of K; the last group of a person is filled up
    with images of theirs drawn again, a batch with people drawn again. Nobody stands twice in one batch.

    Args:
        labels: Person of each sample `(n,)`.
        batch_size: Samples in a batch.
        image_per_class: Images of each person, K.
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
        """People who have images enough."""
        return np.flatnonzero(np.bincount(self.labels) >= 2)

    @property
    def per_batch(self):
        """People of a batch."""
        return self.batch_size // self.image_per_class

    @property
    def _groups_of(self):
        """Groups of each person in an epoch."""
        counts = np.bincount(self.labels)
        return -(-counts // self.image_per_class) * (counts >= 2)

    @property
    def steps(self):
        """Batches of an epoch."""
        groups = self._groups_of
        return max(-(-int(groups.sum()) // self.per_batch), int(groups.max()))

    def __call__(self, seed: int, epoch: int) -> np.ndarray:
        rng = np.random.default_rng((seed, epoch))
        owners, groups = self._groups(rng)
        place = self._spread(owners, rng)
        order, edges = np.argsort(place, kind="stable"), np.cumsum(np.bincount(place, minlength=self.steps))[:-1]
        batches = np.empty((self.steps, self.per_batch, self.image_per_class), np.int32)
        for batch, chosen in zip(batches, np.split(order, edges)):
            batch[: len(chosen)] = groups[chosen]
            batch[len(chosen) :] = groups[self._others(owners, chosen, rng)]
        return batches.reshape(self.steps, self.batch_size)

    def _groups(self, rng):
        """Persons (n,) and K indices of each (n, K): all images in random order, the last group of a person filled up."""
        counts, mixed = np.bincount(self.labels), rng.permutation(np.arange(len(self.labels), dtype=np.int32))
        mixed = mixed[np.argsort(self.labels[mixed], kind="stable")]
        per_person = self._groups_of
        owners = np.repeat(np.arange(len(counts)), per_person)
        number = np.arange(len(owners)) - np.repeat(np.cumsum(per_person) - per_person, per_person)
        places = number[:, None] * self.image_per_class + np.arange(self.image_per_class)
        have = counts[owners][:, None]
        places = np.where(places < have, places, (rng.random(places.shape) * have).astype(np.int64))
        return owners, mixed[(np.cumsum(counts) - counts)[owners][:, None] + places]

    def _spread(self, owners, rng):
        """Batch of each group: people in random order are dealt out like cards, so that nobody's groups meet."""
        dealt = np.argsort(rng.permutation(owners.max() + 1)[owners], kind="stable")
        place = np.empty(len(owners), np.int64)
        place[dealt] = np.arange(len(owners)) % self.steps
        return rng.permutation(self.steps)[place]

    def _others(self, owners, chosen, rng):
        """Groups of other people, where those that were dealt to a batch do not fill it."""
        taken, more = set(owners[chosen].tolist()), []
        while len(chosen) + len(more) < self.per_batch:
            group = int(rng.integers(len(owners)))
            if owners[group] not in taken:
                taken.add(int(owners[group]))
                more.append(group)
        return np.array(more, np.int64)


@dataclasses.dataclass(frozen=True)
class Portions:
    """Epochs of another length: the batches of an order's epochs one behind another, `steps` at a time."""

    whole: Shuffled | PeopleByImages
    steps: int

    @property
    def batch_size(self):
        """Images of a batch."""
        return self.whole.batch_size

    def __call__(self, seed, epoch):
        numbers = np.arange(epoch * self.steps, (epoch + 1) * self.steps)
        epochs = {int(e): self.whole(seed, int(e)) for e in np.unique(numbers // self.whole.steps)}
        return np.stack([epochs[int(n) // self.whole.steps][int(n) % self.whole.steps] for n in numbers])


def order(labels, batch_size, image_per_class, balanced, epoch_size=0, repeats=1):
    """The order that these arguments of `data.open_faces` ask for."""
    if repeats > 1:
        if batch_size % repeats:
            raise ValueError(f"batch_size {batch_size} is no multiple of 'repeats' {repeats}.")
        smaller = order(labels, batch_size // repeats, 0, balanced)
        found = Repeated(smaller, repeats)
        return Portions(found, epoch_size) if epoch_size else found
    if image_per_class:
        found = PeopleByImages(labels, batch_size, image_per_class)
    else:
        found = Balanced(labels, batch_size, balanced) if balanced else Shuffled(labels, batch_size)
    return Portions(found, epoch_size) if epoch_size else found
