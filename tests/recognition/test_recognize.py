"""`facetrainer recognize`, as it is typed."""

import csv
import json
import os
import shutil

import cv2
import numpy as np
import pytest
from recognition import mosaics
from recognition.test_recognition import Faces, calibrated

from facetrainer.cli import recognize
from facetrainer.recognition import Gallery, album, index, tracking, video
from facetrainer.recognition.quality import Quality
from facetrainer.recognition.reader import Face


@pytest.fixture
def home(workdir, monkeypatch):
    """Photos of twelve people, a model, a gallery of ten."""
    monkeypatch.setenv("FACE_MODEL", calibrated(mosaics.model()))
    mosaics.folder("photos", range(10), (0, 1))
    mosaics.folder("others", range(8, 12), (2,))
    assert run("enrol", "people", "photos") == 0
    return workdir


def run(command, *arguments):
    detector = [] if command == "list" else ["--detector", "aligned"]
    return recognize.main([command, *map(str, arguments), *detector])


def test_verify(home, capsys):
    assert run("verify", "photos/p1/0.png", "photos/p1/1.png") == 0
    out = capsys.readouterr().out
    assert (
        out.startswith("the same person: cosine 1.0")
        and "at a false-accept rate of 0.001" in out
        and "likelihood ratio of one" in out
        and "nan" not in out
    )
    assert run("verify", "photos/p1/0.png", "photos/p2/1.png", "--far", "0.1") == 0
    assert capsys.readouterr().out.startswith("not the same person")
    assert run("verify", "photos/p1/0.png", "nowhere.png") == 1
    assert "nowhere.png: No such file" in capsys.readouterr().err


def test_identify_tells_unknown_ones(home, capsys):
    assert run("identify", "people", "others", "--json", "found.json", "--draw", "drawn") == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("10 people; threshold 0.") and "for 16 people" in out[0]
    assert [line.split(": ")[1].split(" (")[0] for line in out[1:]] == ["unknown", "unknown", "p8", "p9"]
    found = json.load(open("found.json"))["photos"]
    assert [one["faces"][0]["person"] for one in found] == [None, None, "p8", "p9"]
    assert len(found[0]["faces"][0]["nearest"]) == 3 and len(os.listdir("drawn")) == 4


def test_list_remove_rename(home, capsys):
    run("rename", "people", "p1", "Ann")
    run("remove", "people", "p2")
    capsys.readouterr()
    assert run("list", "people") == 0
    out = capsys.readouterr().out
    assert "   2  Ann" in out and "p2" not in out and "9 people, 18 photos; model mosaic.keras" in out
    assert run("remove", "people", "An") == 1
    assert "Did you mean 'Ann'?" in capsys.readouterr().err


def test_an_empty_gallery_and_no_model(workdir, monkeypatch, capsys):
    monkeypatch.delenv("FACE_MODEL", raising=False)
    assert run("verify", "a.jpg", "b.jpg") == 1
    assert "One command makes one" in capsys.readouterr().err
    assert run("identify", "people", "a.jpg") == 1
    assert "is no gallery. One command makes it" in capsys.readouterr().err
    mosaics.model()
    os.mkdir("photos")
    shutil.copy("mosaic.keras", "photos/none.jpg")
    assert run("enrol", "people", "photos/none.jpg", "--name", "Ann", "--model", "mosaic.keras") == 1
    assert "nobody was enrolled" in capsys.readouterr().err


def test_cluster(home, capsys):
    mosaics.folder("album", (1, 2, 3), (5, 6, 7))
    mosaics.folder("album", (11,), (5,))
    open("album/p1/bad.jpg", "w").close()
    assert run("cluster", "album", "sorted", "--gallery", "people") == 0
    assert sorted(os.listdir("sorted")) == ["index.html", "p1", "p2", "p3", "single"]
    assert sorted(os.listdir("sorted/p2")) == ["p2__5.png", "p2__6.png", "p2__7.png"]
    out = capsys.readouterr().out
    assert "11 photos, 10 faces, 4 people" in out and "left out album/p1/bad.jpg" in out
    assert run("cluster", "album", "numbered") == 0
    assert sorted(os.listdir("numbered")) == ["index.html", "person_001", "person_002", "person_003", "single"]
    page = open("numbered/index.html").read()
    assert page.count("<img") == 4 and "href='person_001/" in page


