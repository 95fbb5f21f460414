"""Error rates in NIST's words, likelihood ratios, quality, fairness and differences, against other programs and by definition."""

import json
import os

import numpy as np
import pytest

from facetrainer.metrics import difference, evidence, fairness, identification, matching, open_set, quality
from facetrainer.metrics.roc import Roc

# written by lir 1.3.1 and pyeer 0.5.6 from `drawn`
ORACLES = json.load(open(os.path.join(os.path.dirname(__file__), "oracles.json")))


def drawn(seed):
    rng, count = np.random.default_rng(seed), (4000, 700, 150)[seed]
    same = np.arange(count) % 3 == 0
    return np.round(rng.normal(np.where(same, 0.5, 0.0), 0.2), 3 if seed else 6), same


def alone(count):
    """People of pairs of which nobody is in two."""
    return np.arange(2 * count).reshape(2, -1)


def test_equal_groups_are_within_the_intervals():
    """A bootstrap of people holds these 29 times of 40."""
    held = 0
    for repeat in range(20):
        found = fairness.by_group(*groups_of(np.random.default_rng(repeat), 60, 0.0), 2.0)
        held += found.measures["FDR"][1][1] > 0.999 and found.measures["FNMR, worst to best"][1][0] < 1.001
    assert held >= 19


@pytest.mark.parametrize("seed", range(3))
def test_equal_to_other_programs(seed):
    (scores, same), expected = drawn(seed), ORACLES[seed]
    curve, ratios = Roc(scores, same), (scores - 0.27) * 9
    assert evidence.cllr(ratios, same) == pytest.approx(expected["cllr"], abs=1e-12)
    assert evidence.cllr_min(scores, same) == pytest.approx(expected["cllr_min"], abs=1e-9)
    assert curve.auc == pytest.approx(expected["auc"], abs=1e-12)
    assert matching.zero_fmr(curve) == pytest.approx(expected["zero"], abs=1e-12)
    assert curve.eer == pytest.approx(
        expected["eer"], abs=1 / same.sum()
    )  # theirs is no point of the curve's straight lines
    for name, fmr in (
        ("fmr100", 1e-2),
        ("fmr1000", 1e-3),
    ):  # theirs is at the nearest rate, ours at the nearest that is not above
        if fmr * np.sum(~same) >= 1:
            assert 1 - curve.tar_nearest(fmr) == pytest.approx(expected[name], abs=1e-12)


def test_a_threshold_is_carried():
    scores, same = np.array([0.9, 0.8, 0.3, 0.5, 0.2, 0.1]), np.array([1, 1, 1, 0, 0, 0], bool)
    found = matching.AtThreshold.of(0.5, scores, same, alone(6))
    assert (found.fmr, found.fnmr) == (pytest.approx(1 / 3), pytest.approx(1 / 3)) and found.people == 12
    assert found.fmr_95[0] < 1 / 3 < found.fmr_95[1] and (found.impostors, found.genuine) == (3, 3)
    only = matching.AtThreshold.of(0.5, scores[:3], same[:3], alone(3))
    assert np.isnan(only.fmr) and only.fnmr == pytest.approx(1 / 3) and "FNMR 0.333" in str(only)


def test_folded_ratios_are_calibrated_and_never_better_than_the_best():
    scores, same = drawn(0)
    found = evidence.folded_ratios(scores, same, alone(len(same)))
    assert evidence.cllr_min(scores, same) <= evidence.cllr(found, same) < evidence.cllr_min(scores, same) + 0.02
    assert evidence.cllr(np.zeros(10), np.arange(10) < 5) == 1
    places, mine, others = evidence.tippett(found, same)
    assert mine[0] == 1 and np.all(np.diff(places) > 0) and np.all(np.diff(mine) <= 0)
    at_one = np.searchsorted(places, 0)
    assert mine[at_one] > 0.85 and others[at_one] < 0.15


def test_probability_and_ratio_are_one():
    scores, same = drawn(1)
    fitted = evidence.fit(scores, same, alone(len(same)))
    for score in (-0.5, 0.2, 0.6, 2.0):
        ratio, chance = evidence.log_ratio(fitted, score), evidence.probability(fitted, score)
        np.testing.assert_allclose(1 / (1 + np.exp(-np.array(ratio))), chance)


