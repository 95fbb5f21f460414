"""IJB-C's size on random embeddings: 1:1 in all eight ways, 1:N, bootstrap over people, and InsightFace's way of one of the eight.

python -m benchmarks.ijbc                     pairs drawn at random on both sides
python -m benchmarks.ijbc --gallery-first     pairs of a gallery's template and a probe, as IJB-C's own list has them
python -m benchmarks.ijbc --theirs            beside InsightFace's way: one of the eight, 1:1
python -m benchmarks.ijbc --million           10,000 probes against 1,000,000 entries

Each prints CPU-seconds, wall seconds, and the process's peak memory, in which the embeddings of images and mirror images are 1.9 GB.
"""

import argparse
import types

import numpy as np

from benchmarks.evaluation import cost, peak, slow_pool
from facetrainer.evaluation import ijb, study
from facetrainer.metrics import identification
from facetrainer.metrics.verification import unit
from facetrainer.reporting import ijb as tables

IMAGES, TEMPLATES, PAIRS, PEOPLE, SIZE, SAME = 469_375, 23_124, 15_658_489, 3_531, 512, 19_557
BLOCK = 10_000


def random_set(gallery_first: bool):
    """`IJB_test` with numbers in the place of files and embeddings."""
    rng, test = np.random.default_rng(0), ijb.IJB_test.__new__(ijb.IJB_test)
    template = np.concatenate([np.arange(TEMPLATES), rng.integers(0, TEMPLATES, IMAGES - TEMPLATES)])
    who = np.concatenate([np.arange(PEOPLE), rng.integers(0, PEOPLE, TEMPLATES - PEOPLE)])
    test.data = types.SimpleNamespace(
        templates=(template, rng.integers(0, 8, IMAGES)),
        faces=(range(IMAGES), None, rng.random(IMAGES, np.float32)),
        pairs=pairs_of(rng, who, gallery_first),
        list_1n=lambda name: listed(name, who),
    )
    test.embs, test.embs_f = embeddings(rng, who[template])
    test.skipped = []
    return test


def pairs_of(rng, who, gallery_first):
    ranges = ((0, PEOPLE), (PEOPLE, TEMPLATES)) if gallery_first else ((0, TEMPLATES),) * 2
    first, second = (rng.integers(*ends, PAIRS, dtype=np.int32) for ends in ranges)
    mated = rng.choice(PAIRS, SAME, replace=False)
    first[mated] = who[second[mated]]  # the first templates are one of each person
    return first, second, who[first] == who[second]


def listed(name, who):
    parts = {"gallery_S1": np.arange(PEOPLE // 2), "gallery_S2": np.arange(PEOPLE // 2, PEOPLE)}
    rows = parts.get(name, np.arange(PEOPLE, TEMPLATES))
    return rows, who[rows]


def embeddings(rng, person):
    """Of images and their mirror images: a person's direction, and noise."""
    centers, found = rng.standard_normal((PEOPLE, SIZE), np.float32), np.empty((2, IMAGES, SIZE), np.float32)
    for begin in range(0, IMAGES, BLOCK):
        part = person[begin : begin + BLOCK]
        plain = centers[part] + 5 * rng.standard_normal((len(part), SIZE), np.float32)
        found[0, begin : begin + BLOCK] = plain
        found[1, begin : begin + BLOCK] = plain + rng.standard_normal((len(part), SIZE), np.float32)
    return found


def told(what, work):
    spent, wall, found = cost(work)
    print(f"{what}: {spent:.1f} CPU-s, {wall:.1f} s, peak {peak():.2f} GB", flush=True)
    return found


def eight_ways(test):
    """→ scores of N0D1F1."""
    scores, names = told("1:1 in eight ways", test.run_model_test_bunch)
    same = test.data.pairs[2]
    print(told("TAR at FAR and AUC of eight", lambda: tables.plot_roc_and_calculate_tpr(scores, names, same)[0]))
    return scores[names.index("N0D1F1")]


def ours(test):
    one = eight_ways(test)
    people = told("people of the pairs", lambda: test.people)
    measured = study.Measured(study.TemplatePairs("random", test.data.pairs[2], people), one)
    print(told("200 draws of half of the people", lambda: study.templates(measured, 200))["rates"])
    told("1:N", test.run_model_test_1N)
    print(told("1:N with intervals", test.searched)["gallery 1"])


def theirs(test):
    """InsightFace's loops with F1 D0 N0 of theirs."""
    (template, media), (first, second, same) = test.data.templates, test.data.pairs
    features = told("their pooling", lambda: slow_pool(unit(test.embs + test.embs_f), template, media))

    def scored():
        parts = []
        for begin in range(0, PAIRS, 100_000):
            a, b = features[first[begin : begin + 100_000]], features[second[begin : begin + 100_000]]
            parts.append(np.sum(a * b, -1))
        return np.concatenate(parts)

    scores = told("their scoring", scored)
    mine = test.run_model_test_single(True, True, False)
    print(f"largest difference of a score {np.abs(scores - mine).max():.1e}")
    from sklearn.metrics import roc_auc_score, roc_curve

    told("their ROC", lambda: (roc_curve(same, scores), roc_auc_score(same, scores)))


def million(entries=1_000_000, probes=10_000):
    rng = np.random.default_rng(0)
    gallery = rng.standard_normal((entries, SIZE), np.float32)
    for begin in range(0, entries, BLOCK):
        gallery[begin : begin + BLOCK] = unit(gallery[begin : begin + BLOCK])
    who = rng.integers(0, 2 * entries, probes)
    noise = rng.standard_normal((probes, SIZE), np.float32)
    asked = unit(noise + np.where(who < entries, 12.0, 0.0)[:, None].astype(np.float32) * gallery[who % entries])
    print(f"{entries:,} entries: {peak():.2f} GB", flush=True)
    found = told(f"{probes:,} probes", lambda: identification.search(asked, gallery, who, np.arange(entries)))
    print(f"rank-1 {found.top(1):.4f}, DIR at FAR 0.01 {found.dir_at_far(0.01)[0]:.4f}")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("ijbc", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("gallery-first", "theirs", "million"):
        parser.add_argument(f"--{name}", action="store_true")
    a = parser.parse_args(argv)
    if a.million:
        million()
        return 0
    test = random_set(a.gallery_first)
    print(f"data: {peak():.2f} GB", flush=True)
    (theirs if a.theirs else ours)(test)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
