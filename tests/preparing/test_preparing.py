import csv
import filecmp
import json
import os
import pickle
import shutil
import struct

import cv2
import numpy as np
import pytest

from facetrainer.cli import prepare as prepare_data
from facetrainer.data import alignment, images, sources
from facetrainer.data import synthetic as draw
from facetrainer.evaluation.embedder import Embedder
from facetrainer.io import evalbin, lists, recordio
from facetrainer.preparing import align, check, convert, pairs, target
from facetrainer.preparing import people as people_module
from facetrainer.preparing.people import check_people
from facetrainer.preparing.report import Report
from facetrainer.recognition import detect


def run(*arguments):
    return prepare_data.main([str(a) for a in arguments])


def contents(source):
    """(person, bytes) of every sample, in order of people."""
    order = np.argsort(source.labels, kind="stable")
    return [(source.class_names[source.labels[i]], source.read(int(i))) for i in order]


@pytest.mark.parametrize(
    "way",
    [["rec", "folder", "tfrecord", "rec"], ["tfrecord", "csv", "folder", "tfrecord"], ["csv", "rec", "csv", "folder"]],
)
def test_round_trips_keep_every_byte_and_name(workdir, record, way):
    before = contents(sources.open_source(record))
    path = record
    for number, kind in enumerate(way):
        dest = f"{number}_{kind}" + (".csv" if kind == "csv" else "")
        assert run("convert", path, dest, "--to", kind, "--shards", 3 if kind == "tfrecord" else 1) == 0
        path = dest
        assert contents(sources.open_source(path)) == before
    assert not [name for name in os.listdir() if name.endswith(".part")]


def test_records_are_mxnets_to_the_byte(workdir, record):
    run("convert", record, "out", "--to", "rec")
    assert filecmp.cmp("out/train.rec", f"{record}/train.rec", False) and filecmp.cmp(
        "out/train.idx", f"{record}/train.idx", False
    )
    assert lists.read_property("out/property") == (8, 112, 112)


@pytest.mark.real
def test_real_records_round_trip(workdir, real):
    run("convert", f"{real}/lfw", "folders", "--to", "folder")
    run("convert", "folders", "rec", "--to", "rec")
    for name in ("train.rec", "train.idx", "property", "names.txt"):
        assert filecmp.cmp(f"rec/{name}", f"{real}/lfw/{name}", False), name


@pytest.mark.parametrize("kind", ["folder", "rec", "tfrecord"])
def test_a_task_that_was_broken_off_goes_on(workdir, record, monkeypatch, kind):
    source, reads = sources.open_source(record), []

    class Killed(sources.RecordSource):
        def read(self, i):
            reads.append(i)
            if len(reads) == (70 if kind == "rec" else 30):
                raise KeyboardInterrupt
            return super().read(i)

    with pytest.raises(KeyboardInterrupt):
        convert.convert(Killed(f"{record}/train.rec"), "dest", kind, 1, 3, "set")
    assert not os.path.exists("dest") and os.path.exists("dest.part")
    with pytest.raises(ValueError, match="begun with other settings"):
        convert.convert(source, "dest", kind, 1, 4, "set")
    report = convert.convert(source, "dest", kind, 1, 3, "set")
    assert report.counts["images"] == 48 and contents(sources.open_source("dest")) == contents(source)
    with pytest.raises(ValueError, match="dest exists already"):
        convert.convert(source, "dest", kind, 1, 3, "set")


def test_a_record_writer_goes_on_behind_the_last_whole_record(workdir, people):
    payloads = [recordio.pack(0.0, image, k) for k, image in enumerate(people[0])]
    recordio.write_records("whole", payloads)
    for cut in (1, 9, 100, len(payloads[0]) + 20, -1, -5000):
        writer = recordio.RecordWriter("a")
        for payload in payloads[:4]:
            writer.write(payload)
        writer.rec.close()
        writer.idx.close()
        data = open("a.rec.part", "rb").read()
        open("a.rec.part", "wb").write(data[:cut])
        writer = recordio.RecordWriter("a", resume=True)
        for payload in payloads[len(writer) :]:
            writer.write(payload)
        writer.close()
        assert filecmp.cmp("a.rec", "whole.rec", False) and filecmp.cmp("a.idx", "whole.idx", False)