def test_no_chain_of_faces_joins_two_people():
    angles = np.radians(np.arange(0, 100, 10))  # each a little like the next
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    assert len(np.unique(album.group(vectors, 0.9))) > 1
    twice = np.concatenate([vectors[:1]] * 3 + [vectors[9:]] * 2)
    assert album.group(twice, 0.9).tolist() == [0, 0, 0, 1, 1]


def test_watch(home, capsys):
    os.utime("others/p8/2.png", (0, 0))
    shutil.copy("others/p8/2.png", "others/now.png")  # still being written, as far as anybody knows
    shutil.copytree("others/p8", "inbox", copy_function=shutil.copy2)
    assert run("watch", "people", "inbox", "--seconds", 0.7) == 0
    assert capsys.readouterr().out.strip().startswith("inbox/2.png: p8 (cosine")
    shutil.copy("others/now.png", "inbox/now.png")
    assert run("watch", "people", "inbox", "--seconds", 0.2) == 0
    assert "now.png" not in capsys.readouterr().out


def film(path, shots, size=112):
    writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*"MJPG"), 10, (size, size))
    for person, shot, noise in shots:
        writer.write(mosaics.photo(person, shot, size, noise)[..., ::-1])
    writer.release()


def test_video_keeps_a_name_through_poor_frames(home):
    film("film.avi", [(3, k, 12 if k not in (4, 5) else 300) for k in range(12)] + [(11, k, 12) for k in range(8)])
    assert run("video", "people", "film.avi", "--video", "out.avi", "--csv", "seen.csv") == 0
    rows = list(csv.DictReader(open("seen.csv")))
    assert [(row["person"], row["from_s"], row["to_s"]) for row in rows] == [
        ("p3", "0.0", "1.2"),
        ("unknown", "1.2", "2.0"),
    ]
    assert len(list(video.frames("out.avi"))) == 20


def test_a_face_that_moves_away_and_comes_back_is_one_track():
    one = np.eye(8, dtype=np.float32)

    def face(box, vector, quality=1.0):
        return Face(np.array(box, float), np.zeros((5, 2)), Quality(40, 1e9, 0, 0, 0, quality), None, vector)

    people = type(
        "Nobody", (), {"threshold": lambda self: type("T", (), {"value": 0.5}), "nearest": lambda self, v, k: [[]]}
    )()
    tracker = tracking.Tracker(people, patience=5)
    tracker.see(0, [face([0, 0, 10, 10], one[0]), face([50, 0, 60, 10], one[1])])
    tracker.see(1, [face([52, 0, 62, 10], one[1])])
    back = tracker.see(3, [face([90, 0, 99, 10], one[0]), face([52, 0, 62, 10], one[2])])
    assert [track.number for track in back] == [1, 3]  # one[2] stands where one[1] stood: a cut
    assert tracker.see(4, [face([52, 0, 62, 10], one[5], 0.1)])[0].number in (2, 3)  # too blurred to tell
    tracker.see(20, [face([90, 0, 99, 10], one[0])])
    assert len(tracker.all()) == 4


@pytest.mark.parametrize("content", [b"", b"no video at all" * 99])
def test_a_corrupt_video(home, capsys, content):
    open("film.mp4", "wb").write(content)
    assert run("video", "people", "film.mp4") == 1
    assert "film.mp4" in capsys.readouterr().err and not os.path.exists("seen.csv")