def test_error_versus_discard():
    missed, good = np.array([1, 0, 1, 0, 0], bool), np.array([0.1, 0.2, 0.2, 0.4, 0.5])
    gone, rates = quality.error_versus_discard(missed, good)
    np.testing.assert_allclose(gone, [0, 0.2, 0.6, 0.8])  # two of one quality go together
    np.testing.assert_allclose(rates, [0.4, 0.25, 0, 0])
    assert quality.partial_area(gone, rates, 0.3) == pytest.approx(0.2 * 0.4 + 0.1 * 0.25)
    many = np.arange(100_000) < 8000
    perfect = quality.partial_area(*quality.error_versus_discard(many, ~many + np.arange(100_000) / 1e6), 0.2)
    assert quality.perfect_area(0.08, 0.2) == pytest.approx(perfect, abs=1e-5)
    assert quality.perfect_area(0.5, 0.2) == pytest.approx(0.2 + 0.5 * np.log(0.8))


def test_measures_of_fairness_by_hand():
    assert fairness.fdr([0.01, 0.03], [0.1, 0.05]) == pytest.approx(1 - 0.5 * 0.02 - 0.5 * 0.05)
    assert fairness.fdr([0.01, 0.03], [0.1, 0.05], alpha=1) == pytest.approx(0.98)
    assert fairness.gini([1, 1, 1]) == 0 == fairness.gini([0, 0]) and fairness.gini([0, 0, 1]) == pytest.approx(1)
    assert fairness.gini([1, 3]) == pytest.approx(0.5)
    assert fairness.garbe([1, 3], [2, 2]) == pytest.approx(0.25)
    assert fairness.worst_to_best([0.1, 0.4]) == pytest.approx(4) and fairness.worst_to_best([0, 0.1]) == np.inf
    assert fairness.worst_to_best([0, 0]) == 1


