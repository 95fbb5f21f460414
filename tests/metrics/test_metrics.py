import collections
import json
import os

import numpy as np
import pytest
import reference
from helpers import random_pairs
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score, roc_curve

from benchmarks import coverage
from facetrainer import evaluation as evals
from facetrainer.metrics import calibration, identification, intervals, quality, templates, verification
from facetrainer.metrics.roc import Roc


@pytest.mark.parametrize("seed", range(8))  # 200 of them: benchmarks/evaluation.py
def test_equal_to_insightfaces_verification(seed):
    embeddings, same = random_pairs(seed, 60 + 13 * seed)
    ours, slow = evals.evaluate(embeddings, same), reference.verification_evaluate(embeddings, same)
    for mine, theirs in zip(ours, slow, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-12)


def test_equal_with_principal_components():
    embeddings, same = random_pairs(3, 200)
    thresholds = np.arange(0, 4, 0.01)
    found = evals.calculate_roc(thresholds, embeddings[::2], embeddings[1::2], same, pca=5)
    slow = reference.verification_roc(thresholds, embeddings[::2], embeddings[1::2], same, 10, 5)
    for mine, theirs in zip(found, slow, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-12)
    assert evals.scores_of(embeddings, pca=5).shape == evals.scores_of(embeddings, centre=True).shape == (200,)


@pytest.mark.parametrize("seed", range(12))
def test_rates_are_scikit_learns(seed):
    rng = np.random.default_rng(seed)
    scores, same = np.round(rng.normal(size=300 + seed), seed % 4), rng.random(300 + seed) < 0.3
    scores = np.where(same, scores + 1, scores)
    curve = Roc(scores, same)
    assert curve.auc == pytest.approx(roc_auc_score(same, scores), abs=1e-12)
    far, tar, _ = roc_curve(same, scores)
    for wanted in (1e-3, 1e-2, 0.05, 0.1, 0.3):
        assert curve.tar_nearest(wanted) == reference.tar_nearest(far, tar, wanted)
        everything = roc_curve(same, scores, drop_intermediate=False)
        assert curve.tar(wanted) == pytest.approx(everything[1][everything[0] <= wanted + 1e-12].max(), abs=1e-12)
        accepted = curve.rates(np.array([curve.threshold(wanted)]))
        assert accepted[0][0] <= wanted + 1e-12 and accepted[1][0] == pytest.approx(curve.tar(wanted))
    mine = curve.points()
    theirs = set(zip(everything[0].round(12), everything[1].round(12), strict=True))
    assert set(zip(mine[0].round(12), mine[1].round(12), strict=True)) <= theirs
    for rate in everything[0]:
        highest = [y[x <= rate + 1e-12].max() for x, y in (mine[:2], everything[:2])]
        assert highest[0] == pytest.approx(highest[1], abs=1e-12)
    assert np.trapezoid(mine[1], mine[0]) == pytest.approx(curve.auc, abs=1e-9)


def test_nearest_looks_beyond_its_window():
    rng = np.random.default_rng(0)
    scores, same = rng.normal(size=40_000), np.zeros(40_000, bool)
    same[:50] = True
    scores[:50] += 3
    far, tar, _ = roc_curve(same, scores)
    for wanted in (1e-4, 1e-3, 0.1, 0.5, 0.9):
        assert Roc(scores, same).tar_nearest(wanted) == reference.tar_nearest(far, tar, wanted)


def test_equal_error_rate():
    assert Roc(np.array([3.0, 2, 1, 0]), np.array([True, True, False, False])).eer == 0
    assert Roc(np.array([3.0, 2, 1, 0]), np.array([True, False, True, False])).eer == pytest.approx(0.5)
    rng = np.random.default_rng(0)
    scores, same = rng.normal(size=200_000), np.arange(200_000) % 2 == 0
    assert Roc(scores + 2 * same, same).eer == pytest.approx(0.1587, abs=0.003)  # Φ(−1)


def test_what_is_refused():
    with pytest.raises(ValueError, match="1 of 2 scores are not finite"):
        Roc(np.array([1.0, np.nan]), np.array([True, False]))
    with pytest.raises(ValueError, match="one score a pair"):
        Roc(np.ones(3), np.ones(2, bool))
    assert np.isnan(Roc(np.ones(2), np.ones(2, bool)).auc)


