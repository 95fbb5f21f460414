"""PLDA and LDA on embeddings: against the densities they stand for, on drawn people, and as `evaluate --backend`."""

import json

import numpy as np
import pytest
from helpers import tiny_model
from scipy.stats import multivariate_normal

from facetrainer import models
from facetrainer.cli import evaluate
from facetrainer.evaluation import backend, embedder
from facetrainer.metrics.roc import Roc
from facetrainer.metrics.verification import pair_scores, unit
from facetrainer.utils import files


def drawn(people, images, rng, width=12, least=0.1):
    """Embeddings whose middles and whose spread within people lie in different directions."""
    middles = rng.normal(size=(people, width)) * np.linspace(1.5, least, width)
    x = middles.repeat(images, 0) + rng.normal(size=(people * images, width)) * np.linspace(0.1, 1.5, width) + 3
    return x, np.repeat(np.arange(people), images)


def test_scores_are_the_log_likelihood_ratio():
    x, people = drawn(400, 4, np.random.default_rng(0), least=1.0)
    found = backend.fit(x, people, shrink=0.2)
    assert found.matrix.shape == (12, 12)  # no direction is left out
    inverse = np.linalg.inv(found.matrix)
    within, between = inverse.T @ inverse, inverse.T @ np.diag(found.between) @ inverse
    pairs = unit(x[:40])
    total = within + between
    same = multivariate_normal(np.zeros(24), np.block([[total, between], [between, total]]))
    one = multivariate_normal(np.zeros(12), total)
    a, b = pairs[0::2] - found.mean, pairs[1::2] - found.mean
    expected = same.logpdf(np.concatenate([a, b], 1)) - one.logpdf(a) - one.logpdf(b)
    np.testing.assert_allclose(found.scores(x[:40]), expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("kind", ["plda", "lda"])
def test_it_finds_the_directions_of_people(kind, tmp_path):
    rng = np.random.default_rng(1)
    x, people = drawn(300, 3, rng)
    x[5] = np.nan  # an image that could not be read
    found = backend.fit(x, people, kind, width=6, data="drawn")
    y, _ = drawn(100, 2, rng)
    pairs = np.concatenate([y, np.stack([y[0::2], np.roll(y[1::2], 1, 0)], 1).reshape(-1, 12)])
    same = np.arange(200) < 100
    plain, learnt = Roc(pair_scores(pairs - 3), same).auc, Roc(found.scores(pairs), same).auc
    assert learnt > plain + 0.05 and found.about == {"images": 899, "people": 300, "data": "drawn"}
    found.save(str(tmp_path / "b.npz"))
    np.testing.assert_allclose(backend.Backend.load(str(tmp_path / "b.npz")).scores(pairs), found.scores(pairs))


def test_a_map_to_the_teacher_needs_no_two_images_of_a_person(tmp_path):
    rng = np.random.default_rng(2)
    turn, x = np.linalg.qr(rng.normal(size=(12, 12)))[0], rng.normal(size=(500, 12))
    teacher = x @ turn + rng.normal(size=(500, 12)) * 0.05
    x[7], teacher[9] = np.nan, np.nan
    found = backend.fit(x, np.arange(500), "teacher", teacher=teacher, data="drawn")
    assert found.matrix.shape == (12, 12) and found.about["images"] == 498 and found.about["weight"] < 1
    fresh = rng.normal(size=(40, 12))
    np.testing.assert_allclose(found.scores(fresh), pair_scores(fresh @ turn), atol=0.02)
    found.save(str(tmp_path / "b.npz"))
    np.testing.assert_allclose(backend.Backend.load(str(tmp_path / "b.npz")).scores(fresh), found.scores(fresh))
    with pytest.raises(ValueError, match="bring no teacher's embeddings. facetrainer distill makes some"):
        backend.fit(x, np.arange(500), "teacher")


def test_evaluate_maps_a_student_to_its_teacher(folder, bin_file, workdir, capsys):
    """A student that is the teacher turned round: the map finds the teacher's own score."""
    from facetrainer.preparing.distill import Data_distiller

    teacher = tiny_model()
    models.save(teacher, "teacher.keras")
    Data_distiller(folder, "teacher.keras", "t.npz")
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(16, 16)))
    turned = backend.Backend("lda", np.zeros(16), turn, np.zeros(0)).behind(teacher)
    models.save(turned, "student.keras")
    call = ["-t", bin_file, "--bootstrap", "0", "--no_flip"]
    assert evaluate.main(["-m", "teacher.keras", *call, "--json", "a.json"]) == 0
    learn = ["--backend", "teacher", "--learn-from", "t.npz", "--write-model", "mapped.keras"]
    assert evaluate.main(["-m", "student.keras", *call, *learn, "--json", "b.json"]) == 0
    assert evaluate.main(["-m", "mapped.keras", *call, "--json", "c.json"]) == 0
    wanted, found, behind = (json.load(open(f"{name}.json"))[0] for name in "abc")
    assert found["auc"] == pytest.approx(wanted["auc"], abs=2e-3) and behind["auc"] == pytest.approx(
        found["auc"], abs=1e-6
    )
    assert "linear map to a teacher's embedding, learnt from 8 people, 48 images of t.npz" in found["protocol"]["score"]