def groups_of(rng, people=100, shift=0.3):
    """Pairs within two groups of people, the second one harder."""
    who = np.repeat(np.arange(people), 4)
    i, j = np.triu_indices(len(who), 1)
    near = who[i] // (people // 2) == who[j] // (people // 2)
    i, j = i[near], j[near]
    own = rng.normal(size=people)
    same = who[i] == who[j]
    harder = who[i] >= people // 2
    scores = (
        np.where(same, 2.5, 0) - shift * harder * same + 0.3 * (own[who[i]] + own[who[j]]) + rng.normal(size=len(i))
    )
    names = np.where(who >= people // 2, "b", "a")
    return scores, same, np.stack([who[i], who[j]]), np.stack([names[i], names[j]])


def test_groups_at_one_threshold():
    scores, same, people, groups = groups_of(np.random.default_rng(0), shift=1.0)
    groups[:, 0] = ["", "a"]
    found = fairness.by_group(scores, same, people, groups, 2.0)
    assert list(found.groups) == ["a", "b"] and found.groups["b"].fnmr > found.groups["a"].fnmr
    mine = (groups == "b").all(axis=0)
    assert found.groups["b"].fmr == pytest.approx(np.mean(scores[mine & ~same] >= 2.0))
    rates = np.array([[one.fmr, one.fnmr] for one in found.groups.values()]).T
    assert found.measures["GARBE"][0] == pytest.approx(fairness.garbe(*rates))
    assert found.measures["FDR"][0] == pytest.approx(fairness.fdr(*rates))
    assert found.measures["FNMR, worst to best"][0] == pytest.approx(fairness.worst_to_best(rates[1]))
    for value, (low, high) in found.measures.values():
        assert low < value < high
    assert found.measures["FDR"][1][1] < 1 < found.measures["FNMR, worst to best"][1][0]  # the groups do differ
    with pytest.raises(ValueError, match="two groups or more"):
        fairness.by_group(scores, same, people, np.full((2, len(same)), "a"), 2.0)


def searches(rng, people, images=5, spread=0.7):
    """Searches for people, half of them enrolled, whose scores have a part of their own."""
    who = np.repeat(np.arange(people), 1 + rng.poisson(images - 1, people))
    noise, mated = rng.standard_normal((2, len(who))), who < people // 2
    best = spread * rng.standard_normal(people)[who] + noise[0] + 3.5 * mated
    return identification.Search(best, np.where(mated, np.where(best < noise[1] + 1, 1, 0), -1)), who


def test_rates_of_a_search_by_hand():
    rank = np.array([0, 0, 0, 1, *[-1] * 50])
    best = np.array([0.9, 0.8, 0.3, 0.7, *np.linspace(0, 0.5, 50)])
    found, who = identification.Search(best, rank), np.array([0, 0, 1, 1, *range(2, 52)])
    told = open_set.rates(found, who, draws=100)
    assert list(told) == ["FNIR@FPIR=0.1", "rank-1", "rank-5", "rank-10"]  # 0.01 is half a search
    one = told["FNIR@FPIR=0.1"]
    assert one["rate"] == 0.5 and one["95%"][0] < 0.5 < one["95%"][1]
    assert np.sum(best[4:] >= one["threshold"]) == 4  # fewer than the stated part
    assert told["rank-1"]["rate"] == 0.75 and told["rank-5"]["rate"] == 1
    few = identification.Search(best[:24], rank[:24])
    assert np.isnan(open_set.rates(few, who[:24])["FNIR@FPIR=0.1"]["95%"]).all()
    assert not open_set.rates(identification.Search(best[4:], rank[4:]), who[4:])


def test_interval_of_a_search_holds_the_truth():
    rng, fpir = np.random.default_rng(3), 0.1
    truth = 1 - searches(rng, 100_000)[0].dir_at_far(fpir)[0]
    ends = [open_set.fnir_interval(*searches(rng, 120), fpir, draws=60, seed=k) for k in range(80)]
    assert np.mean([low <= truth <= high for low, high in ends]) >= 0.9
    assert np.mean([high - low for low, high in ends]) < 0.2


def test_delong_is_its_definition():
    rng = np.random.default_rng(0)
    same = np.arange(60) % 2 == 0
    first, second = (np.round(rng.normal(np.where(same, one, 0), 1), 1) for one in (1.5, 1.0))

    def psi(scores):
        mine, others = scores[same][:, None], scores[~same]
        return (mine > others) + 0.5 * (mine == others)

    one, other = psi(first), psi(second)
    apart = one.mean() - other.mean()
    variance = sum(np.var((one - other).mean(axis=k), ddof=1) / 30 for k in (0, 1))
    found, error, p = difference.delong(first, second, same)
    assert found == pytest.approx(apart) and error == pytest.approx(np.sqrt(variance)) and 0 < p < 1
    assert difference.delong(first, first, same) == (0.0, 0.0, 1.0)
    value, ends = difference.areas(first, second, same, alone(60), draws=200)
    assert value == pytest.approx(apart) and ends[0] < apart < ends[1]
    assert (
        0.7 * error < (ends[1] - ends[0]) / 2 / 1.96 < 2.2 * error
    )  # half of the people keep a quarter of the pairs of two


def test_paired_difference_knows_people():
    rng = np.random.default_rng(0)
    people, right = np.repeat(np.arange(40), 10), rng.random(40).repeat(10) < 0.2
    value, ends = difference.paired(right, np.zeros(400), np.stack([people, people]))
    _, apart = difference.paired(right, np.zeros(400), alone(400))
    assert value == pytest.approx(right.mean()) and ends[1] - ends[0] > 2 * (apart[1] - apart[0])


@pytest.mark.parametrize("spread", [0.0, 1e-9, 1e-4])
def test_a_network_whose_embeddings_have_fallen_on_one_point_is_calibrated(spread):
    """As one is after a first epoch: training must not end in numpy's "Singular matrix"."""
    rng, same = np.random.default_rng(0), np.arange(400) % 2 == 0
    scores = 1 - spread * rng.random(400)
    fitted = evidence.fit(scores, same, alone(400))
    assert np.isfinite([fitted["intercept"], fitted["slope"], *np.ravel(fitted["covariance"])]).all()
    chance, low, high = evidence.probability(fitted, float(np.median(scores)))
    assert low <= chance <= high and abs(chance - 0.5) < 0.2