def test_mcnemar():
    first, second = np.array([1, 1, 1, 1, 1, 0, 0, 1], bool), np.array([1, 0, 0, 0, 0, 0, 1, 1], bool)
    only_first, only_second, p = evals.mcnemar(first, second)
    assert (only_first, only_second) == (4, 1) and p == pytest.approx(binomtest(4, 5).pvalue)
    assert evals.mcnemar(first, first) == (0, 0, 1.0)


def test_fold_table_adds_up():
    embeddings, same = random_pairs(1)
    scores = evals.pair_scores(embeddings)
    table = evals.fold_table(scores, same)
    wrong = sum(fold.false_accepts + fold.false_rejects for fold in table)
    assert wrong == np.sum(~evals.fold_correct(scores, same))
    np.testing.assert_array_equal([fold.accuracy for fold in table], evals.fold_accuracies(scores, same))


def test_calibration_refuses_what_pairs_cannot_support(tmp_path):
    rng = np.random.default_rng(0)
    same = np.arange(4000) % 2 == 0
    scores = rng.normal(size=4000) * 0.1 + 0.5 * same
    found = evals.calibrate(scores, same, model="m.keras")
    assert list(found["thresholds"]) == ["0.1", "0.01"]
    assert found["refused"]["0.001"] == "2000 negative pairs, 10000 are needed"
    point = found["thresholds"]["0.01"]
    assert (
        np.mean(scores[~same] >= point["threshold"]) == point["FAR"] <= 0.01
        and point["FAR 95%"][0] < 0.01 < point["FAR 95%"][1]
    )
    path = calibration.write(str(tmp_path / "m.keras"), found)
    kept = json.load(open(path))
    assert path.endswith("m_thresholds.json") and calibration.threshold_at(kept, 0.01) == point["threshold"]
    with pytest.raises(ValueError, match="no threshold for FAR 0.001: 2000 negative pairs"):
        calibration.threshold_at(kept, 1e-3)


def test_fisher_score_and_quality():
    rng = np.random.default_rng(0)
    centers, labels = rng.normal(size=(5, 8)), np.repeat(np.arange(5), 20)
    scores = [
        quality.angular_fisher_score(centers[labels] + noise * rng.normal(size=(100, 8)), labels)
        for noise in (0.0, 0.3, 1.0)
    ]
    assert scores[0] == pytest.approx(0, abs=1e-12) and scores[0] < scores[1] < scores[2]
    two = np.array([[1, 0], [0, 1], [-1, 0], [0, 1.0]])  # means at 45° and 135°, together at 90°
    assert quality.angular_fisher_score(two, np.array([0, 0, 1, 1])) == pytest.approx(1.0)
    same, good = np.arange(2000) % 2 == 0, rng.random(2000)
    scores = np.where(same, good, 0) + 0.2 * rng.normal(size=2000)
    gone, missed = quality.error_versus_discard(scores[same] < 0.3, good[same])
    assert gone[0] == 0 and missed[0] == np.mean(scores[same] < 0.3) and missed[0] > 3 * missed[np.argmax(gone >= 0.4)]


# ------------------------------------------------------------------------------------------------------------- templates


def test_pooling_is_the_slow_one():
    rng = np.random.default_rng(0)
    features, template, media = rng.normal(size=(500, 6)), rng.integers(50, 90, 500), rng.integers(0, 5, 500)
    pooling = templates.Pooling(template, media)
    slow_ids, slow = reference.pool(features, template, media)
    np.testing.assert_array_equal(pooling.ids, slow_ids)
    np.testing.assert_allclose(pooling(features), slow, atol=1e-6)  # shares are float32
    more, scores = rng.normal(size=(500, 6)), rng.random(500)
    both = verification.unit(features + more) * scores[:, None]
    weights = templates.image_weights(features, more, scores, True)
    np.testing.assert_allclose(
        pooling(features, more, weights=weights), reference.pool(both, template, media)[1], atol=1e-6
    )
    assert templates.image_weights(features, None, None, False) is None


@pytest.mark.parametrize("dense", [0.0, 0.02, 1e9])
@pytest.mark.parametrize("apart", [True, False], ids=["gallery first", "at random"])
def test_similarities_of_pairs(dense, apart, monkeypatch):
    monkeypatch.setattr(templates, "DENSE", dense)
    rng = np.random.default_rng(0)
    features = rng.normal(size=(1300, 5))
    first = rng.integers(0, 90 if apart else 1300, 5000)
    second = rng.integers(90 if apart else 0, 1300, 5000)
    listed = templates.PairProducts(first, second)
    assert listed.triangle != apart
    np.testing.assert_allclose(listed(features), np.sum(features[first] * features[second], axis=1), atol=1e-12)


