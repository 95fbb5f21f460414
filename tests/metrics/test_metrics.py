import json
import os

import numpy as np
import pandas as pd
import pytest
import reference
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score, roc_curve

from facetrainer import evaluation as evals
from facetrainer.cli import evaluate as evaluate_command
from facetrainer.cli import folder as folder_command
from facetrainer.cli import ijb as ijb_command
from facetrainer.data import synthetic as draw
from facetrainer.data.alignment import LAYOUTS
from facetrainer.data.images import decode, encode
from facetrainer.evaluation import ijb as ijb_evaluation
from facetrainer.io import evalbin
from facetrainer.metrics import calibration, identification, quality, templates, verification
from facetrainer.metrics.roc import Roc
from facetrainer.reporting import folder as eval_folder
from facetrainer.reporting import ijb
from facetrainer.reporting import plots as plot


def random_pairs(seed, pairs=120, size=16, decimals=None):
    """Embeddings (2n, D) of length 1 and same (n,)."""
    rng = np.random.default_rng(seed)
    same = rng.permutation(np.arange(pairs) % 2 == 0)
    first, second = rng.normal(size=(2, pairs, size))
    second[same] = first[same] + rng.normal(size=(same.sum(), size)) * rng.uniform(0.3, 2)
    found = np.empty((2 * pairs, size))
    found[::2], found[1::2] = first, second
    found = verification.unit(found)
    return (np.round(found, decimals) if decimals else found), same


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


def test_intervals_hold_the_truth():
    rng, inside = np.random.default_rng(0), 0
    for _ in range(60):
        same = np.arange(200) % 2 == 0
        scores = rng.normal(size=200) + 2 * same
        low, high = evals.bootstrap(scores, same, lambda s, y: Roc(s, y).auc, 100, seed=int(rng.integers(1 << 30)))
        inside += low <= 0.9214 <= high  # Φ(√2)
    assert 50 <= inside <= 60
    low, high = verification.wilson(0.9, 100)
    assert low == pytest.approx(0.8256, abs=1e-3) and high == pytest.approx(0.9448, abs=1e-3)


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


# ------------------------------------------------------------------------------------------------------------------- IJB


