"""Probes, a gallery and distractors: one-to-many search as TinyFace and MegaFace have it, and of one's own sets."""

import dataclasses
import json
import os

import numpy as np

from facetrainer.data import sources
from facetrainer.evaluation import study
from facetrainer.evaluation.embedder import Embedder
from facetrainer.evaluation.folder import BINS, Histogram
from facetrainer.metrics import identification
from facetrainer.metrics.intervals import rate_interval
from facetrainer.metrics.open_set import RANKS
from facetrainer.metrics.verification import unit
from facetrainer.utils.files import read_bytes

AT_ONCE = 1 << 25
FARS = (1e-6, 1e-5, 1e-4, 1e-3)


def open_set(path: str, images: str | None = None) -> sources.Source:
    """A set of probes, of a gallery or of distractors.

    Args:
        path: What `sources.open_source` opens, or one of MegaFace's lists, JSON with "path" and perhaps "id".
        images: Folder below which the paths of such a list lie. Defaults to the list's own.

    Returns:
        The images, with the folder or "id" as person.

    Raises:
        ValueError: A JSON file is no such list.
    """
    if ".json" not in os.path.basename(path):  # megaface_features_list.json_1000000_1 is one
        return sources.open_source(path)
    try:
        listed = json.loads(read_bytes(path))
        paths = [os.fspath(one) for one in listed["path"]]
        people = [str(one) for one in listed["id"]] if "id" in listed else list(map(os.path.dirname, paths))
        if not paths or len(paths) != len(people):
            raise ValueError(f"{len(paths)} paths, {len(people)} ids")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f'{path}: expected a list of MegaFace, {{"path": [...], "id": [...]}} ({error}).') from None
    home = images or os.path.dirname(os.path.abspath(path))
    return sources.ListSource([os.path.join(home, one) for one in paths], people)


def tinyface(folder: str) -> tuple[sources.Source, sources.Source, sources.Source]:
    """Probes, gallery and distractors of TinyFace's `Testing_Set`; a person is the number before the name's first "_"."""
    folder = folder if os.path.isdir(os.path.join(folder, "Probe")) else os.path.join(folder, "Testing_Set")
    return tuple(
        sources.open_source(os.path.join(folder, name), lambda path: os.path.basename(path).split("_")[0])
        for name in ("Probe", "Gallery_Match", "Gallery_Distractor")
    )


@dataclasses.dataclass
class Embedded:
    """Embeddings of length 1 `(n, D)` of the images that can be read, and the name of each one's person."""

    embeddings: np.ndarray
    people: np.ndarray

    @classmethod
    def of(cls, source: sources.Source, embed: Embedder, flip: str) -> "Embedded":
        """Embeds a set."""
        found = np.concatenate(list(embed.of_source(source, flip=flip)))
        whole = np.isfinite(found).all(axis=1)
        return cls(unit(found[whole]).astype(np.float32), np.array(source.class_names)[source.labels[whole]])


def closed(probes: Embedded, gallery: Embedded, distractors: Embedded | None, draws: int = 200) -> dict:
    """Searches of all probes in the gallery and the distractors → counts and rates, see `study.searched`.

    A distractor is nobody's image, whatever its folder is called. Probes of people who are not in the gallery are non-mated searches.

    Returns:
        Counts and rates by name.
    """
    entries, names = gallery.embeddings, gallery.people
    if distractors is not None:
        nobody = np.char.add("\0", np.arange(len(distractors.embeddings)).astype(str))
        entries, names = np.concatenate([entries, distractors.embeddings]), np.concatenate([names, nobody])
    numbers = np.unique(np.concatenate([probes.people, names]), return_inverse=True)[1]
    asked, theirs = np.split(numbers, [len(probes.people)])
    found = identification.search(probes.embeddings, entries, asked, theirs)
    return study.searched(found, asked, len(entries), draws)


def one_at_a_time(probes: Embedded, distractors: Embedded, ranks: tuple[int, ...] = RANKS) -> dict:
    """MegaFace's protocol: each image of a person in turn lies among the distractors, and every other one of theirs looks for it.

    Args:
        probes: Of people with two images or more.
        distractors: Nobody's.
        ranks: Defaults to `(1, 5, 10)`.

    Returns:
        Counts, and "rates": the part found among the first N, over all pairs of images of a person, with intervals over people; and TAR
        at FAR of those pairs against all pairs of a probe and a distractor, to one part in 32,768 of cosine.

    Raises:
        ValueError: Nobody has two images.

    Reference:
        Kemelmacher-Shlizerman et al., "The MegaFace Benchmark", CVPR 2016, section 4.
    """
    persons = np.unique(probes.people, return_inverse=True)[1]
    probe, mate = np.nonzero((persons[:, None] == persons) & ~np.eye(len(persons), dtype=bool))
    if len(probe) == 0:
        raise ValueError("one at a time needs people with two images or more among the probes.")
    cosine = np.einsum("nd,nd->n", probes.embeddings[probe], probes.embeddings[mate])
    rank, counts = np.empty(len(probe), np.int64), np.zeros((2, BINS), np.int64)
    counts[1] = _in_bins(cosine)
    block = max(AT_ONCE // len(distractors.embeddings), 1)
    for begin in range(0, len(persons), block):
        scores = np.sort(probes.embeddings[begin : begin + block] @ distractors.embeddings.T, axis=1)
        counts[0] += _in_bins(scores)
        for row, ordered in enumerate(scores, begin):
            mine = slice(*np.searchsorted(probe, (row, row + 1)))
            rank[mine] = len(ordered) - np.searchsorted(ordered, cosine[mine], "left")
    who, curve = persons[probe], Histogram(counts)
    rates = {f"rank-{k}": {"rate": float(np.mean(rank < k)), "95%": rate_interval(rank < k, who, who)} for k in ranks}
    for far in (far for far in FARS if far * counts[0].sum() >= 1):
        rates[f"TAR@FAR={far:g}"] = {"rate": curve.tar(far)}
    return {"enrolled": len(distractors.embeddings) + 1, "mated searches": len(probe), "non-mated searches": 0,
            "people": len(np.unique(who)), "rates": rates}  # fmt: skip


def _in_bins(cosine):
    return np.bincount(np.clip((cosine.ravel() + 1) * (BINS / 2), 0, BINS - 1).astype(np.int64), minlength=BINS)
