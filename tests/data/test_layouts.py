"""Sets as their authors distribute them."""

import os

import pytest

from facetrainer.data import sources
from facetrainer.evaluation import pairs as pair_sets


def written(path, data):
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    open(path, "wb" if isinstance(data, bytes) else "w").write(data)


def by_person(source):
    found = {}
    for i, label in enumerate(source.labels):
        found.setdefault(source.class_names[label], []).append(source.read(i))
    return found


@pytest.mark.parametrize("opened", ["celeba", "celeba/Anno/identity_CelebA.txt"])
def test_celeba(workdir, people, opened):
    """`file id` with blanks, images beside; the root read as one person."""
    rows = [("000003.jpg", 9, people[0][0]), ("000001.jpg", 10, people[1][0]), ("000002.jpg", 9, people[0][1])]
    for name, _, data in rows:
        written(f"celeba/Img/img_align_celeba/{name}", data)
    written("celeba/Anno/identity_CelebA.txt", "".join(f"{name} {person}\n" for name, person, _ in rows))
    assert by_person(sources.open_source(opened)) == {"9": people[0][:2], "10": people[1][:1]}


def test_lists_with_blanks(workdir, people):
    """CASIA-WebFace's and SphereFace's `path label`, VGGFace2's paths alone."""
    for k in range(2):
        for i in range(2):
            written(f"0000{k} x/00{i}.jpg", people[k][i])
    written("casia.txt", "".join(f"0000{k} x/00{i}.jpg {k}\n" for k in range(2) for i in range(2)))
    assert by_person(sources.open_source("casia.txt")) == {"0": people[0][:2], "1": people[1][:2]}
    for k in range(2):
        written(f"n00{k}/01_01.jpg", people[k][3])
    written("train_list.txt", "n000/01_01.jpg\r\nn001/01_01.jpg\r\n")
    assert by_person(sources.open_source("train_list.txt")) == {"n000": [people[0][3]], "n001": [people[1][3]]}
    written("bare.txt", "a.jpg\n")
    with pytest.raises(ValueError, match="bare.txt, line 1: expected an image and a person"):
        sources.open_source("bare.txt")


def test_casia_facev5(workdir, people):
    """Folders 000 … 499 of 000_0.bmp."""
    for k in range(2):
        written(f"v5/{k:03d}/{k:03d}_0.bmp", people[k][0])
    assert by_person(sources.open_source("v5")) == {"000": people[0][:1], "001": people[1][:1]}


@pytest.mark.parametrize(("home", "suffix"), [("val/images", "jpg"), ("val", "png")])
def test_lfw_as_folders_with_its_pairs(workdir, people, home, suffix):
    for name, k in (("AJ_Cook", 0), ("AJ_Lamas", 1)):
        for i in (1, 2):
            written(f"{home}/{name}/{name}_{i:04d}.{suffix}", people[k][i])
    written("val/pairs.txt", "1\t1\nAJ_Cook\t1\t2\nAJ_Cook\t1\tAJ_Lamas\t2\n")
    found = pair_sets.read_pairs("val")
    assert found.same.tolist() == [True, False] and found.images == [
        people[0][1],
        people[0][2],
        people[0][1],
        people[1][2],
    ]
    assert found.names == ("AJ_Cook", "AJ_Cook", "AJ_Cook", "AJ_Lamas")