def test_search_is_the_slow_one(monkeypatch):
    rng = np.random.default_rng(0)
    gallery_people, probe_people = rng.integers(0, 30, 60), rng.integers(0, 45, 300)
    centers = rng.normal(size=(45, 8))
    gallery = verification.unit(centers[gallery_people] + rng.normal(size=(60, 8)))
    probes = verification.unit(centers[probe_people] + rng.normal(size=(300, 8)))
    found = identification.search(probes, gallery, probe_people, gallery_people)
    best, rank = reference.search(probes, gallery, probe_people, gallery_people)
    np.testing.assert_allclose(found.best, best, atol=1e-12)
    np.testing.assert_array_equal(found.rank, rank)
    assert found.top(1) == np.mean(rank[rank >= 0] == 0) and found.cmc(30)[-1] == 1.0
    rate, threshold = found.dir_at_far(0.1)
    assert np.mean(best[rank < 0] > threshold) <= 0.1
    assert rate == np.mean((rank == 0)[rank >= 0] & (best > threshold)[rank >= 0])
    monkeypatch.setattr(identification, "AT_ONCE", 100)  # a probe at a time
    again = identification.search(probes, gallery, probe_people, gallery_people)
    np.testing.assert_array_equal(again.rank, rank)
    with pytest.raises(ValueError, match="one kind only"):
        identification.search(probes, gallery, probe_people % 2 + 100, gallery_people).dir_at_far(0.1)


# ------------------------------------------------------------------------------------------------------------- intervals


def drawn_pairs(seed, count=12, images=4):
    """Scores of 70 % of all pairs of images of `count` people, and their people (2, n)."""
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(count, 6))
    embeddings = verification.unit((centers[:, None] + 0.8 * rng.normal(size=(count, images, 6))).reshape(-1, 6))
    who, (i, j) = np.repeat(np.arange(count), images), np.triu_indices(count * images, 1)
    kept = rng.random(len(i)) < 0.7
    i, j = i[kept], j[kept]
    return np.sum(embeddings[i] * embeddings[j], axis=1), np.stack([who[i], who[j]])


CIMAT = json.load(
    open(os.path.join(os.path.dirname(__file__), "cimat.json"))
)  # values of cimat 0.1.2 for `drawn_pairs`


@pytest.mark.parametrize("seed", range(len(CIMAT)))
def test_variances_and_intervals_are_cimats(seed):
    """Of the authors' own package: variance of FNMR and FMR over people, and Wilson's interval with it."""
    (scores, people), wanted = drawn_pairs(seed), CIMAT[seed]
    same = people[0] == people[1]
    for kind, errors in (("fnmr", scores[same] < 0.5), ("fmr", scores[~same] > 0.5)):
        who = people[:, same if kind == "fnmr" else ~same]
        assert intervals.rate_variance(errors, *who) == pytest.approx(wanted[f"{kind} variance"], abs=1e-9)
        assert intervals.rate_interval(errors, *who) == pytest.approx(wanted[f"{kind} interval"], abs=1e-6)


def test_variance_is_the_slow_one():
    """Sum over all pairs of pairs that share a person, of both kinds together."""
    scores, people = drawn_pairs(1, 8, 3)
    wrong = (scores > 0.5) != (people[0] == people[1])
    away, slow = wrong - wrong.mean(), 0.0
    for a in range(len(away)):
        shares = np.isin(people[0], people[:, a]) | np.isin(people[1], people[:, a])
        slow += away[a] * np.sum(away[shares])
    assert intervals.rate_variance(wrong, *people) == pytest.approx(slow / len(away) ** 2)
    independent = np.arange(len(wrong))
    assert intervals.rate_variance(wrong, independent, independent) == pytest.approx(
        wrong.mean() * (1 - wrong.mean()) / len(wrong)
    )


def test_people_may_have_any_numbers():
    """Those of several sets are set apart by a thousand million: no array of that length."""
    scores, people = drawn_pairs(1)
    for errors in (scores > 0.5, np.zeros(len(scores), bool)):
        far = people.astype(np.int64) * 10**12 + 7
        assert intervals.rate_interval(errors, *far) == intervals.rate_interval(errors, *people)


