"""Two photos, a gallery, bad input, a kill."""

import json
import os
import shutil

import keras
import numpy as np
import pytest
from recognition import mosaics

from facetrainer import models
from facetrainer.data.images import encode
from facetrainer.metrics import calibration, evidence
from facetrainer.metrics.impostors import Impostors, rate_of_one
from facetrainer.recognition import (
    FaceReader,
    Gallery,
    RecognitionModel,
    choose,
    gallery,
    model,
    quality,
    threshold,
    verify,
)
from facetrainer.recognition.detect import Detected, Detector
from facetrainer.recognition.stores.local import LocalStore


def calibrated(path):
    """The thresholds of mosaics: strangers have cosines like 48 random numbers."""
    vectors = np.random.default_rng(0).normal(size=(400, 48))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    strangers = (vectors[::2] * vectors[1::2]).sum(axis=1).repeat(5) + np.random.default_rng(1).normal(0, 0.01, 1000)
    scores = np.concatenate([np.random.default_rng(2).normal(0.9, 0.1, 1000), strangers])
    calibration.write(path, calibration.calibrate(scores, np.arange(2000) < 1000, mirrored="sum"))
    return path


def test_verify_says_what_its_answer_rests_on(workdir):
    path = calibrated(mosaics.model())
    same = verify(mosaics.photo(1), mosaics.photo(1, 1), path, "aligned")
    other = verify(mosaics.photo(1), mosaics.photo(2), path, "aligned")
    assert same.same and not other.same and same.cosine > 0.95 > other.cosine
    assert same.threshold.far == 1e-3 and "1,000 pairs of different people" in same.threshold.basis
    assert same.probability > 0.99 and same.interval[0] > 0.9 and other.probability < 0.1
    assert verify(mosaics.photo(1), mosaics.photo(2), path, "aligned", threshold=-1).same
    with pytest.raises(ValueError, match="expected an image"):
        verify(mosaics.photo(1), np.zeros(3, np.uint8), path, "aligned")


def test_without_thresholds_nothing_is_decided(workdir):
    found = verify(mosaics.photo(1), mosaics.photo(1, 1), mosaics.model(), "aligned")
    assert found.same is None and found.probability is None
    assert "facetrainer evaluate -m mosaic.keras -t PAIRS.bin --calibrate" in str(found.threshold)


def test_a_damaged_thresholds_file_is_told(workdir):
    path = mosaics.model()
    for text in ("no json", "[]", '{"thresholds": {"0.1": {}}}', '{"thresholds": {}, "impostors": {"count": 3}}'):
        open("mosaic_thresholds.json", "w").write(text)
        with pytest.raises(ValueError, match="mosaic_thresholds.json is no thresholds file"):
            RecognitionModel(path)


def test_enrol_identify_remove_rename(workdir):
    mosaics.folder("photos", range(12), (0, 1))
    people = Gallery(mosaics.reader(), "people")
    assert people.enrol("photos").counts == {"photos": 24, "new people": 12, "people": 12}
    again = Gallery.load("people", mosaics.reader())
    assert again.people() == {f"p{k}": 2 for k in range(12)}
    ((_, (match,)),) = again.identify(mosaics.photo(3, 9))
    assert match.person == "p3" and match.nearest[0][1] > 0.95
    ((_, (stranger,)),) = again.identify(mosaics.photo(77))
    assert stranger.person is None and str(stranger).startswith("unknown (the nearest is p")
    assert "the gallery's own people" in match.threshold.basis and match.threshold.far == 0.01
    again.rename("p3", "Ann")
    again.rename("p4", "Ann")
    assert again.people()["Ann"] == 4 and again.remove("p0") == 2
    kept = Gallery.load("people", mosaics.reader())
    assert len(kept) == 10 and "p0" not in kept.people()
    assert [m.person for _, (m,) in kept.identify([("a", mosaics.photo(3)), ("b", mosaics.photo(0))])] == ["Ann", None]
    with pytest.raises(ValueError, match="unknown person 'p33'"):
        kept.remove("p33")


