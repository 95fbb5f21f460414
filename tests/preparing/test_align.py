import csv
import json
import os

import cv2
import numpy as np
import pytest

from facetrainer.cli import prepare as prepare_data
from facetrainer.data import alignment, images, sources
from facetrainer.io import lists
from facetrainer.preparing import align
from facetrainer.recognition import detect


def run(*arguments):
    return prepare_data.main([str(a) for a in arguments])


def test_similarity_undoes_what_was_done():
    rng = np.random.default_rng(0)
    for _ in range(20):
        angle, scale, shift = rng.uniform(-3, 3), rng.uniform(0.1, 9), rng.normal(size=2) * 50
        turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        points = (alignment.ARCFACE - shift) @ np.linalg.inv(turn).T
        found = alignment.similarity(points, alignment.ARCFACE)
        np.testing.assert_allclose(found, np.hstack([turn, shift[:, None]]), atol=1e-9)
    with pytest.raises(ValueError, match="lie on one point"):
        alignment.similarity(np.ones((5, 2)), alignment.ARCFACE)


def test_similarity_is_the_nearest_in_least_squares():
    rng = np.random.default_rng(1)
    points = rng.normal(size=(5, 2)) * 30
    best = alignment.similarity(points, alignment.ARCFACE)

    def error(matrix):
        return np.sum((points @ matrix[:, :2].T + matrix[:, 2] - alignment.ARCFACE) ** 2)

    for _ in range(200):
        a, b, x, y = rng.normal(size=4) * 0.01
        assert error(best + [[a, -b, x], [b, a, y]]) >= error(best)


@pytest.mark.parametrize("size", [60, 112, 900])
@pytest.mark.parametrize("name", ["arcface", "sphereface"])
def test_crops_put_the_points_where_they_belong(size, name):
    layout, scale = alignment.LAYOUTS[name], size / 112
    image = np.zeros((size, size, 3), np.uint8)
    points = (alignment.ARCFACE - 56) * 0.8 * scale + size / 2
    for point in points:
        cv2.circle(image, tuple(np.rint(point).astype(int).tolist()), max(round(2 * scale), 1), (255, 255, 255), -1)
    crop = layout.crop(image, points)
    assert crop.shape == (layout.height, layout.width, 3)
    for x, y in layout.template:
        assert crop[round(y) - 1 : round(y) + 2, round(x) - 1 : round(x) + 2].mean() > 60
    assert alignment.misalignment(layout.template, crop.shape[:2], layout) == 0


def test_crop_by_box():
    image = np.zeros((200, 300, 3), np.uint8)
    image[50:100, 100:150] = 255
    layout = alignment.Layout(160, 160, None, 0)
    assert layout.crop(image, None, np.array([100, 50, 150, 100.0])).min() == 255
    margin = alignment.LAYOUTS["facenet"].crop(image, None, np.array([100, 50, 150, 100.0]))
    assert margin.mean() == pytest.approx(255 * (50 / 82) ** 2, rel=0.01)
    with pytest.raises(ValueError, match="crops by the detector's box"):
        layout.crop(image, np.ones((5, 2)))
    with pytest.raises(ValueError, match="outside the image"):
        layout.crop(image, None, np.array([400, 50, 450, 100.0]))


def photos(root, people, broken=True):
    """Drawn faces on larger canvases, and a csv of where they are."""
    rows = []
    for k, faces in enumerate(people[:3]):
        os.makedirs(f"{root}/p{k}")
        for i, face in enumerate(faces[:2]):
            canvas = np.full((300, 400, 3), 90, np.uint8)
            canvas[100 : 100 + 112, 50 + 40 * k : 162 + 40 * k] = images.decode(face)
            open(f"{root}/p{k}/{i}.jpg", "wb").write(images.encode(canvas))
            rows.append([f"p{k}/{i}.jpg", *(alignment.ARCFACE + [50 + 40 * k, 100]).ravel()])
    if broken:
        open(f"{root}/p0/bad.jpg", "wb").write(b"no image")
        open(f"{root}/p1/unknown.jpg", "wb").write(open(f"{root}/p1/0.jpg", "rb").read())
    lists.write_table("marks.csv", ["file", *align.COLUMNS], rows)


@pytest.mark.parametrize("workers", [1, 2])
def test_align_from_landmarks(workdir, people, workers):
    photos("photos", people)
    assert run("align", "photos", "out", "--detector", "marks.csv", "--workers", workers, "--json", "r.json") == 0
    report = json.load(open("r.json"))
    assert (report["photos"], report["aligned"]) == (8, 6)
    assert {os.path.basename(row["file"]) for row in report["skipped"]} == {"bad.jpg", "unknown.jpg"}
    source = sources.open_source("out")
    assert source.class_names == ["p0", "p1", "p2"] and len(source) == 6
    for k in range(3):
        crop, face = images.decode(source.read(2 * k)).astype(int), images.decode(people[k][0]).astype(int)
        assert np.abs(crop - face).mean() < 6
    assert len(list(csv.DictReader(open("out/landmarks.csv")))) == 6