def test_unreadable_records_are_left_out_and_named(workdir, record):
    data = bytearray(open(f"{record}/train.rec", "rb").read())
    offset = int(open(f"{record}/train.idx").read().split()[2 * 5 + 1])
    data[offset : offset + 4] = b"XXXX"
    os.makedirs("damaged")
    open("damaged/train.rec", "wb").write(data)
    open("damaged/train.idx", "w").write(open(f"{record}/train.idx").read())
    run("convert", "damaged", "folder", "--to", "folder", "--json", "report.json")
    report = json.load(open("report.json"))
    assert report["images"] == 47 and len(report["skipped"]) == 1
    assert "no record at byte" in report["skipped"][0]["reason"]
    assert len(list(csv.DictReader(open("folder_skipped.csv")))) == 1
    run("convert", "damaged", "again", "--to", "rec")
    assert len(sources.open_source("again")) == 47


def test_names_never_lead_out_of_the_target():
    safe = target.safe_names(["../x", "/etc", "a/b", "..", "", "ann", "Ann", "C:\\x", "a\0b"])
    assert len({name.lower() for name in safe}) == len(safe)
    assert safe[2] == os.path.join("a", "b") and safe[5] == "ann"
    for name in safe:
        assert not os.path.isabs(name) and ".." not in name.split(os.sep) and "\0" not in name and ":" not in name


def test_the_seeds_flags(workdir, record, people):
    os.makedirs("emore")
    for name in ("train.rec", "train.idx"):
        os.link(os.path.join(record, name), f"emore/{name}")
    arrays = [np.frombuffer(image, np.uint8) for image in people[0][:4]]
    open("emore/a.bin", "wb").write(pickle.dumps((arrays, [True, False]), 3))
    before = open("emore/a.bin", "rb").read()
    assert run("-D", "emore", "-T", "a.bin") == 0
    assert len(sources.open_source("emore_112x112_folders")) == 48
    assert open("emore/a.bin.bak", "rb").read() == before
    assert pickle.load(open("emore/a.bin", "rb")) == (people[0][:4], [True, False])
    assert run("-D", "emore", "-S", "elsewhere") == 0 and len(os.listdir("elsewhere")) == 8
    assert run("-D", "nowhere") == 1


class Ndarray:
    """Pickles as mxnet 1.9's NDArray of bytes does."""

    def __init__(self, data, magic=0xF993FAC9):
        storage = b"" if magic == 0xF993FAC8 else struct.pack("<i", 0)
        self.handle = bytearray(
            struct.pack("<I", magic) + storage + struct.pack("<Iqiii", 1, len(data), 1, 0, 3) + data
        )

    def __reduce__(self):
        return Ndarray, (None,), {"handle": self.handle}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("magic", [0xF993FAC9, 0xF993FAC8])
def test_bins_of_mxnets_arrays(workdir, people, protocol, magic):
    data = pickle.dumps(([Ndarray(image, magic) for image in people[0][:2]], [True]), protocol)
    assert b"Ndarray" in data
    module, name = Ndarray.__module__.encode(), b"Ndarray"
    old, new = (module, name), (b"mxnet.ndarray.ndarray", b"NDArray")
    if protocol < 4:
        data = data.replace(b"c" + old[0] + b"\n" + old[1] + b"\n", b"c" + new[0] + b"\n" + new[1] + b"\n")
    else:
        for before, after in zip(old, new, strict=True):
            data = data.replace(b"\x8c" + bytes([len(before)]) + before, b"\x8c" + bytes([len(after)]) + after)
        frame = data.index(b"\x95")
        data = data[:frame] + data[frame + 9 :] if frame == 2 else data  # the first frame's length has changed
    open("m.bin", "wb").write(data)
    read, same = evalbin.read_bin("m.bin")
    assert read == people[0][:2] and same.tolist() == [True]


