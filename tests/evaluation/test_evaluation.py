import os

import keras
import numpy as np
import pytest
import reference
from helpers import random_pairs, small_model

from facetrainer import evaluation as evals
from facetrainer.cli import main
from facetrainer.data import pair_sheet
from facetrainer.evaluation import lengths
from facetrainer.io import evalbin
from facetrainer.metrics import calibration


def random_scores(seed, pairs=60):
    rng = np.random.default_rng(seed)
    same = rng.permutation(np.arange(pairs) % 2 == 0)
    return np.round(rng.normal(same * 1.0, 1.0), 2), same


@pytest.mark.parametrize("seed", range(20))
def test_ten_fold_against_the_slow_one(seed):
    scores, same = random_scores(seed)
    np.testing.assert_array_equal(evals.fold_accuracies(scores, same), reference.ten_fold(scores, same))


def test_hand_worked_case():
    scores, same = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4]), np.array([True, True, False, True, False, False])
    result = evals.verify(scores, same)
    assert result.max_accuracy == pytest.approx(5 / 6)
    assert result.auc == pytest.approx(8 / 9)
    assert evals.Roc(scores, same).tar(0.0) == pytest.approx(2 / 3)
    assert evals.Roc(scores, same).tar(1 / 3) == 1.0


def test_rates_that_the_pairs_cannot_resolve_are_left_out():
    scores, same = random_scores(0, 60)
    assert list(evals.verify(scores, same).tar) == [1e-1]


def test_scores_that_are_not_finite_give_nan_and_end_no_run(caplog):
    result = evals.verify(np.array([0.1, np.nan, 0.3]), np.array([True, False, True]), "lfw")
    assert np.isnan(result.max_accuracy) and np.isnan(result.auc) and "lfw: 1 of 3 scores are not finite" in caplog.text


def test_one_kind_of_pairs_only():
    result = evals.verify(np.array([0.1, 0.9]), np.array([True, True]))
    assert result.max_accuracy == 1.0 and np.isnan(result.auc) and result.tar == {}


def test_embedding_of_a_part_batch_and_flip():
    model = small_model()
    images = np.random.default_rng(0).integers(0, 256, (7, 32, 32, 3)).astype(np.uint8)
    found = evals.Embedder(model, 4)(images, flip=True)
    normal = [(x.astype(np.float32) - 127.5) / 128 for x in (images, images[:, :, ::-1])]
    np.testing.assert_allclose(found, model(normal[0]) + model(normal[1]), rtol=1e-4, atol=1e-4)


def test_callback_logs_and_keeps_the_best(bin_file, workdir):
    model = small_model()
    callback = evals.eval_callback(model, bin_file, save_model="checkpoints/run.keras")
    logs = {}
    callback.on_epoch_end(0, logs)
    assert {"drawn", "drawn_thresh", "drawn_10fold", "drawn_auc", "drawn_tar@0.1"} <= set(logs)
    assert logs["drawn"] == callback.max_accuracy == callback.cur_acc
    first = callback.saved
    assert f"run_basic_drawn_epoch_1_{callback.max_accuracy:.6f}.keras" in first
    callback.max_accuracy = 0.0
    callback.on_epoch_end(1, {})
    kept = [callback.saved, calibration.path_of(callback.saved)]
    assert callback.saved != first and {str(p) for p in (workdir / "checkpoints").iterdir()} == {
        str(workdir / one) for one in kept
    }
    assert calibration.read(callback.saved)["mirrored"] == "sum"
    np.testing.assert_array_equal(keras.models.load_model(callback.saved).get_weights()[0], model.get_weights()[0])


def embeddings_with(*outliers):
    return np.concatenate([np.random.default_rng(0).normal(size=(200, 64)), *outliers])


def test_long_embeddings_that_are_alike_are_told():
    some = np.random.default_rng(1)
    alike, apart = 40 * (1 + 0.3 * some.normal(size=(4, 64))), 40 * some.normal(size=(4, 64))
    told = lengths.odd("own", embeddings_with(alike))
    assert "own: 4 of 204 embeddings are more than 5 times as long" in told and "mean cosine of 0.9" in told
    for fine in ([], [apart], [alike[:2]], [alike / 40], [np.full((4, 64), np.nan)], [np.full((4, 64), np.inf)]):
        assert lengths.odd("own", embeddings_with(*fine)) == ""
    assert lengths.odd("own", np.zeros((9, 4))) == ""


def test_callback_tells_of_long_embeddings_once(bin_file, monkeypatch, caplog):
    callback = evals.eval_callback(small_model(), bin_file)
    monkeypatch.setattr(callback, "embed", lambda *_: embeddings_with(np.full((4, 64), 40.0))[-len(callback.images) :])
    for epoch in range(2):
        callback.on_epoch_end(epoch, {})
    assert caplog.text.count("the model takes these images for one person") == 1


def test_the_command_tells_of_long_embeddings(bin_file, workdir, monkeypatch, caplog):
    small_model().save("m.keras")
    monkeypatch.setattr(lengths, "odd", lambda name, embeddings: f"{name}: told of {len(embeddings)}")
    assert main.main(["evaluate", "-m", "m.keras", "-t", bin_file, "--bootstrap", "0"]) == 0
    assert "drawn: told of " in caplog.text


