"""Tasks in parts: together they do what one does."""

import json
import os
import shutil

import numpy as np
import pytest
from helpers import contents, tiny_model

from facetrainer import data
from facetrainer.cli import prepare
from facetrainer.data import synthetic as draw
from facetrainer.io import lists
from facetrainer.preparing.shards import Shard


def run(*arguments):
    return prepare.main([str(one) for one in arguments])


def in_parts(*arguments, parts=3):
    for k in (2, 0, 1):
        assert run(*arguments, "--shard", f"{k}/{parts}", "--workers", 1) == 0


def test_parts_of_images():
    assert list(Shard.parse("1/3").of(8)) == [1, 4, 7] and str(Shard(1, 3)) == "00001-of-00003"
    for text in ("3/3", "a/2", "1", "-1/2"):
        with pytest.raises(ValueError, match="expected K/N"):
            Shard.parse(text)


@pytest.mark.parametrize("kind", ["folder", "tfrecord"])
def test_convert(workdir, record, kind):
    in_parts("convert", record, "out", "--to", kind)
    assert not os.path.exists("out") and run("merge", "out", "--json", "report.json") == 0
    assert contents(data.open_source("out")) == contents(data.open_source(record))
    assert json.load(open("report.json"))["images"] == 48 and json.load(open("report.json"))["people"] == 8
    assert json.load(open("report.json"))["source"] == record
    assert not [name for name in os.listdir("out") if name.startswith(".")]
    assert run("convert", record, "x.rec", "--to", "rec", "--shard", "0/2") == 1


def test_merge_names_what_is_missing(workdir, record, capsys):
    assert run("merge", "nothing") == 1
    assert run("convert", record, "out", "--to", "folder", "--shard", "1/3") == 0
    assert run("merge", "out") == 1
    assert "parts 0/3, 2/3 are not done" in capsys.readouterr().err
    assert run("convert", record, "out", "--to", "folder", "--shard", "0/4") == 1  # another number of parts
    assert "begun with other settings" in capsys.readouterr().err


def test_align(workdir):
    marks = []
    for person in range(2):
        os.makedirs(f"photos/p{person}")
        for i, image in enumerate(draw.people(2, 4, seed=5)[person]):
            open(f"photos/p{person}/{i}.jpg", "wb").write(image)
            points = [38, 52, 74, 52, 56, 72, 42, 92, 71, 92]
            marks.append([f"p{person}/{i}.jpg", *points])
    open("photos/p1/bad.jpg", "wb").write(b"no image")
    columns = [f"{p}_{axis}" for p in ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right") for axis in "xy"]
    lists.write_table("marks.csv", ["photo", *columns], marks)
    assert run("align", "photos", "one", "--detector", "marks.csv", "--workers", 1) == 0
    in_parts("align", "photos", "many", "--detector", "marks.csv")
    assert run("merge", "many") == 0
    assert contents(data.open_source("many")) == contents(data.open_source("one"))
    assert open("many/landmarks.csv").read() == open("one/landmarks.csv").read()
    assert open("many_skipped.csv").read() == open("one_skipped.csv").read()


def test_embed(workdir, record):
    tiny_model().save("model.keras")
    assert run("embed", record, "one.npz", "--model", "model.keras") == 0
    in_parts("embed", record, "many.npz", "--model", "model.keras")
    assert run("merge", "many.npz") == 0
    one, many = np.load("one.npz"), np.load("many.npz")
    np.testing.assert_allclose(one["embeddings"], many["embeddings"], atol=1e-6)
    np.testing.assert_array_equal(one["indices"], many["indices"])


def test_check_finds_pairs_of_different_parts(workdir, folder):
    shutil.copytree(folder, "faces")
    home = next(root for root, _, names in os.walk("faces") if len(names) > 2)
    names = sorted(os.listdir(home))
    shutil.copyfile(os.path.join(home, names[1]), os.path.join(home, "again.jpg"))
    open(os.path.join(home, "zz.jpg"), "wb").write(b"none")
    faces = os.path.abspath("faces")
    assert run("check", faces, "--json", "one.json") == 0
    in_parts("check", faces, "--into", "looks")
    assert run("merge", "looks", "--json", "many.json") == 0
    one, many = json.load(open("one.json")), json.load(open("many.json"))
    assert many["skipped"] == one["skipped"] and many["duplicate"] == one["duplicate"] == 1 and one["corrupt"] == 1
    for wrong in (("--shard", "0/2"), ("--engine", "ray"), ("--into", "looks")):
        assert run("check", "faces", *wrong) == 1
    assert run("check", "faces", "--into", "looks", "--shard", "0/2", "--model", "m.keras") == 1


def test_engine(workdir, record):
    pytest.importorskip("ray")
    assert run("convert", record, "out", "--to", "tfrecord", "--engine", "ray", "--parts", 2) == 0
    assert contents(data.open_source("out")) == contents(data.open_source(record))