def test_align_goes_on_after_a_kill(workdir, people, monkeypatch):
    photos("photos", people)
    monkeypatch.setattr(align, "PIECE", 2)
    once, calls = align._Worker.__call__, []

    def killed(self, indices):
        calls.append(indices)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return once(self, indices)

    monkeypatch.setattr(align._Worker, "__call__", killed)
    assert run("align", "photos", "out", "--detector", "marks.csv", "--workers", 1) == 130
    assert not os.path.exists("out")
    with open("out.part/.aligned.jsonl", "a") as journal:
        journal.write('{"i": 7, "fi')  # a line cut off
    assert run("align", "photos", "out", "--detector", "marks.csv", "--workers", 1) == 0
    assert (
        len(calls) == 3 + 2
        and len(sources.open_source("out")) == 6
        and sorted(os.listdir("out")) == ["landmarks.csv", "p0", "p1", "p2"]
    )


@pytest.mark.real
def test_mtcnn_on_photos(real):
    pytest.importorskip("mtcnn")
    find, known = detect.detector("mtcnn"), detect.read_landmarks(f"{real}/photos/landmarks.csv")
    for name in list(known)[:8]:
        image = images.decode(open(f"{real}/photos/{name}", "rb").read())
        face = find(image).central(image.shape[:2])
        eyes = np.linalg.norm(known[name][1] - known[name][0])
        assert np.linalg.norm(face.landmarks[0] - known[name], axis=1).mean() < 0.03 * eyes
    assert len(find(np.zeros((30, 30, 3), np.uint8))) == len(find(np.zeros((250, 250, 3), np.uint8))) == 0


# ------------------------------------------------------------------------------------------------------- sets and checks


def test_two_photos_of_one_name_give_two_crops(workdir, people):
    photos("photos", people)
    os.makedirs("more")
    for k in range(3):
        os.rename(f"photos/p{k}/1.jpg", f"more/p{k}_1.jpg")
        os.makedirs(f"more/p{k}")
        os.rename(f"more/p{k}_1.jpg", f"more/p{k}/0.jpg")
    files = [f"{root}/p{k}/0.jpg" for k in range(3) for root in ("photos", "more")]
    lists.write_list("l.csv", files, [f"p{k}" for k in range(3) for _ in range(2)])
    marks = {row["file"]: [row[c] for c in align.COLUMNS] for row in csv.DictReader(open("marks.csv"))}
    rows = [[os.path.relpath(file, "l.csv"), *marks[f"p{k // 2}/0.jpg"]] for k, file in enumerate(files)]
    lists.write_table("marks.csv", ["file", *align.COLUMNS], rows)
    assert run("align", "l.csv", "out", "--detector", "marks.csv", "--workers", 1, "--json", "r.json") == 0
    assert json.load(open("r.json"))["crops"] == 6 == len(sources.open_source("out"))


def test_size_and_margin_of_the_crops(workdir, people, capsys):
    facenet = alignment.LAYOUTS["facenet"].sized(182, 182, 44)
    assert (facenet.height, facenet.width, facenet.margin) == (182, 182, 44)
    box, image = np.array([100, 100, 200, 220]), np.zeros((400, 400, 3), np.uint8)
    image[78:242, 78:222] = 255  # the box and half of 44 pixels on each side
    assert facenet.crop(image, None, box).min() == 255
    twice = alignment.LAYOUTS["arcface"].sized(224, 224)
    np.testing.assert_allclose(twice.template, 2 * alignment.ARCFACE)
    photos("photos", people, broken=False)
    assert run("align", "photos", "crops", "--detector", "marks.csv", "--size", "56") == 0
    assert images.decode(open("crops/p0/0.jpg", "rb").read()).shape == (56, 56, 3)
    for arguments, message in (
        (["--margin", "8"], "--margin widens the detector's box: use it with --layout facenet"),
        (["--size", "112", "96"], "expected a size of the layout's shape, 112x112"),
        (["--size", "1", "2", "3"], "expected height and width, or one number"),
    ):
        assert run("align", "photos", "other", "--detector", "marks.csv", *arguments) == 1
        assert message in capsys.readouterr().err


def test_landmarks_of_another_set_are_told(workdir, people, capsys):
    """Every photo was passed over, and the exit code was 0."""
    photos("photos", people, broken=False)
    os.rename("photos", "elsewhere")
    os.makedirs("photos/other")
    os.rename("elsewhere/p0", "photos/other/p0")
    assert run("align", "photos", "crops", "--detector", "marks.csv") == 1
    assert (
        "names 6 files, and none of the 2 photos below photos: the list begins with 'p0/0.jpg'"
        in capsys.readouterr().err
    )
    assert not os.path.exists("crops")
