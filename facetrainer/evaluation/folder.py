"""A folder of people and a model → who is taken for whom."""

import functools
import logging
import os

import numpy as np
import pandas as pd

from facetrainer.data import pair_sheet, sources
from facetrainer.data.images import decode
from facetrainer.evaluation import study
from facetrainer.evaluation.embedder import Embedder
from facetrainer.io import cached, evalbin
from facetrainer.metrics.identification import Search, search
from facetrainer.metrics.quality import angular_fisher_score
from facetrainer.metrics.verification import FARS, sum_by_person, unit
from facetrainer.utils.files import replacing

KINDS = ("different people", "one person")
log = logging.getLogger("facetrainer")

BLOCK, BINS, PAIRS_AT_ONCE = 1024, 1 << 16, 1 << 22
SHEET_FAR = 1e-2  # of the threshold from which a sheet's cosines are told


class People:
    """Embeddings of length 1 (n, D) and whose they are (n,)."""

    def __init__(self, embeddings: np.ndarray, labels: np.ndarray):
        self.embeddings, self.labels = embeddings, labels

    def leave_one_out(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """→ cosine of each image to the mean of its person's others (−inf: it has none), to the nearest other's mean, who that is."""
        sums = sum_by_person(self.embeddings, self.labels, self.labels.max() + 1)
        counts, means = np.bincount(self.labels, minlength=len(sums)), unit(sums).astype(np.float32)
        own = np.sum(unit(sums[self.labels] - self.embeddings) * self.embeddings, axis=1)
        own[counts[self.labels] < 2] = -np.inf
        strange, who = np.empty(len(own)), np.empty(len(own), np.int64)
        for begin in range(0, len(own), BLOCK):
            cosine = self.embeddings[begin : begin + BLOCK] @ means.T
            cosine[np.arange(len(cosine)), self.labels[begin : begin + BLOCK]] = -np.inf
            who[begin : begin + BLOCK] = cosine.argmax(axis=1)
            strange[begin : begin + BLOCK] = cosine.max(axis=1)
        return own, strange, who

    def all_pairs(self) -> "Histogram":
        """Cosines of all pairs of images by kind, in 65,536 bins: 100,000 images need no matrix of 10¹⁰."""
        return self._histograms()[0]

    def all_people(self) -> "Histogram":
        """As `all_pairs`, but every person, and every two people, count alike, however many images they have."""
        return self._histograms()[1]

    @functools.cache  # noqa: B019  one folder at a time
    def _histograms(self):
        counts, shares = np.zeros((2, BINS), np.int64), np.zeros((2, BINS))
        images = np.bincount(self.labels)[self.labels]
        one_person, block = 2 / (images * np.maximum(images - 1, 1)), max(PAIRS_AT_ONCE // len(images), 1)
        for begin in range(0, len(self.labels), block):
            cosine = self.embeddings[begin : begin + block] @ self.embeddings[begin:].T
            after = np.arange(cosine.shape[1]) > np.arange(len(cosine))[:, None]
            same = self.labels[begin : begin + block, None] == self.labels[begin:]
            places = np.clip((cosine + 1) * (BINS / 2), 0, BINS - 1).astype(np.int64)
            for kind in (0, 1):
                rows, columns = np.nonzero(after & (same == bool(kind)))
                here, rows, columns = places[rows, columns], rows + begin, columns + begin
                counts[kind] += np.bincount(here, minlength=BINS)
                share = one_person[rows] if kind else 1 / (images[rows] * images[columns])
                shares[kind] += np.bincount(here, share, minlength=BINS)
        return Histogram(counts), Histogram(shares)

    @functools.cache  # noqa: B019  one folder at a time
    def open_set(self, seed: int = 0) -> Search:
        """Half of the people with two images or more are the gallery, one image each."""
        gallery, probes = self._enrolled(seed)
        return search(self.embeddings[probes], self.embeddings[gallery], self.labels[probes], self.labels[gallery])

    def searched(self, draws: int = 200, seed: int = 0) -> dict:
        """What `study.searched` tells of `open_set`; nothing where nobody has two images."""
        gallery, probes = self._enrolled(seed)
        if len(gallery) == 0:
            return {}
        return study.searched(self.open_set(seed), self.labels[probes], len(gallery), draws)

    def _enrolled(self, seed):
        """Rows of the gallery, and of all other images."""
        rng, counts = np.random.default_rng(seed), np.bincount(self.labels)
        several = rng.permutation(np.flatnonzero(counts >= 2))
        enrolled = several[: max(len(several) // 2, 1)]
        order = rng.permutation(len(self.labels))
        _, first = np.unique(self.labels[order], return_index=True)
        gallery = np.intersect1d(order[first], np.flatnonzero(np.isin(self.labels, enrolled)))
        return gallery, np.setdiff1d(np.arange(len(self.labels)), gallery)

    def worst(self, count: int = 12) -> list[tuple[int, int, float]]:
        """Rows of images and cosine: the likest of different people, then the most unlike of one person, `count` of each."""
        likest, unlikest = [], []
        for begin in range(0, len(self.labels), BLOCK):
            cosine = self.embeddings[begin : begin + BLOCK] @ self.embeddings[begin:].T
            after = np.arange(cosine.shape[1]) > np.arange(len(cosine))[:, None]
            same = self.labels[begin : begin + BLOCK, None] == self.labels[begin:]
            likest = _extreme(likest, np.where(after & ~same, cosine, -np.inf), begin, count, 1)
            unlikest = _extreme(unlikest, np.where(after & same, -cosine, -np.inf), begin, count, -1)
        return [*likest, *unlikest]


class Eval_folder(People):
    """`model_interf`: a model, a model file or a function of normalised images; `data_path`: anything that `train.py` reads.

    `save_embeddings`: an npz to write them to, or to read them from where it is there.
    """

    def __init__(self, model_interf, data_path, batch_size=128, save_embeddings=None, trusted=False):
        self.source = sources.open_source(data_path)
        found = self._embeddings(model_interf, batch_size, save_embeddings, trusted)
        self.kept = np.flatnonzero(np.isfinite(found).all(axis=1))
        super().__init__(unit(found[self.kept]), self.source.labels[self.kept])

    def _embeddings(self, model, batch_size, path, trusted):
        if path and os.path.exists(path):
            found = cached.read_npz(path).get("embeddings", ())
            if len(found) != len(self.source):
                raise ValueError(
                    f"{path} holds {len(found)} embeddings, the data {len(self.source)} images: remove it."
                )
            return found
        found = np.concatenate(list(Embedder(model, batch_size, trusted=trusted).of_source(self.source)))
        if path:
            with replacing(path) as part, open(part, "wb") as file:
                np.savez(file, embeddings=found, labels=self.source.labels)
        return found

    def do_evaluation(self) -> tuple[float, np.ndarray, np.ndarray]:
        """→ leave-one-out accuracy; score of each image with its own person's others and with the nearest stranger, and which is which."""
        own, strange, _ = self.leave_one_out()
        several = np.isfinite(own)
        score = np.concatenate([own[several], strange[several]])
        label = np.repeat([True, False], several.sum())
        return float(np.mean(own[several] > strange[several])), score, label

    def worst_sheet(self, path: str, count: int = 12) -> None:
        """Picture of the pairs that go most wrong, with names and cosines: different people on the left, one person on the right."""
        pairs = [(self.labels[a] == self.labels[b], self._shown(a, b, cosine)) for a, b, cosine in self.worst(count)]
        threshold = self.all_pairs().threshold(SHEET_FAR)
        others, own = ([shown for same, shown in pairs if same == kind] for kind in (False, True))
        pair_sheet.write(path, others, own, threshold)

    def _shown(self, first, second, cosine):
        images = tuple(decode(self.source.read(int(self.kept[k])), (112, 112)) for k in (first, second))
        if self.labels[first] == self.labels[second]:
            names = tuple(os.path.basename(self.source.name(int(self.kept[k]))) for k in (first, second))
            return pair_sheet.Shown(images, cosine, (self.source.class_names[self.labels[first]], " – ".join(names)))
        return pair_sheet.Shown(images, cosine, tuple(self.source.class_names[self.labels[k]] for k in (first, second)))

    def generate_eval_pair_bin(self, save_dest, pos_num=3000, neg_num=3000, min_pos=0, max_neg=1.0, nfold=10) -> str:
        """Writes a set of pairs as `.bin`.

        Args:
            save_dest: The file.
            pos_num: Pairs of one person; where there are fewer, those that there are. Defaults to `3000`.
            neg_num: Pairs of different people, likewise. Defaults to `3000`.
            min_pos: Least cosine of a pair of one person. Defaults to `0`.
            max_neg: Largest cosine of a pair of different people. Defaults to `1`.
            nfold: Folds, each with its part of both kinds. Defaults to `10`.

        Returns:
            `save_dest`.

        Raises:
            ValueError: There are fewer than `nfold` pairs of a kind.
        """
        rng, found = np.random.default_rng(0), {}
        for same, count in ((True, pos_num), (False, neg_num)):
            found[same] = self._drawn(same, count, min_pos, max_neg, rng)
            if len(found[same]) < nfold:
                raise ValueError(
                    f"{len(found[same])} pairs of {KINDS[same]} found, fewer than one for each of {nfold} folds."
                )
        folds = [np.array_split(np.array(found[same]), nfold) for same in (True, False)]
        pairs = [
            (*pair, same)
            for fold in zip(*folds, strict=True)
            for part, same in zip(fold, (True, False))
            for pair in part
        ]
        images = [self.source.read(int(self.kept[k])) for a, b, _ in pairs for k in (a, b)]
        evalbin.write_bin(save_dest, images, [same for *_, same in pairs])
        return save_dest

    def _drawn(self, same, count, min_pos, max_neg, rng):
        found: dict[tuple, None] = {}
        for _ in range(50):
            first = rng.integers(len(self.labels), size=4 * count)
            second = self._partners(first, rng) if same else rng.integers(len(self.labels), size=4 * count)
            cosine = np.sum(self.embeddings[first] * self.embeddings[second], axis=1)
            good = (first != second) & ((self.labels[first] == self.labels[second]) == same)
            good &= cosine >= min_pos if same else cosine <= max_neg
            found |= dict.fromkeys(map(tuple, np.sort(np.stack([first, second], 1)[good], axis=1).tolist()))
            if len(found) >= count:
                break
        if len(found) < count:
            log.warning("%d pairs of %s found, %d were asked for", len(found), KINDS[same], count)
        return list(found)[:count]

    def _partners(self, first, rng):
        """For each image one of the same person."""
        order, counts = np.argsort(self.labels, kind="stable"), np.bincount(self.labels)
        starts = np.cumsum(counts) - counts
        person = self.labels[first]
        return order[starts[person] + (rng.random(len(first)) * counts[person]).astype(np.int64)]

    def slices(self, path: str, far: float = 1e-2) -> pd.DataFrame:
        """csv with `image` (below the data) or `person` and further columns → metrics of each group, and the gap of each column.

        Pairs within a group, at the threshold that all pairs have for `far`.

        Returns:
            A row for each group and each gap.
        """
        table, threshold = pd.read_csv(path), self.all_pairs().threshold(far)
        kind = "image" if "image" in table else "person"
        keys = self._keys(kind, table, path)
        own, strange, _ = self.leave_one_out()
        hits, rows = np.where(np.isfinite(own), own > strange, np.nan), []
        for column in table.columns.drop(["image", "person"], errors="ignore"):
            values = keys.map(table.set_index(kind)[column])
            for value in sorted(values.dropna().unique(), key=str):
                rows.append(self._slice(column, value, np.flatnonzero(values == value), hits, threshold))
        found = pd.DataFrame(rows)
        gaps = (
            found.groupby("attribute", sort=False)[["top-1", "TAR", "FAR"]]
            .agg(lambda column: column.max() - column.min())
            .reset_index()
        )
        return pd.concat([found, gaps.assign(group="gap")], ignore_index=True)

    def _keys(self, kind, table, path):
        if kind not in table:
            raise ValueError(f"{path}: expected a column image or person. Received: {list(table.columns)}")
        if kind == "person":
            return pd.Series([self.source.class_names[k] for k in self.labels])
        root = getattr(self.source, "root", ".")
        return pd.Series([os.path.relpath(self.source.name(int(i)), root) for i in self.kept])

    def _slice(self, column, value, rows, hits, threshold):
        part = People(self.embeddings[rows], self.labels[rows])
        far, tar = part.all_pairs().rates(threshold)
        return {"attribute": column, "group": value, "images": len(rows), "people": len(np.unique(part.labels)),
                "top-1": np.nanmean(hits[rows]) if np.isfinite(hits[rows]).any() else np.nan, "TAR": tar, "FAR": far}  # fmt: skip

    def report(self) -> dict:
        """Every number of the folder."""
        own, strange, _ = self.leave_one_out()
        several, pairs, alike = np.isfinite(own), self.all_pairs(), self.all_people()
        different, same = pairs.counts.sum(axis=1).tolist()
        top = float(np.mean(own[several] > strange[several])) if several.any() else float("nan")
        found = {"images": len(self.labels), "left out": len(self.source) - len(self.labels), "people": len(np.unique(self.labels)),
                 "leave-one-out top-1": top, "same pairs": same, "different pairs": different,
                 "AUC": pairs.auc, "AUC, people alike": alike.auc,
                 **{f"TAR@FAR={far:g}": pairs.tar(far) for far in FARS if far * different >= 1},
                 **{f"TAR@FAR={far:g}, people alike": alike.tar(far) for far in FARS if far * different >= 1},
                 "angular Fisher score": angular_fisher_score(self.embeddings, self.labels)}  # fmt: skip
        try:
            identified = self.open_set()
            found |= {f"open set DIR@FAR={far:g}": identified.dir_at_far(far)[0] for far in (0.1, 0.01)}
            found |= {f"open set top-{k}": identified.top(k) for k in (1, 5, 10)}
        except ValueError as error:
            log.warning("open set: %s", error)
        return found


def _extreme(kept, values, begin, count, sign):
    """The `count` largest of those kept and a block's."""
    count_here = min(count, values.size)
    places = np.argpartition(values, values.size - count_here, axis=None)[-count_here:]
    rows, columns = np.unravel_index(places, values.shape)
    found = [(int(begin + r), int(begin + c), float(sign * values[r, c])) for r, c in zip(rows, columns, strict=True)]
    mine = [pair for pair in found if np.isfinite(pair[2])]
    return sorted([*kept, *mine], key=lambda pair: -sign * pair[2])[:count]


class Histogram:
    """Cosines of pairs of both kinds in bins: rates to one part in 32,768 of cosine. Numbers of pairs, or their weights."""

    def __init__(self, counts: np.ndarray):
        self.counts = counts  # (2, BINS): different people, one person
        self.above = counts[:, ::-1].cumsum(axis=1)[:, ::-1]

    def _bin(self, far):
        """First bin from which on at most `far` of the different pairs lie."""
        allowed = far * self.counts[0].sum() + 1e-9
        return int(np.argmax(np.append(self.above[0], 0) <= allowed))

    def threshold(self, far: float) -> float:
        """Score that a part `far` of the pairs of different people reaches."""
        return self._bin(far) * 2 / BINS - 1

    def tar(self, far: float) -> float:
        """Part of the same-person pairs above the threshold of `far`."""
        return float(np.append(self.above[1], 0)[self._bin(far)] / max(self.counts[1].sum(), 1e-300))

    def rates(self, threshold: float) -> tuple[float, float]:
        """False- and true-accept rate of cosine ≥ threshold; nan where there is no such pair."""
        place = min(round((threshold + 1) * BINS / 2), BINS - 1)
        return tuple(float(above[place] / total) if (total := above[0]) else float("nan") for above in self.above)

    def points(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """False-accept rate, true-accept rate, threshold wherever they change, from (0, 0) to (1, 1), as `Roc.points`."""
        kept = np.append(np.flatnonzero(self.counts.any(axis=0)), BINS)[::-1]
        far, tar = (np.append(above, 0)[kept] / max(above[0], 1e-300) for above in self.above)
        return far, tar, kept * 2 / BINS - 1

    @property
    def auc(self) -> float:
        """Area under the ROC curve."""
        below = np.cumsum(self.counts[0]) - self.counts[0] / 2
        return float(np.sum(below * self.counts[1]) / max(self.counts[0].sum() * self.counts[1].sum(), 1e-300))