def test_a_video_that_breaks_off(home, caplog):
    film("film.avi", [(3, k, 12) for k in range(20)])
    with open("film.avi", "r+b") as file:
        file.truncate(os.path.getsize("film.avi") * 2 // 3)
    assert run("video", "people", "film.avi") in (0, 1)
    if os.path.exists("seen.csv"):
        assert list(csv.DictReader(open("seen.csv")))[0]["person"] == "p3"


def test_names_are_drawn_in_any_script(home):
    run("rename", "people", "p1", "Зоя Łukasz")
    run("identify", "people", "photos/p1", "--draw", "drawn")
    picture = cv2.imread(f"drawn/{os.listdir('drawn')[0]}")
    assert picture.shape == (112, 112, 3)


def test_an_index_finds_what_exact_search_finds(monkeypatch):
    pytest.importorskip("faiss")
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(3000, 32)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    probes = vectors[:300] + rng.normal(size=(300, 32)).astype(np.float32) * 0.15
    probes /= np.linalg.norm(probes, axis=1, keepdims=True)
    exact, fast = index.Index(32, exact=True), index.Index(32, exact=False)
    for row, vector in enumerate(vectors):
        exact.put(row, vector)
        fast.put(row, vector)
    (scores, rows), (scores_, rows_) = exact.search(probes, 3), fast.search(probes, 3)
    assert np.mean(rows[:, 0] == rows_[:, 0]) > 0.99 and np.abs(scores[:, 0] - scores_[:, 0]).max() < 0.05
    fast.put(3000, probes[0])  # found at once, without a new index
    fast.put(5, np.zeros(32, np.float32))
    assert fast.search(probes[:1], 1)[1][0, 0] == 3000 and fast.search(vectors[5:6], 1)[1][0, 0] != 5


def test_people_of_a_gallery_found_by_detector(home):
    reader = mosaics.reader()
    reader.detector, reader.find = Faces((112, 112)), "squares"
    people = Gallery.load("people", reader)
    ((_, matches),) = people.identify(np.hstack([mosaics.photo(1, 7), mosaics.photo(2, 7)]))
    assert [one.person for one in matches] == ["p1", "p2"]


def test_keras_insightfaces_command(home, capsys):
    from facetrainer.legacy import image_video_test as legacy

    whole = legacy.FaceDetectorAndRecognizer("mosaic.keras", "photos", detector="aligned")
    assert whole.compare_images(mosaics.photo(1), mosaics.photo(1, 1))[0, 0] > 0.95
    names, cosines, boxes = whole.search_in_known_users(mosaics.photo(4, 7))
    assert names == ["p4"] and cosines[0] > 0.95 and boxes.tolist() == [[0, 0, 112, 112]]
    arguments = ["-m", "mosaic.keras", "-k", "photos", "-d", "aligned"]
    assert legacy.main([*arguments, "-i", "others/p8/2.png", "others/p11/2.png"]) == 0
    out = capsys.readouterr().out
    assert "2_recognized.jpg: p8 " in out and "Unknown" in out and os.path.exists("others/p8/2_recognized.jpg")
    film("film.avi", [(3, k, 12) for k in range(12)])
    assert legacy.main([*arguments, "-v", "film.avi"]) == 0 and os.path.exists("recognized.mp4")
    assert legacy.main(["-v", "film.avi"]) == 1
    assert "is no model file, and nothing is downloaded" in capsys.readouterr().err


def test_the_best_model_of_a_run_brings_its_thresholds(workdir, folder, bin_file, monkeypatch, capsys):
    """From training to an answer without a file to name."""
    from helpers import make, sgd, small_model

    from facetrainer import losses

    monkeypatch.delenv("FACE_MODEL", raising=False)
    trainer = make(folder, "run.keras", basic_model=small_model(), eval_paths=[bin_file])
    trainer.train({"loss": losses.SoftmaxLoss(), "epoch": 2, "optimizer": sgd()})
    names = [name for name in os.listdir("checkpoints") if "thresholds" in name]
    assert len(names) == 1 and names[0].startswith("run_basic_drawn_epoch_")
    assert run("verify", "photos.png", "photos.png") == 1  # but the model was found and opened
    assert "photos.png: No such file" in capsys.readouterr().err
    with open("a.png", "wb") as file:
        file.write(mosaics.encode(mosaics.photo(1), ".png"))
    assert run("verify", "a.png", "a.png") == 0
    out = capsys.readouterr().out
    assert out.startswith("not told: cosine 1.0000; no threshold is known: 10 pairs") and names[0] in out
    assert "likelihood ratio of one person" in out
    assert run("verify", "a.png", "a.png", "--far", "0.5") == 1
    assert "tells no false-accept rate of 0.5" in capsys.readouterr().err