def test_a_photo_is_enrolled_once_and_a_broken_one_is_named(workdir):
    mosaics.folder("photos", range(3), (0, 1))
    shutil.copy("photos/p0/0.png", "photos/p0/copy.png")
    open("photos/p1/bad.jpg", "wb").write(b"\xff\xd8 no picture")
    people = Gallery(mosaics.reader(), "people")
    first = people.enrol("photos")
    assert first.counts["photos"] == 6 and [row["file"] for row in first.rows] == ["photos/p1/bad.jpg"]
    assert people.enrol("photos").counts == {"already there": 7, "photos": 0, "new people": 0, "people": 3}


def test_several_photos_count_by_their_quality(workdir):
    store = LocalStore()
    vectors = np.eye(3, dtype=np.float32)
    store.add([gallery.Entry("a", vectors[0], 0.9, "x", "00"), gallery.Entry("a", vectors[1], 0.3, "y", "01")])
    ((found,),) = store.search(vectors[:1], 1)
    assert found == ("a", pytest.approx(0.9 / np.hypot(0.9, 0.3), rel=1e-5))


def test_somebody_else_of_that_name_is_left_out(workdir):
    path = calibrated(mosaics.model())
    people = Gallery(FaceReader(RecognitionModel(path), "aligned"))
    people.enrol([("Ann", mosaics.photo(1))])
    other = [("Ann", mosaics.photo(8))]
    found = people.enrol(other)
    assert people.people() == {"Ann": 1} and "does not look like the Ann" in found.rows[0]["reason"]
    assert people.enrol(other, force=True).counts["photos"] == 1


def test_one_person_under_two_names_is_told(workdir, caplog):
    people = Gallery(FaceReader(RecognitionModel(calibrated(mosaics.model())), "aligned"))
    people.enrol([("Ann", mosaics.photo(1)), ("Bob", mosaics.photo(1, 2))])
    assert "Bob looks like Ann, who is in the gallery already" in caplog.text


def test_two_folders_of_one_name_and_loose_photos(workdir):
    mosaics.folder("photos/a", [1], (0,))
    mosaics.folder("photos/b", [1], (1,))
    people = Gallery(mosaics.reader(), "people")
    with pytest.raises(ValueError, match="two people of one name: photos/a/p1 and photos/b/p1"):
        people.enrol("photos")
    shutil.move("photos/a/p1/0.png", "photos/loose.png")
    with pytest.raises(ValueError, match="photos/loose.png: whose photo is it"):
        people.enrol("photos")
    with pytest.raises(ValueError, match="whose photo is it"):
        people.enrol("photos/loose.png")
    assert people.enrol("photos/loose.png", "Ann").counts["photos"] == 1


def test_another_models_gallery_is_refused(workdir):
    people = Gallery(mosaics.reader(), "people")
    people.enrol([("Ann", mosaics.photo(1))])
    other = models.load("mosaic.keras", compile=False)
    models.save(keras.Model(other.input, keras.layers.UnitNormalization(name="unit")(other.output)), "other.keras")
    with pytest.raises(ValueError, match="people is of another model, mosaic.keras: .*Give --model mosaic.keras"):
        Gallery.load("people", FaceReader(RecognitionModel("other.keras"), "aligned"))


