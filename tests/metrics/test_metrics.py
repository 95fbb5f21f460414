import json

import numpy as np
import pytest
import reference
from helpers import random_pairs
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score, roc_curve

from facetrainer import evaluation as evals
from facetrainer.metrics import calibration, identification, quality, templates, verification
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
    rejected, missed = quality.error_versus_reject(scores, same, good, 0.01)
    assert (
        rejected[0] == 0
        and missed[0] > 3 * missed[15]
        and missed[0] == np.mean(scores[same] <= np.sort(scores[~same])[::-1][10])
    )


# ------------------------------------------------------------------------------------------------------------- templates


def test_pooling_is_the_slow_one():
    rng = np.random.default_rng(0)
    features, template, media = rng.normal(size=(500, 6)), rng.integers(50, 90, 500), rng.integers(0, 5, 500)
    ids, found = templates.pool(features, template, media)
    slow_ids, slow = reference.pool(features, template, media)
    np.testing.assert_array_equal(ids, slow_ids)
    np.testing.assert_allclose(found, slow, atol=1e-12)


@pytest.mark.parametrize("dense", [0.0, 0.1, 1e9])
def test_similarities_of_pairs(dense):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(700, 5))
    first, second = rng.integers(0, 700, (2, 5000))
    found = templates.pair_similarities(features, first, second, dense)
    np.testing.assert_allclose(found, np.sum(features[first] * features[second], axis=1), atol=1e-12)


def test_search_is_the_slow_one():
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
    with pytest.raises(ValueError, match="one kind only"):
        identification.search(probes, gallery, probe_people % 2 + 100, gallery_people).dir_at_far(0.1)
