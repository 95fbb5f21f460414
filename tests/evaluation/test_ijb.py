"""IJB, from images to tables."""

import json
import os

import numpy as np
import pytest
from helpers import looks, looks_of_floats

from facetrainer.cli import ijb as ijb_command
from facetrainer.cli import report as report_command
from facetrainer.data import synthetic as draw
from facetrainer.data.alignment import LAYOUTS
from facetrainer.data.images import decode, encode
from facetrainer.evaluation import ijb as ijb_evaluation
from facetrainer.metrics.roc import Roc
from facetrainer.reporting import ijb


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
    assert len(fars) == len(rates) == 101 and np.all(np.diff(rates[np.isfinite(rates)]) >= 0) and curves[0][-1] == 1.0
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
    # scores alone beside IJB's own labels; 1:1 and 1:N of one call are two tables
    same = whole.data.pairs[2]
    np.save("r100.npy", np.where(same, 0.9, 0.1))
    labels = os.path.join(root, "IJBB", "meta", "ijbb_template_pair_label.txt")
    capsys.readouterr()
    assert ijb_command.main(["--plot_only", "*100*.npy", labels, "e.npz"]) == 0
    printed = capsys.readouterr().out
    assert "r100" in printed and "TAR at FAR" in printed and "DIR@FAR" in printed and "gallery 1 top-1" in printed
    for call, message in (
        (["-d", "nowhere", "-m", "x.keras"], "IJBB_face_tid_mid.txt".lower()),
        (["-P", "none*.npz"], "no file is named like"),
        (["-P", "r100.npy"], "give IJB_template_pair_label.txt"),
        (["-P", labels], "Give files of scores too"),
        (["-d", root, "-m", "none.onnx"], "does not exist"),
    ):
        assert ijb_command.main(call) == 1 and message in capsys.readouterr().err


def test_ijb_pages_with_intervals_over_people(workdir, capsys):
    """People come from the lists of 1:N, or where these lack somebody from the pairs themselves."""
    root = ijb_set(str(workdir / "data"), people=12)
    test = ijb.IJB_test(looks, root, "IJBB")
    first, second, same = test.data.pairs
    listed = test.people
    np.testing.assert_array_equal(listed, [(side - 100) // 10 for side in (first, second)])
    os.remove(f"{root}/IJBB/meta/ijbb_1N_gallery_S1.csv")
    del test.people
    joined = test.people
    assert len(np.unique(joined)) == 12 and np.array_equal(joined[0] == joined[1], listed[0] == listed[1])
    root = ijb_set(str(workdir / "again"), people=12)
    np.savez("e.npz", embs=test.embs, embs_f=test.embs_f)
    call = ["-d", root, "-R", "e.npz", "--bootstrap", "30"]
    assert ijb_command.main([*call, "--json", "pairs.json"]) == 0
    assert ijb_command.main([*call, "-N", "--json", "search.json", "--page", "search.html"]) == 0
    told = capsys.readouterr().out
    assert "FNMR@FMR=0.1" in told and "gallery 1: FNIR@FPIR=0.1" in told and "search.html" in told
    (pairs,), (search,) = json.load(open("pairs.json")), json.load(open("search.json"))
    assert pairs["templates"] == {"pairs": len(same), "genuine": int(same.sum()), "people": 12}
    low, high = pairs["rates"]["FNMR@FMR=0.1"]["95%"]
    assert 0 <= low <= pairs["rates"]["FNMR@FMR=0.1"]["rate"] <= high <= 1
    assert search["search"]["gallery 1"]["enrolled"] == 6 and "rank-1" in search["search"]["gallery 2"]["rates"]
    for kind in ("html", "pdf", "tex"):
        assert report_command.main(["pairs.json", "search.json", "-o", f"study.{kind}"]) == 0
    page = open("study.html").read()
    assert "Pairs of templates" in page and "One-to-many search" in page and "<h2>Accuracy" not in page
    assert ijb_command.main([*call, "--page", "x.doc"]) == 1 and "expected a name ending in" in capsys.readouterr().err


def test_ijb_never_takes_embeddings_of_a_model_that_has_changed(workdir, monkeypatch):
    root, files = ijb_set(str(workdir / "data")), []
    monkeypatch.setattr("facetrainer.evaluation.embedder.interface", lambda _, **__: looks_of_floats)
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
        found = [one.dir_at(one.threshold(far)) for far in (0.001, 0.01, 0.1, 1)]
        np.testing.assert_allclose(found, wanted["dir_at_far_0.001_0.01_0.1_1"], atol=1e-6)
        thresholds = [one.threshold(far) for far in (0.001, 0.01, 0.1, 1)]
        np.testing.assert_allclose(thresholds, wanted["thresholds"], atol=1e-6)