def test_bad_galleries(workdir):
    with pytest.raises(FileNotFoundError, match="One command makes it: facetrainer recognize enrol nowhere PHOTOS"):
        Gallery.load("nowhere", mosaics.reader())
    with pytest.raises(ValueError, match="the gallery is empty"):
        list(Gallery(mosaics.reader()).identify(mosaics.photo(1)))
    os.mkdir("things")
    open("things/letter.txt", "w").close()
    with pytest.raises(ValueError, match="things is a folder with other things in it"):
        Gallery(mosaics.reader(), "things")
    people = Gallery(mosaics.reader(), "people")
    people.enrol([("Ann", mosaics.photo(1)), ("Bob", mosaics.photo(2))])
    header = json.load(open("people/gallery.json"))
    json.dump({**header, "photos": "../../etc/x.npz"}, open("people/gallery.json", "w"))
    with pytest.raises(ValueError, match="damaged gallery"):
        Gallery.load("people", mosaics.reader())
    json.dump(header, open("people/gallery.json", "w"))
    with np.load(f"people/{header['photos']}") as file:
        arrays = dict(file)
    for name, array in (("person", np.array([7, 0])), ("vectors", np.full((2, 48), np.nan)), ("quality", np.ones(5))):
        np.savez(f"people/{header['photos']}", **{**arrays, name: array})
        with pytest.raises(ValueError, match="people is a damaged gallery"):
            Gallery.load("people", mosaics.reader())


def test_a_kill_in_the_middle_loses_nothing(workdir, monkeypatch):
    mosaics.folder("photos", range(40), (0,))
    monkeypatch.setattr("facetrainer.recognition.stores.local.SLOW", 0)
    people = Gallery(mosaics.reader(), "people")
    with monkeypatch.context() as killing:
        killing.setattr(LocalStore, "add", _killed_after(LocalStore.add, 20))
        with pytest.raises(KeyboardInterrupt):
            people.enrol("photos")
    assert len(Gallery.load("people", mosaics.reader())) == 20
    assert Gallery(mosaics.reader(), "people").enrol("photos").counts == {
        "already there": 20, "photos": 20, "new people": 20, "people": 40,
    }  # fmt: skip
    assert sorted(os.listdir("people"))[1] == "gallery.json" and len(os.listdir("people")) == 3


def _killed_after(add, count):
    def killed(self, entries):
        if len(self.entries) == count:
            raise KeyboardInterrupt
        add(self, entries)

    return killed


def test_two_processes_at_one_gallery(workdir):
    first, second = Gallery(mosaics.reader(), "people"), Gallery(mosaics.reader(), "people")
    first.enrol([("Ann", mosaics.photo(1))])
    second.enrol([("Bob", mosaics.photo(2))])
    list(first.identify(mosaics.photo(2)))
    assert list(first.people()) == ["Ann", "Bob"]


class Faces(Detector):
    """Finds squares of 112 pixels in a row."""

    def __init__(self, sizes):
        self.sizes = sizes

    def batch(self, images):
        marks = np.array([[38, 51], [73, 51], [56, 71], [41, 92], [70, 92]], float)
        boxes = [[112 * k, 0, 112 * k + size, size] for k, size in enumerate(self.sizes)]
        return [
            Detected.of(boxes, np.ones(len(boxes)), [marks + [112 * k, 0] for k in range(len(boxes))]) for _ in images
        ]


@pytest.mark.parametrize("sizes, why", [((), "no face found"), ((112, 112), "2 faces, none the only one")])
def test_photos_without_one_face(workdir, sizes, why):
    reader = mosaics.reader()
    reader.detector, reader.find = Faces(sizes), "squares"
    with pytest.raises(ValueError, match=f"photo 1: {why}"):
        verify(np.hstack([mosaics.photo(1), mosaics.photo(2)]), mosaics.photo(1), reader)
    people = Gallery(reader)
    both = np.hstack([mosaics.photo(1), mosaics.photo(2)])
    assert why in people.enrol([("Ann", both)]).rows[0]["reason"] and len(people) == 0


def test_a_small_face_beside_a_large_one_does_not_count(workdir):
    reader = mosaics.reader()
    reader.detector, reader.find = Faces((112, 40)), "squares"
    found = reader.one(np.hstack([mosaics.photo(1), mosaics.photo(2)]))
    assert len(found.faces) == 2 and found.one() is found.faces[0]
    reader.detector = Faces((112, 112, 112))  # the middle one of three
    found = reader.one(np.hstack([mosaics.photo(k) for k in (1, 2, 3)]))
    assert found.one() is found.faces[1]


