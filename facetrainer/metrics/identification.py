"""Probes against a gallery: who is it, and is it anybody at all."""

import dataclasses

import numpy as np

BLOCK, AT_ONCE = 1024, 1 << 26


@dataclasses.dataclass(frozen=True)
class Search:
    """What a search gives for each probe: `best` score of anybody, the `rank` of the right person (0 is first, −1: not in the gallery)."""

    best: np.ndarray
    rank: np.ndarray

    @property
    def mated(self) -> np.ndarray:
        """Probes whose person is in the gallery."""
        return self.rank >= 0

    def top(self, k: int) -> float:
        """Part of the mated probes whose person is among the first `k`."""
        return float(np.mean(self.rank[self.mated] < k)) if self.mated.any() else float("nan")

    def cmc(self, most: int = 20) -> np.ndarray:
        """Cumulative match characteristic: `top` of 1 … `most`."""
        return np.array([self.top(k) for k in range(1, most + 1)])

    def dir_at_far(self, far: float) -> tuple[float, float]:
        """Detection and identification rate at a false-accept rate, and the threshold.

        Args:
            far: Part of the unmated probes that may be taken for somebody.

        Returns:
            Part of the mated probes that are right at first rank with a score of the threshold or more; the threshold. Both nan where the
            unmated probes are fewer than 1 / `far`: they cannot tell such a rate.

        Raises:
            ValueError: There are probes of one kind only.

        Reference:
            Grother & Ngan, NIST IR 8009.
        """
        threshold = self.threshold(far)
        if not self.resolves(far):
            return float("nan"), float("nan")
        return self.dir_at(threshold), threshold

    def resolves(self, far: float) -> bool:
        """Whether the unmated probes are enough to tell a false-accept rate: 1 / `far` or more."""
        return bool(far * np.sum(~self.mated) >= 1 - 1e-9)

    def dir_at(self, threshold: float) -> float:
        """Part of the mated probes that are right at first rank with a score of the threshold or more."""
        return float(np.mean((self.rank[self.mated] == 0) & (self.best[self.mated] >= threshold)))

    def threshold(self, far: float) -> float:
        """The lowest score that fewer than `far` of the unmated probes reach: the next above that of number ⌊far · probes⌋ from above."""
        unmated = np.sort(self.best[~self.mated])[::-1]
        if len(unmated) == 0 or not self.mated.any():
            raise ValueError(
                "open-set identification needs probes in the gallery and probes that are not. Received: one kind only"
            )
        return float(np.nextafter(unmated[max(int(far * len(unmated)), 1) - 1], np.inf))


def search(probes: np.ndarray, gallery: np.ndarray, probe_people: np.ndarray, gallery_people: np.ndarray) -> Search:
    """Looks for every probe's person in a gallery.

    Of several gallery entries of a person the nearest counts; of several people with one score the right one comes last. No more than
    `AT_ONCE` scores, or those of one probe, are in memory at a time.

    Args:
        probes: Features `(P, D)` of length 1.
        gallery: Features `(G, D)` of length 1.
        probe_people: `(P,)`.
        gallery_people: `(G,)`.

    Returns:
        Best score and rank of each probe.

    Raises:
        ValueError: The gallery is empty.
    """
    if len(gallery) == 0:
        raise ValueError("nobody is in the gallery: expected at least one entry, of a person with two images or more.")
    known, person = np.unique(gallery_people, return_inverse=True)
    order, single = np.argsort(person, kind="stable"), len(known) == len(gallery)
    starts = np.searchsorted(person[order], np.arange(len(known)))
    gallery = gallery if single else gallery[order]
    place = np.minimum(np.searchsorted(known, probe_people), len(known) - 1)
    right = np.where(known[place] == probe_people, order[place] if single else place, -1)
    best, rank = np.empty(len(probes), np.float64), np.empty(len(probes), np.int64)
    block = max(min(AT_ONCE // len(gallery), BLOCK), 1)
    for begin in range(0, len(probes), block):
        piece = slice(begin, begin + block)
        scores = probes[piece] @ gallery.T
        scores = scores if single else np.maximum.reduceat(scores, starts, axis=1)
        mine = np.take_along_axis(scores, np.maximum(right[piece], 0)[:, None], axis=1)
        best[piece] = scores.max(axis=1)
        rank[piece] = np.where(right[piece] >= 0, np.sum(scores >= mine, axis=1) - 1, -1)
    return Search(best, rank)