def ijb_set(root, people=6, images=6, subset="IJBB", seed=0):
    """A set in the layout of InsightFace's IJB release, of drawn faces; embeddings are read off the crops by `looks`."""
    rng, meta = np.random.default_rng(seed), os.path.join(root, subset, "meta")
    os.makedirs(meta)
    os.makedirs(os.path.join(root, subset, "loose_crop"))
    tid, points, templates_of = [], [], {p: [] for p in range(people)}
    number = 0
    for person, faces in enumerate(draw.people(people, images, seed=seed)):
        for i, face in enumerate(faces):
            number += 1
            canvas = np.zeros((160, 150, 3), np.uint8)
            canvas[20:132, 15:127] = decode(face)
            open(os.path.join(root, subset, "loose_crop", f"{number}.jpg"), "wb").write(encode(canvas, quality=100))
            template = 100 + 10 * person + i // 2
            templates_of[person] = sorted({*templates_of[person], template})
            tid.append(f"{number}.jpg {template} {number // 2}")
            marks = (LAYOUTS["arcface"].template + [15, 20]).ravel()
            points.append(" ".join([f"{number}.jpg", *(f"{v:.3f}" for v in marks), f"{rng.uniform(0.5, 1):.3f}"]))
    everything = [(p, t) for p, ts in templates_of.items() for t in ts]
    pairs = [f"{a} {b} {int(p == q)}" for k, (p, a) in enumerate(everything) for q, b in everything[:k]]
    low = subset.lower()
    for name, lines in (("face_tid_mid", tid), ("name_5pts_score", points), ("template_pair_label", pairs)):
        open(os.path.join(meta, f"{low}_{name}.txt"), "w").write("\n".join(lines) + "\n")
    galleries = {"gallery_S1": range(0, people // 2), "gallery_S2": range(people // 2, people - 1)}
    for name, members in galleries.items():
        write_list(os.path.join(meta, f"{low}_1N_{name}.csv"), [(templates_of[p][0], p) for p in members])
    write_list(
        os.path.join(meta, f"{low}_1N_probe_mixed.csv"), [(t, p) for p in range(people) for t in templates_of[p][1:]]
    )
    return root


def write_list(path, rows):
    open(path, "w").write("TEMPLATE_ID,SUBJECT_ID,FILENAME\n" + "".join(f"{t},{p},{t}.jpg\n" for t, p in rows))


def looks(batch):
    """uint8 (B, 112, 112, 3) → its colours in 7×7 places."""
    assert batch.dtype == np.uint8 and batch.shape[1:] == (112, 112, 3)
    small = batch.reshape(len(batch), 7, 16, 7, 16, 3).mean((2, 4)).reshape(len(batch), -1)
    return (small - small.mean(axis=1, keepdims=True)).astype(np.float32)


def test_ijb_from_images_to_tables(workdir):
    root = ijb_set(str(workdir / "data"))
    test = ijb.IJB_test(looks, root, "IJBB", batch_size=7)
    face = decode(draw.people(6, 6, seed=0)[0][0])
    np.testing.assert_allclose(test.embs[0], looks(face[None])[0], atol=6)  # the crop is the face again
    np.testing.assert_allclose(test.embs_f[0], looks(face[None, :, ::-1])[0], atol=6)
    scores, names = test.run_model_test_bunch()
    table, figure = ijb.plot_roc_and_calculate_tpr(scores, names, test.data.pairs[2], str(workdir / "roc.png"))
    assert list(table.index) == [f"N{n}D{d}F{f}" for n in (0, 1) for d in (0, 1) for f in (0, 1)]
    assert table.loc["N1D0F1", "InsightFace"] == "N0D0F1" and (table["AUC"] > 0.6).all()
    assert table["1e-06"].isna().all() and os.path.getsize(workdir / "roc.png") > 10_000
    np.testing.assert_array_equal(scores[3], test.run_model_test_single())
    fars, rates, *curves = test.run_model_test_1N()
    assert len(fars) == len(rates) == 101 and np.all(np.diff(rates) >= 0) and curves[0][-1] == 1.0
    assert ijb.plot_dir_far_cmc_scores([(fars, rates, *curves)], ["x"])[0].loc["x", "gallery 1 top-1"] == curves[0][0]


def test_ijb_goes_on_where_it_was_broken_off(workdir):
    root, calls = ijb_set(str(workdir / "data")), []

    def killed(batch):
        calls.append(len(batch))
        if len(calls) == 6:
            raise KeyboardInterrupt
        return looks(batch)

    with pytest.raises(KeyboardInterrupt):
        ijb.IJB_test(killed, root, "IJBB", 8, keep="kept/e")
    rest = ijb.IJB_test(killed, root, "IJBB", 8, keep="kept/e")
    whole = ijb.IJB_test(looks, root, "IJBB", 8)
    assert calls[6:] == [8, 8, 8, 8, 8, 8, 4, 4][-len(calls[6:]) :] and len(calls) == 6 + 6
    np.testing.assert_array_equal(rest.embs, whole.embs)
    np.testing.assert_array_equal(rest.embs_f, whole.embs_f)


def test_ijb_command_and_its_errors(workdir, capsys):
    root = ijb_set(str(workdir / "data"))
    os.remove(f"{root}/IJBB/loose_crop/3.jpg")
    whole = ijb.IJB_test(looks, root, "IJBB")
    assert whole.skipped == ["3.jpg"]
    np.savez("e.npz", embs=whole.embs, embs_f=whole.embs_f)
    assert ijb_command.main(["-d", root, "-R", "e.npz", "-B", "-L"]) == 0
    assert "N1D1F1" in capsys.readouterr().out
    assert set(np.load("e.npz")) == {"scores", "names", "label", "embs", "embs_f"}
    assert ijb_command.main(["--plot_only", "e*.npz"]) == 0 and os.path.exists("IJB_roc.png")
    assert ijb_command.main(["-d", root, "-R", "e.npz", "-N"]) == 0
    assert ijb_command.main(["-P", "e.npz"]) == 0 and os.path.exists("IJB_1N.png")
    for call, message in (
        (["-d", "nowhere", "-m", "x.keras"], "IJBB_face_tid_mid.txt".lower()),
        (["-P", "none*.npz"], "no file is named like"),
        (["-d", root, "-m", "none.onnx"], "does not exist"),
    ):
        assert ijb_command.main(call) == 1 and message in capsys.readouterr().err


def test_ijb_never_takes_embeddings_of_a_model_that_has_changed(workdir, monkeypatch):
    root, files = ijb_set(str(workdir / "data")), []
    monkeypatch.setattr("facetrainer.evaluation.embedder.interface", lambda _: looks_of_floats)
    kept = ijb_evaluation.Kept.put
    monkeypatch.setattr(ijb_evaluation.Kept, "put", lambda self, *a: files.append(self.keep) or kept(self, *a))
    for content in (b"one", b"retrained"):
        open("m.onnx", "wb").write(content)
        assert ijb_command.main(["-m", "m.onnx", "-d", root]) == 0
    assert len(files) == 2 and files[0] != files[1]
    assert sorted(os.listdir("IJB_result")) == ["m_IJBB_11.npz", "m_IJBB_11.png"]


@pytest.mark.real
def test_ijb_is_insightfaces(real):
    expected = json.load(open(f"{real}/ijb_mini/expected.json"))
    kept = np.load(f"{real}/ijb_mini/embeddings.npz")
    test = ijb.IJB_test.__new__(ijb.IJB_test)
    test.data, test.embs, test.embs_f = (
        ijb_evaluation.Ijb.open(f"{real}/ijb_mini", "IJBB"),
        kept["embs"],
        kept["embs_f"],
    )
    scores, names = test.run_model_test_bunch()
    for name, score in zip(names, scores, strict=True):
        curve = Roc(score, test.data.pairs[2])
        assert curve.auc == pytest.approx(expected[name]["auc"], abs=1e-6)
        assert score.sum() == pytest.approx(expected[name]["score_sum"], abs=1e-3)
        for far, tar in expected[name]["tpr_at_fpr_nearest"].items():
            assert curve.tar_nearest(float(far)) == pytest.approx(tar, abs=1e-6)
    for one, gallery in zip(test.searches(), ("G1", "G2"), strict=True):
        wanted = expected["1N"][gallery]
        assert [np.sum(one.rank[one.mated] < k) for k in (1, 5, 10)] == [wanted[f"top{k}"] for k in (1, 5, 10)]
        found = [one.dir_at_far(far) for far in (0.001, 0.01, 0.1, 1)]
        np.testing.assert_allclose([rate for rate, _ in found], wanted["dir_at_far_0.001_0.01_0.1_1"], atol=1e-6)
        np.testing.assert_allclose([threshold for _, threshold in found], wanted["thresholds"], atol=1e-6)


# ---------------------------------------------------------------------------------------------------------------- folder


@pytest.fixture
def faces(workdir):
    for k, faces in enumerate(draw.people(6, 5, seed=9)):
        os.makedirs(f"faces/p{k}")
        for i, face in enumerate(faces):
            open(f"faces/p{k}/{i}.jpg", "wb").write(face)
    return "faces"


def looks_of_floats(batch):
    return looks(np.rint(batch * 128 + 127.5).astype(np.uint8))


def test_folder_against_the_slow_way(faces):
    folder = eval_folder.Eval_folder(looks_of_floats, faces)
    own, strange, who = folder.leave_one_out()
    for k, (vector, label) in enumerate(zip(folder.embeddings, folder.labels, strict=True)):
        others = (folder.labels == label) & (np.arange(30) != k)
        means = [
            verification.unit(folder.embeddings[others if p == label else folder.labels == p].sum(0)[None])[0]
            for p in range(6)
        ]
        cosine = np.array(means) @ vector
        assert own[k] == pytest.approx(cosine[label], abs=1e-5)
        cosine[label] = -np.inf
        assert strange[k] == pytest.approx(cosine.max(), abs=1e-5) and who[k] == cosine.argmax()
    accuracy, score, label = folder.do_evaluation()
    lines = [
        len(eval_folder.plot_tpr_far(score, label, new, name).axes[0].lines)
        for new, name in ((True, "a"), (False, "b"), (True, "c"))
    ]
    assert lines == [1, 2, 1]
    assert accuracy == np.mean(own > strange) and len(score) == 60 and label.sum() == 30
    upper = np.triu_indices(30, 1)
    cosine, same = (folder.embeddings @ folder.embeddings.T)[upper], (folder.labels[:, None] == folder.labels)[upper]
    pairs, exact = folder.all_pairs(), Roc(cosine, same)
    assert pairs.counts.sum(axis=1).tolist() == [np.sum(~same), np.sum(same)]
    assert pairs.auc == pytest.approx(exact.auc, abs=1e-4) and pairs.tar(0.1) == pytest.approx(exact.tar(0.1), abs=0.03)
    likest = folder.worst(3)
    assert likest[0][2] == pytest.approx(cosine[~same].max(), abs=1e-6) and likest[3][2] == pytest.approx(
        cosine[same].min(), abs=1e-6
    )


def test_folder_command(faces, capsys, monkeypatch):
    pd.DataFrame({"person": [f"p{k}" for k in range(6)], "hat": ["yes", "no"] * 3}).to_csv("a.csv", index=False)
    monkeypatch.setattr("facetrainer.evaluation.embedder.interface", lambda _: looks_of_floats)
    call = [
        "-d",
        faces,
        "-m",
        "any",
        "-S",
        "e.npz",
        "--report",
        "r.json",
        "--worst",
        "w.jpg",
        "--slices",
        "a.csv",
        "--roc",
        "roc.svg",
    ]
    assert folder_command.main(call) == 0
    printed = capsys.readouterr().out
    assert "leave-one-out top-1" in printed and "open set DIR@FAR=0.1" in printed
    assert [line.split()[:2] for line in printed.splitlines() if line.strip().startswith("hat")] == [
        ["hat", "no"],
        ["hat", "yes"],
        ["hat", "gap"],
    ]
    report = json.load(open("r.json"))
    assert report["images"] == 30 and report["same pairs"] == 60 and report["different pairs"] == 375
    assert decode(open("w.jpg", "rb").read()).shape == (12 * 112, 4 * 112, 3)
    monkeypatch.setattr("facetrainer.evaluation.embedder.interface", lambda _: pytest.fail("embeddings are kept"))
    assert folder_command.main(["-d", faces, "-S", "e.npz"]) == 0
    assert folder_command.main(["-d", faces]) == 1
    assert "give a model with -m" in capsys.readouterr().err


def test_folder_makes_a_verification_set(faces):
    folder = eval_folder.Eval_folder(looks_of_floats, faces)
    folder.generate_eval_pair_bin("own.bin", 20, 30, nfold=5)
    found, same = evalbin.read_bin("own.bin")
    who = {folder.source.read(i): folder.source.labels[i] for i in range(30)}
    people = [who[image] for image in found]
    assert same.tolist() == [a == b for a, b in zip(people[::2], people[1::2], strict=True)]
    assert same.tolist() == ([True] * 4 + [False] * 6) * 5
    with pytest.raises(ValueError, match="pairs of one person found, 1000 are asked for"):
        folder.generate_eval_pair_bin("own.bin", 1000, 30)


def test_evals_command(workdir, bin_file, capsys, monkeypatch):
    monkeypatch.setattr("facetrainer.evaluation.embedder.interface", lambda _: looks_of_floats)
    call = [
        "-m",
        "m.keras",
        "-t",
        bin_file,
        "-p",
        "4",
        "--folds",
        "--bootstrap",
        "50",
        "--compare",
        "o.keras",
        "--calibrate",
        "--json",
        "r.json",
    ]
    assert evaluate_command.main(call) == 0
    printed = capsys.readouterr().out
    for text in (
        "10-fold accuracy",
        "VAL@FAR=1e-3",
        "fold 10",
        "4 principal components",
        "95 % intervals",
        "p = 1",
        "m_thresholds.json",
    ):
        assert text in printed
    (report,) = json.load(open("r.json"))
    for way in (["-F"], ["--flip", "concat"], ["--centre"]):
        assert evaluate_command.main(["-m", "m.keras", "-t", bin_file, "--json", "w.json", *way]) == 0
        assert json.load(open("w.json"))[0]["auc"] != report["auc"]
    assert (
        report["protocol"]["sha256"] and report["compared"]["right here only"] == 0 and "10-fold" in report["protocol"]
    )
    assert evaluate_command.main(["-m", "m.keras", "-t", "none.bin"]) == 1
    assert "does not exist" in capsys.readouterr().err


def test_pictures(workdir):
    embeddings, same = random_pairs(0)
    scores = evals.pair_scores(embeddings)
    plot.roc({"a": (scores, same)}, "roc.png")
    plot.det({"a": (scores, same)}, "det.png")
    plot.scores(scores, same, 0.3, "scores.svg")
    plot.rates({"cosine": lambda epoch: 0.1 / (1 + epoch)}, 10, "rates.png")
    plot.identification({"a": (np.array([0.01, 0.1, 1]), np.array([0.5, 0.8, 0.9]), np.array([0.7, 0.9]))}, "cmc.png")
    plot.reject({"norm": (np.array([0, 0.5]), np.array([0.1, 0.05]))}, "reject.png")
    plot.embeddings(embeddings[:60], [f"p{k // 6}" for k in range(60)], "three.png", dimensions=3)
    assert all(os.path.getsize(name) > 3000 for name in os.listdir())
