"""What `evaluate` tells besides accuracy, its tables of attributes, and the page."""

import json
import os

import numpy as np
import pytest

from facetrainer.cli import evaluate, report
from facetrainer.evaluation import known, overlap, study, verification
from facetrainer.evaluation.embedder import Embedder
from facetrainer.evaluation.pairs import Pairs
from facetrainer.io import attributes
from facetrainer.metrics import calibration
from facetrainer.reporting import study as pages
from tests.helpers import tiny_model

PEOPLE = 40


def measured(seed=0, name="set", harder=0.0):
    """240 pairs of 40 named people; the pictures of the second half are harder."""
    rng = np.random.default_rng(seed)
    first = rng.integers(PEOPLE, size=240)
    same = np.arange(240) % 2 == 0
    second = np.where(same, first, (first + rng.integers(1, PEOPLE // 2, 240)) % PEOPLE)
    people = np.stack([first, second], axis=1).ravel()
    centers = rng.normal(size=(PEOPLE, 16))
    noise = 0.6 + harder * (people >= PEOPLE // 2)
    embeddings = (centers[people] + noise[:, None] * rng.normal(size=(480, 16))) / noise[:, None]
    names = tuple(f"p{k:02d}" for k in people)
    pairs = Pairs(
        name, [b""] * 480, same, "0" * 64, names, True, tuple(f"{who}/{k}.jpg" for k, who in enumerate(names))
    )
    return study.Measured(pairs, verification.scores_of(embeddings), embeddings)


def test_thresholds_are_carried(tmp_path):
    one, other = measured(0), measured(1)
    found = calibration.calibrate(*one.given[:2], people=one.given[2], fars=(0.1,))
    point = study.carried(other, found)["0.1"]
    said = other.scores >= found["thresholds"]["0.1"]["threshold"]
    assert point["fmr"] == np.mean(said[~other.pairs.same]) and point["fnmr"] == np.mean(~said[other.pairs.same])
    assert study.threshold_of(other, 0.1, found) == (point["threshold"], "carried")
    with pytest.raises(ValueError, match="no threshold for FAR 0.01"):
        study.threshold_of(other, 0.01, found)


def test_rates_are_those_of_the_curve():
    one = measured()
    ends = verification.intervals(*one.given, draws=40)
    found = study.rates(one, ends)
    assert found["FNMR@FMR=0.1"]["rate"] == 1 - one.curve.tar(0.1) and "95%" not in found["ZeroFMR"]
    assert found["FNMR@FMR=0.1"]["95%"] == (1 - ends["TAR@FAR=0.1"][1], 1 - ends["TAR@FAR=0.1"][0])
    line = study.curve(one)
    assert line["FNMR"][np.searchsorted(line["FMR"], 0.1)] <= found["FNMR@FMR=0.1"]["rate"] and line["FNMR"][-1] == 0


def test_qualities_side_by_side(tmp_path):
    one = measured(harder=1.0)
    lengths = np.linalg.norm(one.embeddings, axis=1)
    rows = [
        f"{path};{length};{100 - k % 7};x"
        for k, (path, length) in enumerate(zip(one.pairs.paths, lengths, strict=True))
    ]
    (tmp_path / "ofiq.csv").write_text("Filename;UnifiedQualityScore;other;word\n" + "\n".join(rows))
    found = study.discarded(one, str(tmp_path / "ofiq.csv"))
    assert list(found) == ["length of the embedding", "UnifiedQualityScore", "other"]
    own, same = found["length of the embedding"], found["UnifiedQualityScore"]
    assert own["area"] == pytest.approx(same["area"]) and own["area of perfect"] < own["area"] < own["area of none"]
    assert own["FNMR"][0] == pytest.approx(0.05)


def test_groups_of_people_and_of_images(tmp_path):
    one = measured(harder=1.0)
    lines = [f"p{k:02d},{'late' if k >= PEOPLE // 2 else 'early'},one" for k in range(PEOPLE)]
    path = str(tmp_path / "people.csv")
    open(path, "w").write("person,half,all\n" + "\n".join(lines))
    found = study.groups(one, path, 0.5)
    assert (
        list(found) == ["half"] and found["half"]["groups"]["late"]["fnmr"] > found["half"]["groups"]["early"]["fnmr"]
    )
    open(path, "w").write("person,all\n" + "\n".join(f"p{k:02d},one" for k in range(PEOPLE)))
    with pytest.raises(ValueError, match="all: fairness: expected two groups"):
        study.groups(one, path, 0.5)


def test_tables_that_do_not_fit(tmp_path):
    path = str(tmp_path / "x.csv")
    for text, why in (("a,b\n1,2", "expected a column image or person"), ("image\na", "and others"), ("", "no table|expected a column"),
                      ("image,x\na,1\na,2", "'a' stands there twice")):  # fmt: skip
        open(path, "w").write(text)
        with pytest.raises(ValueError, match=why):
            attributes.read(path)
    open(path, "w").write("image,x\na,1\n")
    with pytest.raises(ValueError, match="0 of 480 images of the set are in the table. It has 'a', the set 'p"):
        measured().table(path)
    open(path, "w").write("person,x\na,1\n")
    with pytest.raises(ValueError, match="whom this set does not name"):
        attributes.of_images(attributes.read(path), ["0"], None, path)


def test_a_page_of_two_models(bin_file, workdir, capsys):
    tiny_model().save("m_1.keras")
    rows = ["image,tone", *(f"{k},{'ab'[k % 40 < 20]}" for k in range(10_000))]
    open("tone.csv", "w").write("\n".join(rows))
    call = ["-m", "m_1.keras", "-t", bin_file, "--bootstrap", "20", "--fmr", "0.1"]
    assert evaluate.main([*call, "--json", "a.json"]) == 0
    json.dump({"thresholds": {"0.1": {"threshold": 0.3}}, "sets": [{"set": "elsewhere"}]}, open("set.json", "w"))
    more = [
        "--thresholds",
        "set.json",
        "--attributes",
        "tone.csv",
        "--quality",
        "tone.csv",
        "--json",
        "b.json",
        "--page",
        "b.html",
    ]
    assert evaluate.main([*call, *more]) == 0
    told = capsys.readouterr().out
    assert (
        "ZeroFMR" in told
        and "FMR 0.1 set on elsewhere: threshold 0.3000: FMR" in told
        and "Cllr" in told
        and "GARBE" in told
        and "area to 20 % discarded by length" in told
    )
    first = json.load(open("b.json"))[0]
    assert (
        first["made by"]["command"].startswith("facetrainer evaluate -m m_1.keras")
        and "keras" in first["made by"]["with"]
    )
    for kind in ("html", "pdf", "tex"):
        assert report.main(["a.json", "b.json", "-o", f"study.{kind}"]) == 0
        assert os.path.getsize(f"study.{kind}") > 100
    page = open("study.html").read()
    assert page.count("<img") == 4 and "The thresholds were set on elsewhere" in page
    assert r"m\_1.keras &" in open("study.tex").read()
    assert "ms an image, one at a time" in told
    assert report.main(["a.json", "-o", "study.doc"]) == 1 and report.main(["tone.csv", "-o", "x.html"]) == 1
    assert "holds no results" in capsys.readouterr().err


class Trained(Embedder):
    """The first eight people of `measured` under their names in another spelling, and 30 strangers."""

    def __init__(self, one, names=True):
        rng, self.class_names = (
            np.random.default_rng(5),
            [f"P-{k:02d}" if names else str(k) for k in range(8)] + [f"{900 + k}" for k in range(30)],
        )
        people = one.pairs.people.T.ravel()
        chosen = np.concatenate([np.flatnonzero(people == k)[:4] for k in range(8)])
        self.labels = np.concatenate([people[chosen], np.repeat(np.arange(8, 38), 4)]).astype(np.int32)
        self.vectors = np.concatenate([one.embeddings[chosen], rng.normal(size=(120, one.embeddings.shape[1]))])

    def of_source(self, source, indices, flip):
        assert np.bincount(self.labels[indices]).max() == 3
        yield from np.array_split(self.vectors[indices], 5)


@pytest.mark.parametrize("names", (True, False))
def test_people_who_were_trained_on_are_found(names):
    rng, one = np.random.default_rng(0), measured()
    people = one.pairs.people.T.ravel()
    wide = 3 * rng.normal(size=(PEOPLE, 64))[people] + rng.normal(
        size=(480, 64)
    )  # 16 dimensions would leave strangers near
    one = study.Measured(one.pairs, verification.scores_of(wide), wide)
    trained = Trained(one, names)
    found = overlap.overlap(one, trained, trained)
    assert found["by name"] == (8 if names else None) and found["by embedding"] == 8 and found["people"] == PEOPLE
    assert {row["trained"] for row in found["who"]} == set(trained.class_names[:8])
    assert found["pairs without them"] == np.sum((one.pairs.people >= 8).all(axis=0))


def test_another_set_of_a_known_name():
    assert known.odd("LFW", np.arange(6000) < 3000) == "" == known.odd("own", [True])
    assert "the published cfp_fp has 7,000 and 3,500" in known.odd("cfp-fp", np.ones(10))
    results = [
        {"name": "lfw", "sha256": one, "accuracy": 0.5, "pairs": 2, "max_accuracy": 1.0, "auc": 1.0} for one in "ab"
    ]
    assert "Different sets of one name" in pages._html(results) and "Different" not in pages._html(results[:1])


def test_a_set_too_small_for_folds_tells_no_cllr():
    whole = measured()
    pairs = Pairs("two", whole.pairs.images[:4], whole.pairs.same[:2], "", whole.pairs.names[:4])
    found = study.worth(study.Measured(pairs, whole.scores[:2], whole.embeddings[:4]))
    assert np.isnan(found["Cllr"]) and found["Cllr min"] == 0


def test_two_models_are_compared():
    one, other = measured(0), measured(0, harder=1.0)
    found = study.compared(one.pairs, one.scores, other.scores)
    for what in ("10-fold accuracy", "AUC"):
        low, high = found[what]["95%"]
        assert 0 < low < found[what]["difference"] < high
    assert (
        found["McNemar p"] < 0.01 and found["DeLong p"] < 0.01 and found["right here only"] > found["right there only"]
    )


@pytest.mark.parametrize("damage", ({"curve": {"FMR": [0.1]}}, {"groups": {"a": {}}}, {"rates": {"EER": 1}}))
def test_damaged_results_are_an_error_and_leave_no_page(tmp_path, damage):
    one = {"name": "x", "accuracy": 0.5, "pairs": 2, "max_accuracy": 1.0, "auc": 1.0, **damage}
    path = str(tmp_path / "x.html")
    with pytest.raises(ValueError, match="the results are damaged"):
        pages.write([one], path)
    assert not os.path.exists(path)


def test_models_that_nothing_betters_are_on_the_line():
    figure = pages.plots.pareto({"fast": (1.0, 1.0, 0.9), "worse": (2.0, 9.0, 0.8), "slow": (3.0, 4.0, 0.99)})
    assert figure.axes[0].lines[0].get_xydata().tolist() == [[1.0, 0.9], [3.0, 0.99]]


def test_many_groups_make_no_huge_picture():
    one = {"fmr": 0.1, "fnmr": 0.1, "fmr_95": [0, 0.2], "fnmr_95": [0, 0.2]}
    figure = pages.plots.groups({str(k): one for k in range(100_000)})
    assert figure.get_size_inches()[1] < 20


def test_wrong_options_are_told_before_the_work(bin_file, workdir, capsys):
    call = ["-m", "there_is_none.keras", "-t", bin_file]
    open("bad.csv", "w").write("a,b\n1,2\n")
    for more, why in ((["--page", "x.doc"], "ending in .html"), (["--attributes", "bad.csv"], "expected a column image or person"),
                      (["--trained-on", ".", "--backend", "lda"], "leave out --backend")):  # fmt: skip
        assert evaluate.main([*call, *more]) == 1
        assert why in capsys.readouterr().err


def test_texts_of_strangers_are_no_markup():
    one = {
        "name": "<b>x</b>",
        "accuracy": 0.5,
        "pairs": 2,
        "max_accuracy": 1.0,
        "auc": 1.0,
        "made by": {"model": "a_<script>"},
    }
    assert "<script>" not in pages._html([one]) and r"a\_<script>" in pages.latex([one])