def test_lists_of_every_kind(workdir, people):
    for k in range(2):
        open(f"{k}.jpg", "wb").write(people[k][0])
    texts = {
        "a.csv": "image,person\n0.jpg,ann\n1.jpg,bob\n",
        "b.csv": "person,file,age\nann,0.jpg,3\nbob,1.jpg,4\n",
        "c.csv": "0.jpg,ann\n1.jpg,bob\n",
        "d.lst": "0\t7.000000\t0.jpg\n1\t9.000000\t1.jpg\n",
        "e.lst": "1\t0.jpg\t7\n1\t1.jpg\t9\n",
        "label.txt": "0.jpg\t7\n1.jpg\t9",
    }
    for name, text in texts.items():
        open(name, "w").write(text)
        source = sources.open_source(name)
        assert len(source) == len(source.class_names) == 2 and source.read(1) == people[1][0], name
    open("bad.csv", "w").write("0.jpg,ann\n1.jpg\n")
    with pytest.raises(ValueError, match="bad.csv, line 2: expected an image and a person"):
        sources.open_source("bad.csv")


def test_shards_are_tensorflows(workdir, record):
    import tensorflow as tf

    run("convert", record, "ours", "--to", "tfrecord")
    mine = sources.open_source("ours")
    for i, raw in enumerate(tf.data.TFRecordDataset(mine.paths)):  # checks both checksums
        example = tf.train.Example.FromString(raw.numpy()).features.feature
        assert example["image"].bytes_list.value[0] == mine.read(i)
        assert example["label"].int64_list.value[0] == mine.labels[i]
    feature = {"image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"x"])),
               "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[-3]))}  # fmt: skip
    with tf.io.TFRecordWriter("theirs.tfrecord") as writer:
        writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
    theirs = sources.open_source("theirs.tfrecord")
    assert theirs.read(0) == b"x" and theirs.class_names == ["-3"] and theirs.is_whole(0)


def test_an_index_is_kept_until_the_folder_changes(workdir, folder, monkeypatch):
    import shutil

    monkeypatch.setenv("FACE_CACHE", str(workdir / "cache"))
    shutil.copytree(folder, "faces")
    made = []
    walk, arrays = sources._walk, sources.cached.arrays
    monkeypatch.setattr(sources, "_walk", lambda root: made.append(root) or walk(root))
    monkeypatch.setattr(sources.cached, "arrays", lambda path, build, fresh: arrays(path, build, fresh, least=1))
    first, again = sources.open_source("faces"), sources.open_source("faces")
    assert len(made) == 1 and [again.name(i) for i in range(48)] == [first.name(i) for i in range(48)]
    shutil.copy("faces/p0/1.jpg", "faces/p0/77.jpg")
    assert len(sources.open_source("faces")) == 49 and len(made) == 2
    kept = os.path.join("cache", os.listdir("cache")[0])
    open(kept, "wb").write(b"broken")
    assert len(sources.open_source("faces")) == 49 and len(made) == 3


def test_folders_that_link_in_a_circle(workdir, folder):
    os.makedirs("faces/ann")
    os.symlink(os.path.abspath("faces"), "faces/ann/up")
    open("faces/ann/0.jpg", "wb").write(b"x")
    assert len(sources.open_source("faces")) == 1


# -------------------------------------------------------------------------------------------------------------- alignment


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


def test_which_face():
    boxes = np.array([[0, 0, 50, 50], [90, 90, 110, 110], [100, 0, 130, 30]], float)
    found = detect.Detected(boxes, np.ones(3), np.zeros((3, 5, 2)))
    assert found.largest().boxes.tolist() == [boxes[0].tolist()]
    assert found.central((200, 200)).boxes.tolist() == [boxes[1].tolist()]
    assert found.scaled(2).boxes[0].tolist() == [0, 0, 100, 100]


@pytest.mark.parametrize("min_face", [20, 40, 100])
@pytest.mark.parametrize("side", [100, 250, 1000])
def test_pyramid_stops_at_12_pixels(side, min_face):
    scales = detect.pyramid(side, min_face)
    assert scales[0] == 12 / min_face and side * scales[-1] >= 12 - 1e-6 and side * scales[-1] * 0.709 < 12


FACE = np.array([100.0, 120, 180, 220])
POINTS = np.array([[120, 150], [160, 150], [140, 180], [125, 200], [155, 200]], float)


class FakeSession:
    """A network that finds one face, given as outputs."""

    def __init__(self, outputs):
        self.outputs = outputs

    def get_outputs(self):
        return self.outputs

    def get_inputs(self):
        return [type("Input", (), {"name": "x", "shape": [1, 3, 640, 640]})]

    def run(self, _, feed):
        (array,) = feed.values()
        assert array.shape == (1, 3, 640, 640) and array.dtype == np.float32
        return self.outputs


def scrfd_outputs():
    shapes = [(640 // s) ** 2 * 2 for s in (8, 16, 32)]
    outputs = [np.zeros((n, width), np.float32) for width in (1, 4, 10) for n in shapes]
    cell = np.array([8, 10]) * 16  # on stride 16
    row = 2 * (10 * 40 + 8)
    for k in (row, row + 1):  # two anchors say the same: one face
        outputs[1][k], outputs[4][k] = 0.9, np.concatenate([cell - FACE[:2], FACE[2:] - cell]) / 16
        outputs[7][k] = ((POINTS - cell) / 16).ravel()
    return outputs


def retinaface_outputs():
    n = sum((640 // s) ** 2 * 2 for s in (8, 16, 32))
    boxes, scores, points = (np.zeros((1, n, width), np.float32) for width in (4, 2, 10))
    row = 2 * 80 * 80 + 2 * (10 * 40 + 8)  # 64 pixels on stride 16
    middle = (np.array([8, 10]) + 0.5) * 16
    boxes[0, row, :2] = ((FACE[:2] + FACE[2:]) / 2 - middle) / 64 / 0.1
    boxes[0, row, 2:] = np.log((FACE[2:] - FACE[:2]) / 64) / 0.2
    points[0, row], scores[0, row, 1] = ((POINTS - middle) / 64 / 0.1).ravel(), 0.9
    return [boxes, scores, points]


@pytest.mark.parametrize("outputs", [scrfd_outputs(), retinaface_outputs()])
def test_detectors_of_onnx_files(workdir, monkeypatch, outputs):
    runtime = type(
        "Runtime", (), {"InferenceSession": lambda *a, **k: FakeSession(outputs), "get_available_providers": list}
    )
    monkeypatch.setattr(detect, "need", lambda *_: runtime)
    open("d.onnx", "w").close()
    found = detect.detector("d.onnx", max_side=5000)(np.zeros((1280, 640, 3), np.uint8))
    assert len(found) == 1
    np.testing.assert_allclose(found.boxes[0], FACE * 2, rtol=1e-4)
    np.testing.assert_allclose(found.landmarks[0], POINTS * 2, rtol=1e-4)
    small = detect.detector("d.onnx", max_side=320)(np.zeros((1280, 640, 3), np.uint8))
    np.testing.assert_allclose(small.boxes[0], FACE * 2, rtol=1e-4)


def test_errors_of_detectors(workdir):
    with pytest.raises(ValueError, match="expected 'mtcnn', an .onnx file"):
        detect.detector("yolo")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        detect.detector("d.onnx")
    open("l.csv", "w").write("file,x\na.jpg,1,2\n")
    with pytest.raises(ValueError, match="line 2: expected a file and ten numbers"):
        detect.read_landmarks("l.csv")


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

    def killed(self, i):
        calls.append(i)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return once(self, i)

    monkeypatch.setattr(align._Worker, "__call__", killed)
    with pytest.raises(KeyboardInterrupt):
        run("align", "photos", "out", "--detector", "marks.csv", "--workers", 1)
    assert not os.path.exists("out")
    with open("out.part/.aligned.jsonl", "a") as journal:
        journal.write('{"i": 7, "fi')  # a line cut off
    assert run("align", "photos", "out", "--detector", "marks.csv", "--workers", 1) == 0
    assert (
        len(calls) == 5 + 4
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


def test_pairs_are_balanced_and_disjoint(workdir, record):
    assert run("pairs", record, "own.bin", "--folds", 4, "--per-fold", 8) == 0
    found, same = evalbin.read_bin("own.bin")
    assert len(found) == 64 and same.sum() == 16
    who = {data: person for person, data in contents(sources.open_source(record))}
    people = [who[image] for image in found]
    assert [a == b for a, b in zip(people[::2], people[1::2], strict=True)] == same.tolist()
    folds = [set(people[16 * k : 16 * k + 16]) for k in range(4)]
    assert all(not folds[a] & folds[b] for a in range(4) for b in range(a))
    assert len({frozenset(found[k : k + 2]) for k in range(0, 64, 2)}) == 32
    with pytest.raises(ValueError, match="ask for fewer"):
        pairs.drawn(sources.open_source(record), "more.bin", 4, 200)


def test_pairs_leave_out_trained_people(workdir, record):
    source = sources.open_source(record)
    run("split", record, "sets", "--people", 4)
    held, train = sources.open_source("sets/held_out"), sources.open_source("sets/train")
    assert len(held.class_names) == 4 and len(train.class_names) == 4
    assert sorted(d for _, d in contents(held) + contents(train)) == sorted(d for _, d in contents(source))
    report = pairs.drawn(source, "own.bin", 2, 4, train=train)
    assert report.counts["people of the training set left out"] == 4
    known = {data for _, data in contents(train)}
    assert not known & set(evalbin.read_bin("own.bin")[0])
    with pytest.raises(ValueError, match="are to be held out"):
        prepare_data.split.split(source, "x", people=8)


def test_listed_pairs(workdir, people):
    for k, name in enumerate(("ann", "bob")):
        os.makedirs(f"faces/{name}")
        for i in range(2):
            open(f"faces/{name}/{name}_{i + 1:04d}.jpg", "wb").write(people[k][i])
    open("pairs.txt", "w").write("1\t1\nann\t1\t2\nann\t1\tbob\t2\n")
    open("pairs.csv", "w").write(
        "first,second,same\nann/ann_0001.jpg,ann/ann_0002.jpg,1\nann/ann_0001.jpg,bob/bob_0002.jpg,0\n"
    )
    for name in ("pairs.txt", "pairs.csv"):
        assert run("pairs", "faces", "own.bin", "--pairs", name) == 0
        assert evalbin.read_bin("own.bin")[0] == [people[0][0], people[0][1], people[0][0], people[1][1]]
    open("pairs.txt", "a").write("ann 1 9\n")
    with pytest.raises(FileNotFoundError, match="names 1 images that are not below faces"):
        pairs.listed("faces", "pairs.txt", "own.bin")


def test_check_finds_what_was_planted(workdir, people, bin_file):
    for k in range(6):
        os.makedirs(f"faces/p{k}")
        for i, image in enumerate(people[k][:4]):
            open(f"faces/p{k}/{i}.jpg", "wb").write(image)
    open("faces/p0/0.jpg", "wb").write(people[0][0][:900])  # cut off
    open("faces/p0/again.jpg", "wb").write(people[0][1])  # the same file
    open("faces/p2/near.jpg", "wb").write(
        images.encode(images.decode(people[1][2]), quality=60)
    )  # another's, encoded again
    open("faces/p3/small.jpg", "wb").write(images.encode(cv2.resize(images.decode(people[3][0]), (90, 90))))
    open("faces/p4/blank.jpg", "wb").write(images.encode(np.full((112, 112, 3), 128, np.uint8)))
    open("faces/p5/evaluated.jpg", "wb").write(evalbin.read_bin(bin_file)[0][3])
    os.makedirs("faces/alone")
    open("faces/alone/0.jpg", "wb").write(people[7][0])
    assert run("check", "faces", "--eval", bin_file, "--json", "r.json", "--keep", "clean.npz") == 0
    report = json.load(open("r.json"))
    reasons = {
        os.path.basename(os.path.dirname(r["file"])) + "/" + os.path.basename(r["file"]): r["reason"]
        for r in report["skipped"]
        if r["file"]
    }
    assert reasons["p0/0.jpg"].startswith("corrupt: the JPEG is cut off")
    assert reasons["p0/again.jpg"].startswith("duplicate: the same file as") or reasons["p0/1.jpg"].startswith(
        "duplicate"
    )
    assert "two names: nearly the same picture" in reasons["p2/near.jpg"] and reasons["p2/near.jpg"].endswith("p1")
    assert reasons["p4/blank.jpg"].startswith("blank") and reasons["p5/evaluated.jpg"].startswith(
        "evaluated on: the same file"
    )
    assert reasons["p3/small.jpg"].startswith(("size: 90×90, not 112×112", "duplicate"))
    assert [r["person"] for r in report["skipped"] if r["reason"].startswith("few images: 1")] == ["alone"]
    kept = sources.open_source("clean.npz")
    assert report["kept"] == len(kept) == 30 - len(reasons)
    assert not {os.path.basename(kept.name(i)) for i in range(len(kept))} & {
        "near.jpg",
        "blank.jpg",
        "small.jpg",
        "evaluated.jpg",
    }


def test_check_of_damaged_shards(workdir, record):
    run("convert", record, "shards", "--to", "tfrecord")
    path = sources.open_source("shards").paths[0]
    data = bytearray(open(path, "rb").read())
    data[5000] ^= 1
    open(path, "wb").write(data)
    report = check.check(sources.open_source("shards"))
    assert [row["reason"] for row in report.rows] == ["corrupt: the record's checksum does not agree"]


def test_near_pairs_are_found_by_sorting():
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 256, (300, 32)).astype(np.uint8)
    hashes[7], hashes[200] = hashes[100], hashes[50]
    hashes[200, 3] ^= 0b101
    hashes[9] = hashes[20] ^ 0x11  # 64 bits apart
    assert check.near_pairs(hashes) == [(7, 100), (50, 200)]


def test_alignment_check(workdir, people):
    open_at = alignment.ARCFACE + 56

    def find(image):  # a detector that looks at the mark in the corner of the crop
        shift = 20 if image[56, 56].mean() > 200 else 0
        points = [open_at + shift] if image[57, 60].mean() < 250 else []
        return detect.Detected(np.zeros((len(points), 4)), np.ones(len(points)), np.array(points).reshape(-1, 5, 2))

    os.makedirs("faces/p")
    for name, paint in (("good", {}), ("off", {(0, 0): 255}), ("none", {(1, 4): 255})):
        image = np.full((112, 112, 3), 100, np.uint8)
        for (y, x), value in paint.items():
            image[y, x] = value
        cv2.imwrite(f"faces/p/{name}.png", image)
    report = Report("check", "faces")
    check.check_alignment(sources.open_source("faces"), find, report)
    assert {os.path.basename(row["file"]): row["reason"] for row in report.rows} == {
        "off.png": "unaligned: 0.80 of the eyes' distance from the template", "none.png": "unaligned: no face found",
    }  # fmt: skip


def test_names_against_faces(workdir):
    """Images are grey levels of 16 people in 16 directions, with one person under two names and one image misplaced."""
    rng, truth = np.random.default_rng(0), [*range(14), 3]
    for k, who in enumerate(truth):
        os.makedirs(f"faces/p{k:02d}")
        for i in range(6):
            value = 15 * (9 if (k, i) == (5, 2) else who) + int(rng.integers(3))
            cv2.imwrite(f"faces/p{k:02d}/{i}.png", np.full((112, 112, 3), value, np.uint8))

    def embed(batch):
        level = batch[:, 0, 0, 0] * 128 + 127.5
        return np.eye(17)[(level // 15).astype(int)] + rng.normal(size=(len(batch), 17)) * 0.05

    evalbin.write_bin("e.bin", [open(f"faces/p{k:02d}/0.png", "rb").read() for k in (4, 4)], [True])
    report = Report("check", "faces")
    check_people(sources.open_source("faces"), Embedder(embed), report, ["e.bin"])
    reasons = [(row["person"], row["reason"].split("?")[0], os.path.basename(row["file"])) for row in report.rows]
    assert ("p03", "one person under two names", "") in reasons and (
        "p05",
        "two people under one name",
        "2.png",
    ) in reasons
    assert [r for r in reasons if r[1] == "trained on"] == [
        ("p04", "trained on", "e.bin image 0"),
        ("p04", "trained on", "e.bin image 1"),
    ]
    assert len([r for r in reasons if r[1] == "one person under two names"]) == 1
    assert 0.9 < report.counts["one person from a cosine of"] < 1


def test_info(workdir, record, capsys):
    assert run("info", record, "--picture", "sheet.jpg", "--json", "r.json") == 0
    assert "5–9 images  ████" in capsys.readouterr().out
    assert images.decode(open("sheet.jpg", "rb").read()).shape == (6 * 112, 8 * 112, 3)
    report = json.load(open("r.json"))
    assert report["images"] == 48 and report["sizes"] == {"112×112": 48} and report["histogram"]["5–9"] == 8


def test_lfw_from_a_cache(workdir, monkeypatch):
    home = workdir / "home" / "lfw_home"
    for k, faces in enumerate(draw.people(6, 3, seed=4)):
        os.makedirs(home / "lfw_funneled" / f"P_{k}")
        for i, face in enumerate(faces, 1):
            open(home / "lfw_funneled" / f"P_{k}" / f"P_{k}_{i:04d}.jpg", "wb").write(face)
    open(home / "pairsDevTrain.txt", "w").write("2\nP_0\t1\t2\nP_1\t1\t3\nP_0\t1\tP_2\t1\nP_1\t2\tP_2\t3\n")
    open(home / "pairsDevTest.txt", "w").write("1\nP_3\t1\t2\nP_3\t1\tP_4\t1\n")
    open(home / "pairs.txt", "w").write("1\t1\nP_5\t1\t2\nP_5\t1\tP_0\t1\n")
    marks = [[f"P_{k}/P_{k}_{i:04d}.jpg", *alignment.ARCFACE.ravel()] for k in range(6) for i in range(1, 4)]
    lists.write_table("marks.csv", ["file", *align.COLUMNS], marks)
    assert run("lfw", "out", "--data-home", workdir / "home", "--detector", "marks.csv", "--workers", 1) == 0
    assert sources.open_source("out/train").class_names == ["P_0", "P_1", "P_2"]
    assert len(evalbin.read_bin("out/lfw_dev.bin")[1]) == len(evalbin.read_bin("out/lfw.bin")[1]) == 2

    def offline(**_):
        raise OSError("no network")

    from facetrainer.preparing import lfw

    monkeypatch.setattr(lfw, "fetch_lfw_pairs", offline)
    with pytest.raises(FileNotFoundError, match=r"could not be fetched \(no network\).*unpack the first as"):
        lfw.lfw("other", str(workdir / "empty"))


def test_wrong_calls(workdir, record, capsys):
    for call, message in (
        (["convert", record, "x"], "what is x to be"),
        (["info", "nowhere"], "does not exist"),
        (["align", record, "x", "--detector", "nothing"], "expected 'mtcnn'"),
    ):
        assert run(*call) == 1 and message in capsys.readouterr().err


# --------------------------------------------------------------------------------------------- what went wrong once


def test_names_stay_apart_and_fit_a_file_system():
    assert len({name.lower() for name in target.safe_names(["a", "A_2", "A"])}) == 3
    for name in target.safe_names(["ü" * 150, "人" * 100, "x" * 255]):
        assert len(name.encode()) <= 200


@pytest.mark.parametrize("command", ["align", "convert", "split"])
def test_a_target_inside_its_source_is_refused(workdir, folder, command, capsys):
    """What is written would be read: photos were lost, and the exit code was 0."""
    more = {"align": ["--detector", "marks.csv"], "convert": ["--to", "folder"], "split": []}[command]
    lists.write_table("marks.csv", ["file", *align.COLUMNS], [])
    for dest in (os.path.join(folder, "out"), os.path.join(folder, "deep", "..", "out")):
        assert run(command, folder, dest, *more) == 1
        assert "lie in one another: give a target beside the source" in capsys.readouterr().err
        assert not os.path.exists(dest) and not os.path.exists(dest + ".part")


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


def test_a_csv_broken_off_behind_its_images_goes_on(workdir, record, monkeypatch):
    write = lists.write_list
    monkeypatch.setattr(lists, "write_list", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run("convert", record, "l.csv")
    monkeypatch.setattr(lists, "write_list", write)
    assert os.path.isdir("l_images") and run("convert", record, "l.csv") == 0
    assert contents(sources.open_source("l.csv")) == contents(sources.open_source(record))
    assert target.STAMP not in os.listdir("l_images")


def test_a_target_that_could_not_be_noted_goes_on(workdir, record):
    """A full disk leaves an empty note, or half of one: nothing was begun."""
    for left in ({target.STAMP: ""}, {target.STAMP: '{"convert'}, {target.PART_OF_STAMP: "{"}):
        os.makedirs("out.part")
        for name, text in left.items():
            open(os.path.join("out.part", name), "w").write(text)
        assert run("convert", record, "out", "--to", "tfrecord") == 0 and os.listdir("out") == [
            "train-00000-of-00001.tfrecord"
        ]
        shutil.rmtree("out")


def planted(count, images, share, seed=0, width=32):
    """Embeddings and labels of people with a spread of their own, a share of whose images stands under another's name; which."""
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(count), images)
    spread = np.exp(rng.normal(np.log(0.1), 0.3, count))[who, None]
    embeddings = rng.normal(size=(count, width))[who] / np.sqrt(width) + spread * rng.normal(size=(len(who), width))
    labels, bad = who.copy(), np.zeros(len(who), bool)
    bad[rng.permutation(len(who))[: round(share * len(who))]] = True
    labels[bad] = (who[bad] + rng.integers(1, count, bad.sum())) % count
    return embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True), labels, bad


@pytest.mark.parametrize("share", [0.0, 0.05])
@pytest.mark.parametrize("count", [10, 100, 1000])
def test_good_names_are_left_alone(count, share):
    """With strangers drawn by permuting labels nine in ten images of 100 people were flagged: some met their own person."""
    embeddings, labels, bad = planted(count, 5, share)
    sums = people_module._sums(embeddings, labels, count)
    own, strange = people_module._to_mean(embeddings, labels, sums)
    flagged = (own < people_module.highest(strange)) & (np.bincount(labels, minlength=count)[labels] > 2)
    assert flagged[~bad].mean() < 0.05 and (not share or flagged[bad].mean() > 0.8)


@pytest.mark.real
def test_good_names_of_real_people_are_left_alone(workdir, real):
    """100 people with three images or more, by a real model: 0.6 % flagged, and 99 % of the images under a wrong name."""
    pytest.importorskip("ai_edge_litert")
    source = sources.open_source(f"{real}/lfw")
    many = np.flatnonzero(np.bincount(source.labels) >= 3)[:100]
    rows = np.concatenate([np.flatnonzero(source.labels == person)[:5] for person in many])
    chosen = sources.Subset(source, rows)
    report = Report("check", "lfw")
    check_people(chosen, Embedder(f"{real}/teacher/mobilefacenet_192.tflite"), report, threshold=None)
    flagged = [row for row in report.rows if row["reason"].startswith("two people")]
    assert len(flagged) < 0.03 * len(rows)