def test_errors(tmp_path):
    x, people = drawn(12, 1, np.random.default_rng(0))
    with pytest.raises(ValueError, match="0 people have two images or more"):
        backend.fit(x, people)
    with pytest.raises(ValueError, match="expected one of plda, lda, teacher"):
        backend.fit(x, people, "pca")
    np.savez(tmp_path / "x.npz", kind="plda")
    with pytest.raises(ValueError, match="expected a metric of"):
        backend.Backend.load(str(tmp_path / "x.npz"))


def test_evaluate_learns_once_and_says_from_whom(record, bin_file, workdir, capsys):
    tiny_model().save("m.keras")
    plain = ["-m", "m.keras", "-t", bin_file, "--bootstrap", "0"]
    assert evaluate.main([*plain, "--backend", "plda"]) == 1
    assert "Give --learn-from" in capsys.readouterr().err
    assert evaluate.main([*plain, "--backend", "plda", "--learn-from", record]) == 1
    assert "8 people have two images or more, at least 10" in capsys.readouterr().err
    assert evaluate.main([*plain, "--learn-from", record]) == 1
    assert "--learn-from goes with --backend" in capsys.readouterr().err


def test_lda_behind_a_model(bin_file, workdir, capsys):
    models.save(tiny_model(), "m.keras")
    x = np.random.default_rng(0).normal(size=(120, 16))
    found = backend.fit(x, np.arange(120) % 40, "lda", width=8, mirrored="")
    found.save("m_lda.npz")
    assert evaluate.main(["-m", "m.keras", "-t", bin_file, "--no_flip", "--backend", "lda"]) == 1
    assert "m_lda.npz was learnt for another m.keras" in capsys.readouterr().err
    found.about["sha256"] = files.sha256_of("m.keras")
    found.save("m_lda.npz")
    call = ["-m", "m.keras", "-t", bin_file, "--bootstrap", "0", "--no_flip"]
    assert evaluate.main([*call, "--backend", "lda", "--write-model", "lda.keras", "--json", "a.json"]) == 0
    assert evaluate.main(["-m", "lda.keras", *call[2:], "--json", "b.json"]) == 0
    first, second = (json.load(open(name))[0] for name in ("a.json", "b.json"))
    assert (
        first["auc"] == pytest.approx(second["auc"], abs=1e-6)
        and "LDA, learnt from 40 people" in first["protocol"]["score"]
    )
    assert evaluate.main([*call, "--write-model", "x.keras"]) == 1


def test_plda_behind_a_model_is_its_score_without_the_terms_of_each_image_alone():
    model, found = tiny_model(), backend.Backend("plda", np.zeros(16), np.eye(16), np.linspace(0.5, 4, 16))
    images = np.random.default_rng(1).normal(size=(8, *model.input_shape[1:])).astype("float32")
    embeddings, behind = np.asarray(model(images)), np.asarray(found.behind(model)(images))
    turned = embeddings * np.tile([1.0, -1.0], 4)[:, None]
    product = (found.scores(embeddings) - found.scores(turned)) / 2
    np.testing.assert_allclose(np.sum(behind[0::2] * behind[1::2], axis=1), product, rtol=1e-4, atol=1e-6)


def test_crops_are_added_up(bin_file, workdir, capsys):
    images = np.random.default_rng(0).integers(0, 256, (3, 20, 20, 3)).astype("uint8")
    views = [images, *(embedder.moved(images, *view) for view in embedder.CROPS)]
    np.testing.assert_array_equal(embedder.moved(images, 1, 0.1, 0)[:, :, 2:], images[:, :, :-2])

    def embed(batch):
        return batch.mean(axis=(1, 2))

    plain, many = embedder.Embedder(embed, size=(20, 20)), embedder.Embedder(embed, size=(20, 20), crops=True)
    np.testing.assert_allclose(many(images, False), sum(plain(view, False) for view in views), rtol=1e-5)
    tiny_model().save("m.keras")
    assert evaluate.main(["-m", "m.keras", "-t", bin_file, "--bootstrap", "0", "--crops", "--json", "x.json"]) == 0
    assert json.load(open("x.json"))[0]["protocol"]["crops"] == "sum over seven"
