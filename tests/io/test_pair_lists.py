"""Lists of pairs as the authors of published sets lay them out."""

import os

import numpy as np
import pytest
from helpers import tiny_model

from facetrainer.cli import evaluate
from facetrainer.data import synthetic as draw
from facetrainer.evaluation import pairs as pair_sets
from facetrainer.io import pair_lists


def write(path, *lines):
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


def test_two_lines_a_pair(workdir):
    """CALFW and CPLFW have 0 or 1 (or the fold) behind each image, SLLFW the images alone."""
    write(
        "pairs_CALFW.txt",
        "A_B_0001.jpg 1",
        "A_B_0002.jpg 1",
        "C_0001.jpg 0",
        "D_0001.jpg 0",
        "C_0001.jpg 7",
        "C_0002.jpg 7",
    )
    found = pair_lists.read("pairs_CALFW.txt")
    assert (found.first, found.second) == (
        ["A_B_0001.jpg", "C_0001.jpg", "C_0001.jpg"],
        ["A_B_0002.jpg", "D_0001.jpg", "C_0002.jpg"],
    )
    assert found.same == [True, False, True] and pair_lists.person_of("A_B_0001_0003.jpg") == "A_B"
    write("pair_SLLFW.txt", "A/A_0001.jpg", "A/A_0002.jpg", "A/A_0001.jpg", "B/B_0001.jpg")
    assert pair_lists.read("pair_SLLFW.txt").same == [True, False]
    write("wrong.txt", "A_0001.jpg 1", "A_0002.jpg 0")
    with pytest.raises(ValueError, match="lines 1 and 2: expected one mark for both"):
        pair_lists.read("wrong.txt")


def test_a_table_with_attributes(workdir):
    """BFW's: a label of any spelling, attributes in columns that end in 1 and 2."""
    write(
        "bfw-v0.csv",
        "fold,p1,p2,label,id1,id2,att1,att2,score",
        "1,a/x/0.jpg,a/x/1.jpg,1.0,0,0,af,af,.9",
        '2,a/x/0.jpg,"b/y,z/0.jpg",0,0,1,af,bm,.1',
    )
    found = pair_lists.read("bfw-v0.csv")
    assert found.same == [True, False] and found.groups == {"att": ["af", "af", "af", "bm"]}
    assert found.second == ["a/x/1.jpg", "b/y,z/0.jpg"]
    write("bad.csv", "p1,p2,label", "a,b,maybe")
    with pytest.raises(ValueError, match="line 2: expected p1, p2 and a label"):
        pair_lists.read("bad.csv")


def test_cfps_split(workdir):
    for kind in "FP":
        name = {"F": "frontal", "P": "profile"}[kind]
        write(f"cfp/Protocol/Pair_list_{kind}.txt", *(f"{k} ../Data/Images/{k:03d}/{name}/01.jpg" for k in (1, 2, 3)))
    for fold in ("01", "02"):
        write(f"cfp/Protocol/Split/FP/{fold}/same.txt", "1,1", "2,2")
        write(f"cfp/Protocol/Split/FP/{fold}/diff.txt", "1,2", "3,1")
    for person, faces in enumerate(draw.people(3, 2, seed=1), 1):
        for name, face in zip(("frontal", "profile"), faces, strict=True):
            path = f"cfp/Data/Images/{person:03d}/{name}/01.jpg"
            os.makedirs(os.path.dirname(path), exist_ok=True)
            open(path, "wb").write(face)
    found = pair_sets.read_pairs("cfp/Protocol/Split/FP")
    assert found.name == "cfp_fp" and found.same.tolist() == [True, True, False, False] * 2
    assert len(np.unique(found.names)) == 3 and found.files[1].endswith("profile/01.jpg".replace("/", os.sep))
    write("cfp/Protocol/Split/FP/02/diff.txt", "1,2", "9,1")
    with pytest.raises(ValueError, match="line 2: expected two numbers"):
        pair_sets.read_pairs("cfp/Protocol/Split/FP")


@pytest.fixture
def rfw(workdir):
    """Two races of 8 people in RFW's layout."""
    for k, race in enumerate(("African", "Asian")):
        lines = [f"m.{k}{p}\t1\t2" for p in range(4)] + [f"m.{k}{p}\t1\tm.{k}{p + 4}\t2" for p in range(4)]
        write(f"rfw/txts/{race}/{race}_pairs.txt", *lines * 10)
        for person, faces in enumerate(draw.people(8, 2, seed=k)):
            for i, face in enumerate(faces, 1):
                path = f"rfw/data/{race}/m.{k}{person}/m.{k}{person}_{i:04d}.jpg"
                os.makedirs(os.path.dirname(path), exist_ok=True)
                open(path, "wb").write(face)
    return "rfw"


def test_all_of_rfw_with_groups(rfw, capsys, caplog):
    found = pair_sets.read_pairs(rfw)
    assert (
        found.name == "rfw"
        and len(found.same) == 160
        and found.groups["race"][:32] == ["African"] * 16 + ["Asian"] * 16
    )
    assert found.images[0] is found.images[32]  # read once
    tiny_model().save("m_1.keras")
    assert evaluate.main(["-m", "m_1.keras", "-t", rfw, "--bootstrap", "0", "--fmr", "0.1"]) == 0
    told = capsys.readouterr()
    assert "race, at the threshold for FMR 0.1" in told.out and "Asian" in told.out and "GARBE" in told.out
    assert "the published rfw has 24,000" in caplog.text
    one = pair_sets.read_pairs(rfw + "/data/Asian", rfw + "/txts/Asian/Asian_pairs.txt")
    assert one.name == "rfw_asian" and len(one.same) == 80


def test_which_list_of_a_folder(workdir):
    write("set/xqlfw_pairs.txt", "A\t1\t2")
    assert pair_lists.find("set") == os.path.join("set", "xqlfw_pairs.txt")
    write("set/pairs_CPLFW.txt", "A_1.jpg 1", "A_2.jpg 1")
    with pytest.raises(ValueError, match=r"several lists of pairs: give one of pairs_CPLFW.txt, xqlfw_pairs.txt"):
        pair_lists.find("set")
    write("set/pairs.txt", "a/x.jpg b/y.jpg 1")
    for name in ("a/x.jpg", "b/y.jpg"):
        write(f"set/{name}", "")
    assert pair_sets.read_pairs("set").name == "set"
    assert pair_lists.find("set") == os.path.join("set", "pairs.txt")