def test_worst_pairs_are_drawn_every_other_epoch(bin_file, workdir):
    callback = evals.eval_callback(small_model(), bin_file, worst="run_worst", worst_every=2)
    for epoch in range(4):
        callback.on_epoch_end(epoch, {})
    assert sorted(str(one.name) for one in workdir.glob("*.jpg")) == [
        "run_worst_drawn_epoch_2.jpg",
        "run_worst_drawn_epoch_4.jpg",
    ]
    scores, same = np.array([0.3, 0.9, 0.1, 0.5, 0.9]), np.array([False, False, True, True, False])
    different, one = pair_sheet.worst(scores, same, 2)
    assert set(different) == {1, 4} and one.tolist() == [2, 3]
    shown = pair_sheet.Shown((np.zeros((112, 112, 3), np.uint8),) * 2, 0.42, ("a", "b"))
    assert shown.lines(0.5) == ["a / b", "cosine 0.420, 0.080 below the threshold"]
    long = pair_sheet.Shown(shown.images, 0.9, ("x" * 500, "x" * 500))
    pair_sheet.write("long.jpg", [long], [])  # one line, however long the name


def test_folder_with_pairs_file(tmp_path, people):
    for person in ("ann", "bob"):
        (tmp_path / person).mkdir()
        for i in (1, 2):
            (tmp_path / person / f"{person}_{i:04d}.jpg").write_bytes(people[0][i])
    (tmp_path / "pairs.txt").write_text("1 2\nann 1 2\nann 1 bob 2\nann/ann_0001.jpg bob/bob_0001.jpg 0\n")
    pairs = evals.read_pairs(str(tmp_path))
    assert pairs.same.tolist() == [True, False, False] and len(pairs.images) == 6
    assert evals.read_pairs(str(tmp_path / "pairs.txt")).same.tolist() == [True, False, False]
    (tmp_path / "pairs.txt").write_text("ann bob\nann bob x\n")
    with pytest.raises(ValueError, match=r"pair 1: expected 'first second 0\|1'.*Received: ann bob x"):
        evals.read_pairs(str(tmp_path))


def test_missing_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        evals.read_pairs(str(tmp_path / "lfw.bin"))
    with pytest.raises(FileNotFoundError, match="pairs.txt"):
        evals.read_pairs(str(tmp_path))


def test_numbers_of_the_losses_stay_out_of_the_accuracy_panel(tmp_path):
    from facetrainer.reporting import plots as plot

    values = {"loss": [3.0, 2.0], "regular_loss": [0.1, 0.1], "accuracy": [0.1, 0.4], "feature_norm": [22.0, 30.0], "lr": [0.1, 0.05],
              "lfw": [0.6, 0.7], "lfw_thresh": [0.3, 0.3], "lfw_10fold": [0.6, 0.69], "lfw_tar@0.01": [0.1, 0.2]}  # fmt: skip
    figure = plot.history(values, str(tmp_path / "h.png"))
    shown = {axes.get_title(): [line.get_label() for line in axes.lines] for axes in figure.axes}
    assert shown == {"loss": ["loss", "regular_loss"], "accuracy": ["accuracy", "lfw", "lfw_10fold"], "learning rate": ["lr"],
                     "what the losses note": ["feature_norm"]}  # fmt: skip


# ------------------------------------------------------------------------------------------------------ people of pairs


def test_people_of_a_bin_are_found_by_its_images_and_links(workdir, people):
    """One image in two pairs is one; the images of a same-pair are of one person, however long the chain."""
    a, b, c = (faces[:4] for faces in people[:3])
    images = [a[0], a[1], a[1], a[2], b[0], b[1], a[0], b[0], c[0], b[1], c[1], c[2], a[3], b[2]]
    same = [True, True, True, False, False, True, False]
    evalbin.write_bin("s.bin", images, same)
    found = evals.read_pairs("s.bin").people
    names = (
        np.array([*"AAAABB", "A", "B", "C", "B", "D", "D", "E", "F"]).reshape(-1, 2).T
    )  # D is C, E is A, F is B: no pair tells
    assert found.shape == (2, 7) and len(np.unique(found)) == 6
    for one in np.unique(found):
        assert len(np.unique(names[found == one])) == 1


def test_people_of_a_list_have_names(workdir, people):
    for k in range(3):
        os.makedirs(f"set/p{k}")
        for i in range(2):
            open(f"set/p{k}/{i}.jpg", "wb").write(people[k][i])
    open("set/pairs.txt", "w").write("p0/0.jpg p0/1.jpg 1\np0/0.jpg p1/0.jpg 0\np1/1.jpg p2/0.jpg 0\n")
    assert evals.read_pairs("set").people.tolist() == [[0, 0, 1], [0, 1, 2]]
    open("set/pairs.txt", "w").write("p0/0.jpg p1/1.jpg 1\np0/0.jpg p1/0.jpg 0\n")  # folders that are no people
    assert evals.read_pairs("set").names is None


def test_intervals_of_a_result():
    embeddings, same = random_pairs(2, 300)
    scores = evals.pair_scores(embeddings)
    found = evals.intervals(scores, same, np.tile(np.arange(300), (2, 1)), draws=100)
    result = evals.verify(scores, same)
    values = {
        "10-fold accuracy": result.accuracy,
        "AUC": result.auc,
        "EER": result.eer,
        **{f"TAR@FAR={far:g}": tar for far, tar in result.tar.items()},
    }
    assert list(found) == list(values)
    for name, (low, high) in found.items():
        assert low - 0.02 <= values[name] <= high + 0.02 and 0 < high - low < 0.9, name
    wider = evals.intervals(scores, same, np.tile(np.arange(300) // 10, (2, 1)), draws=100)
    assert np.diff(wider["AUC"]) > 0 and list(wider) == list(found)