def test_too_large_a_photo_and_one_of_poor_quality(workdir, monkeypatch):
    people = Gallery(mosaics.reader())
    monkeypatch.setenv("FACE_MAX_PIXELS", "10000")
    report = people.enrol([("Ann", encode(mosaics.photo(1))), ("Bob", np.full((112, 112, 3), 9, np.uint8))])
    assert "set FACE_MAX_PIXELS" in report.rows[0]["reason"] and "quality 0.00" in report.rows[1]["reason"]


def test_which_model(workdir, monkeypatch):
    with pytest.raises(ValueError, match="facetrainer convert import") as told:
        choose()
    assert "facetrainer train" in str(told.value)
    os.mkdir("checkpoints")
    for age, name in enumerate(("a_basic_model_latest", "a_basic_lfw_epoch_3_0.9", "b_basic_lfw_epoch_1_0.8")):
        open(f"checkpoints/{name}.keras", "w").close()
        os.utime(f"checkpoints/{name}.keras", (age, age))
    assert choose() == "checkpoints/b_basic_lfw_epoch_1_0.8.keras"
    monkeypatch.setenv("FACE_MODEL", "mine.onnx")
    assert choose() == "mine.onnx" and choose("this.onnx") == "this.onnx"


def test_layouts_of_models():
    assert model.layout_of((112, 96)).width == 96 and model.layout_of((224, 224)).template[0, 0] > 76
    with pytest.raises(ValueError, match="images of 100x120"):
        model.layout_of((100, 120))


def test_pose_by_landmarks():
    turned = quality.HEAD @ np.array([[np.cos(0.5), 0], [0, 1], [-np.sin(0.5), 0]]) * 2 + 50
    yaw, pitch, roll = quality.pose(turned)
    assert abs(yaw) == pytest.approx(np.degrees(0.5), abs=1e-6) and abs(pitch) < 1e-6 and abs(roll) < 1e-6
    assert (yaw > 0) == (turned[2, 0] > turned[:2, 0].mean())
    assert np.isnan(quality.pose(np.ones((5, 2)))).all()


def test_strangers_beyond_the_pairs():
    scores = np.random.default_rng(0).normal(0.1, 0.1, 2000)
    strangers = Impostors.of(scores)
    assert strangers.threshold(0.1) == pytest.approx(np.quantile(scores, 0.9), abs=0.01)
    assert not strangers.resolves(1e-4) and strangers.threshold(1e-4) == pytest.approx(0.1 + 0.1 * 3.719, abs=0.02)
    assert rate_of_one(0.01, 1) == pytest.approx(0.01) and 1 - (1 - rate_of_one(0.01, 1000)) ** 1000 == pytest.approx(
        0.01
    )
    with pytest.raises(ValueError, match="20 scores"):
        Impostors.of(scores[:19])


