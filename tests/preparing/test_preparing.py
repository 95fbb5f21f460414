import json
import os

import pytest
from helpers import contents

from facetrainer.cli import prepare as prepare_data
from facetrainer.data import alignment, images, sources
from facetrainer.data import synthetic as draw
from facetrainer.io import evalbin, lists
from facetrainer.preparing import align, pairs


def run(*arguments):
    return prepare_data.main([str(a) for a in arguments])


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


@pytest.mark.parametrize("command", ["align", "convert", "split"])
def test_a_target_inside_its_source_is_refused(workdir, folder, command, capsys):
    """What is written would be read: photos were lost, and the exit code was 0."""
    more = {"align": ["--detector", "marks.csv"], "convert": ["--to", "folder"], "split": []}[command]
    lists.write_table("marks.csv", ["file", *align.COLUMNS], [])
    for dest in (os.path.join(folder, "out"), os.path.join(folder, "deep", "..", "out")):
        assert run(command, folder, dest, *more) == 1
        assert "lie in one another: give a target beside the source" in capsys.readouterr().err
        assert not os.path.exists(dest) and not os.path.exists(dest + ".part")
