import csv
import filecmp
import json
import os
import pickle
import shutil
import struct

import numpy as np
import pytest
from helpers import contents

from facetrainer.cli import prepare as prepare_data
from facetrainer.data import sources
from facetrainer.io import evalbin, lists, recordio
from facetrainer.preparing import convert, target


def run(*arguments):
    return prepare_data.main([str(a) for a in arguments])


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


def test_names_stay_apart_and_fit_a_file_system():
    assert len({name.lower() for name in target.safe_names(["a", "A_2", "A"])}) == 3
    for name in target.safe_names(["ü" * 150, "人" * 100, "x" * 255]):
        assert len(name.encode()) <= 200


def test_a_csv_broken_off_behind_its_images_goes_on(workdir, record, monkeypatch):
    write = lists.write_list
    monkeypatch.setattr(lists, "write_list", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    assert run("convert", record, "l.csv") == 130
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