def test_the_rate_of_a_search_is_met():
    """Strangers named by a gallery of 200 people, at 5 %."""
    rng = np.random.default_rng(0)

    def unit(count):
        rows = rng.normal(size=(count, 64)).astype(np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    store = LocalStore()
    store.add([gallery.Entry(str(k), row, 1.0, "", "00") for k, row in enumerate(unit(200))])
    strangers = Impostors.of(threshold._of_strangers(store))
    limit = strangers.threshold(rate_of_one(0.05, 200))
    named = np.mean([one[0][1] >= limit for one in store.search(unit(4000), 1)])
    assert 0.03 < named < 0.08


def test_probability_is_calibrated():
    rng = np.random.default_rng(0)
    same = np.arange(20_000) % 2 == 0
    scores = rng.normal(np.where(same, 0.5, 0.1), 0.15)
    fitted = evidence.fit(scores, same, np.tile(np.arange(20_000), (2, 1)))
    for low in (0.2, 0.3, 0.4):
        near = (scores > low) & (scores < low + 0.02)
        chance, *ends = evidence.probability(fitted, low + 0.01)
        assert chance == pytest.approx(same[near].mean(), abs=0.05) and ends[0] < chance < ends[1]
    assert evidence.probability(fitted, 5.0)[0] == pytest.approx(1 - 1 / 10_002)


def test_interval_of_the_probability_covers():
    """Scores of equal spread: the true logit is a straight line."""
    rng, hits = np.random.default_rng(0), 0
    truth = 1 / (1 + np.exp(-(0.5 - 0.1) / 0.15**2 * (0.35 - 0.3)))
    for _ in range(40):
        same = np.arange(600) % 2 == 0
        scores = rng.normal(np.where(same, 0.5, 0.1), 0.15)
        _, low, high = evidence.probability(evidence.fit(scores, same, np.tile(np.arange(600), (2, 1))), 0.35)
        hits += low <= truth <= high
    assert hits >= 35


@pytest.mark.parametrize("place", ["people", "qdrant:people"])
def test_every_store_does_the_same(workdir, place):
    mosaics.folder("photos", range(12), (0, 1))
    people = Gallery(mosaics.reader(), place)
    assert people.enrol("photos").counts == {"photos": 24, "new people": 12, "people": 12}
    assert people.enrol("photos").counts["already there"] == 24
    people.rename("p3", "Ann")
    people.rename("p4", "Ann")
    assert people.people()["Ann"] == 4 and people.remove("p0") == 2 and len(people) == 10
    found = [match for _, (match,) in people.identify([("a", mosaics.photo(3, 9)), ("b", mosaics.photo(77))])]
    assert [one.person for one in found] == ["Ann", None] and "the gallery's own people" in found[0].threshold.basis
    assert [name for name, _ in people.nearest(mosaics.reader().one(mosaics.photo(5)).faces[0].embedding[None], 2)[0]][
        0
    ] == "p5"
    assert people.templates(5)[1].shape == (5, 48)
    with pytest.raises(ValueError, match="unknown person 'p0'"):
        people.remove("p0")
    if place.startswith("qdrant"):
        people.store.client.close()
    again = Gallery.load(place, mosaics.reader())
    assert again.people() == people_of_ten() and again.store.header["model"] == "mosaic.keras"
    if place.startswith("qdrant"):
        again.store.client.close()


def people_of_ten():
    return {"Ann": 4, **{f"p{k}": 2 for k in (1, 2, 5, 6, 7, 8, 9, 10, 11)}}


def test_qdrant_refuses_another_model_and_a_missing_gallery(workdir):
    with pytest.raises(FileNotFoundError, match="is no gallery"):
        Gallery.load("qdrant::memory:", mosaics.reader())
    with pytest.raises(ValueError, match="expected a name behind the address"):
        Gallery(mosaics.reader(), "qdrant:http://127.0.0.1:6333")
    people = Gallery(mosaics.reader(), "qdrant:people")
    people.enrol([("Ann", mosaics.photo(1))])
    people.store.header["sha256"] = "other"
    with pytest.raises(ValueError, match="is of another model"):
        Gallery(mosaics.reader(), "qdrant:people", store=people.store)
    with pytest.raises(ValueError, match="in use by another process"):
        Gallery(mosaics.reader(), "qdrant:people")


def test_a_gallery_in_memory_is_saved_elsewhere(workdir):
    people = Gallery(mosaics.reader())
    people.enrol([("Ann", mosaics.photo(1))])
    with pytest.raises(ValueError, match="lives in memory"):
        people.save()
    people.save("people")
    assert Gallery.load("people", mosaics.reader()).people() == {"Ann": 1}
    with pytest.raises(ValueError, match="is a gallery already"):
        Gallery(mosaics.reader()).save("people")