def test_intervals_at_the_ends():
    """Without an error every two people are one trial; with one, as in cimat."""
    none, person = np.zeros(100), np.repeat(np.arange(20), 5)
    low, high = intervals.rate_interval(none, person, person)
    assert low == 0 and high == pytest.approx(intervals.wilson(0, 20)[1])
    low, high = intervals.rate_interval(1 - none, person, person)
    assert high == 1 and low == pytest.approx(intervals.wilson(1, 20)[0])
    one = np.arange(100) == 3
    assert intervals.rate_interval(one)[0] == pytest.approx(-np.log(0.95) / 100)
    assert intervals.rate_interval(~one)[1] == pytest.approx(1 + np.log(0.95) / 100)
    low, high = intervals.wilson(0.9, 100)
    assert low == pytest.approx(0.8256, abs=1e-3) and high == pytest.approx(0.9448, abs=1e-3)


def test_intervals_hold_the_truth():
    """In small; `python -m benchmarks.coverage` has 400 repeats and more worlds."""
    threshold, truth = coverage.truth_of_people(np.random.default_rng(0))
    held = collections.Counter()
    for repeat in range(40):
        scores, same, people = coverage.people(np.random.default_rng(repeat))
        low, high = intervals.curve_intervals(scores, same, people, [0.01], draws=100, seed=repeat)
        missed = intervals.rate_interval(scores[same] < threshold, *people[:, same])
        over_pairs = intervals.wilson(np.mean(scores[same] < threshold), same.sum())
        for name, ends in (
            ("AUC", (low[0], high[0])),
            ("TAR", (low[1], high[1])),
            ("FNMR", missed),
            ("over pairs", over_pairs),
        ):
            held[name] += ends[0] <= truth.get(name, truth["FNMR"]) <= ends[1]
    assert min(held["AUC"], held["TAR"], held["FNMR"]) >= 34 and held["over pairs"] < 30


def test_perfect_scores_have_an_interval_too():
    same = np.arange(60) % 2 == 0
    low, high = intervals.curve_intervals(same * 1.0, same, np.stack([np.arange(60)] * 2), [0.1], draws=100)
    assert (high == 1).all() and (low < 0.95).all() and (low > 0.5).all()
    low, high = intervals.curve_intervals(
        np.ones(4), np.array([True, True, True, False]), np.zeros((2, 4), int), draws=20
    )
    assert low.shape == (1,)


# ------------------------------------------------------------------------------------------------------------------ ties


def test_ties_count_against_us():
    """Embeddings that are all equal, or all zero, find nobody."""
    people = np.arange(10) % 5
    for embeddings in (np.ones((10, 4)) / 2, np.zeros((10, 4))):
        found = identification.search(embeddings, embeddings[:5], people, people[:5])
        assert found.top(1) == 0.0 and found.top(5) == 1.0
        unknown = np.where(people > 2, 9, people)
        assert identification.search(embeddings, embeddings[:3], unknown, people[:3]).dir_at_far(0.5)[0] == 0.0


def test_one_rule_for_thresholds():
    """Accepted where score ≥ threshold: the best threshold, the folds, rates, open-set search and rejection agree."""
    scores, same = np.array([0.2, np.nextafter(0.2, 1), 0.5, 0.1]), np.array([False, True, True, False])
    accuracy, threshold = evals.best_threshold(scores, same)
    assert accuracy == 1.0 == np.mean((scores >= threshold) == same)
    curve = Roc(scores, same)
    assert curve.rates(np.array([curve.threshold(0.0)])) == (0.0, 1.0)
    found = identification.Search(np.array([0.9, 0.5, 0.4, 0.3]), np.array([0, 0, -1, -1]))
    rate, threshold = found.dir_at_far(0.5)
    assert (found.best[~found.mated] >= threshold).sum() <= 1 and rate == np.mean(found.best[:2] >= threshold)


def test_rates_that_the_unmated_cannot_tell_are_nan():
    found = identification.Search(np.array([0.9, 0.5, 0.4, 0.3]), np.array([0, 0, -1, -1]))
    assert np.isnan(found.dir_at_far(0.1)).all() and np.isfinite(found.dir_at_far(0.5)).all()
