import copyreg
import logging
import os
import pickle
import re
import struct
import sys
import types
import zipfile

import numpy as np
import pytest

from facetrainer.data import sources
from facetrainer.io import cached, evalbin, lists, pickled, recordio, tfrecord


def test_records_round_trip_with_magic_inside(tmp_path):
    magic = struct.pack("<I", recordio.MAGIC)
    payloads = [
        b"",
        b"abc",
        magic,
        b"1234" + magic + b"x",
        b"12" + magic,
        magic * 3 + b"yz",
        b"1" + magic + b"234" + magic,
    ]
    recordio.write_records(str(tmp_path / "a"), payloads)
    file = recordio.RecordFile(str(tmp_path / "a.rec"))
    assert [file.read(i) for i in range(len(file))] == payloads


def test_missing_index_is_rebuilt(tmp_path, record, people, caplog):
    data = open(f"{record}/train.rec", "rb").read()
    (tmp_path / "train.rec").write_bytes(data)
    with caplog.at_level(logging.WARNING, "face"):
        positions, labels = recordio.face_index(recordio.RecordFile(str(tmp_path / "train.rec")))
    assert "scanning" in caplog.text
    np.testing.assert_array_equal(labels, np.repeat(np.arange(8), 6))


def test_truncated_file_is_read_to_its_last_whole_record(tmp_path, record, caplog):
    data = open(f"{record}/train.rec", "rb").read()
    (tmp_path / "train.rec").write_bytes(data[: len(data) // 2])
    with caplog.at_level(logging.WARNING, "face"):
        file = recordio.RecordFile(str(tmp_path / "train.rec"))
        positions, labels = recordio.face_index(file)
    assert 10 < len(positions) < 48 and "cut off" in caplog.text
    np.testing.assert_array_equal(labels, np.repeat(np.arange(8), 6)[: len(labels)])


def test_header_forms():
    labels, image = recordio.unpack(recordio.pack(3.0, b"jpeg"))
    assert labels.tolist() == [3.0] and image == b"jpeg"
    labels, image = recordio.unpack(recordio.pack([3.0, 1.0], b"jpeg"))
    assert labels.tolist() == [3.0, 1.0] and image == b"jpeg"
    with pytest.raises(ValueError, match="claims 1000 labels"):
        recordio.unpack(struct.pack("<IfQQ", 1000, 0, 0, 0))


def test_not_a_record(tmp_path):
    (tmp_path / "a.rec").write_bytes(b"")
    with pytest.raises(ValueError, match="is empty"):
        recordio.RecordFile(str(tmp_path / "a.rec"))
    (tmp_path / "b.rec").write_bytes(bytes(64))
    (tmp_path / "b.idx").write_text("0\t0\n")
    with pytest.raises(ValueError, match="no record at byte 0"):
        recordio.RecordFile(str(tmp_path / "b.rec")).read(0)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("form", ["bytes", "array", "image"])
def test_bin_forms(tmp_path, people, protocol, form):
    images = people[0][:4]
    given = {
        "bytes": images,
        "array": [np.frombuffer(i, np.uint8) for i in images],
        "image": [np.zeros((4, 4, 3), np.uint8)] * 4,
    }[form]
    path = tmp_path / "a.bin"
    path.write_bytes(pickle.dumps((given, [True, np.bool_(False)]), protocol))
    read, same = evalbin.read_bin(str(path))
    assert same.tolist() == [True, False]
    assert read == images if form != "image" else read[0].shape == (4, 4, 3)


class Evil:
    def __reduce__(self):
        return (print, ("run!",))


def test_a_bin_that_would_run_code_is_refused(tmp_path, capsys):
    path = tmp_path / "evil.bin"
    path.write_bytes(pickle.dumps(([Evil()], [True])))
    with pytest.raises(ValueError, match=r"asks for '(__builtin__|builtins)\.print'"):
        evalbin.read_bin(str(path))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "content", [b"", b"junk", pickle.dumps(7), pickle.dumps(([b"a"], [True])), pickle.dumps(([], []))]
)
def test_damaged_bins(tmp_path, content):
    path = tmp_path / "a.bin"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="a.bin"):
        evalbin.read_bin(str(path))


@pytest.mark.real
def test_real_files(real):
    images, same = evalbin.read_bin(f"{real}/lfw/lfw_dev.bin")
    assert len(images) == 2400 and same.sum() == 600
    images, same = evalbin.read_bin(f"{real}/insightface_small/small_lfw.bin")
    assert len(images) == 20 and same.all()


class NDArray:
    """Pickles as mxnet's arrays do."""

    def __init__(self, array):
        self.array = array

    def __reduce_ex__(self, protocol):
        shape = self.array.shape
        head = struct.pack("<IiI", 0xF993FAC9, 0, len(shape)) + struct.pack(f"<{len(shape)}q", *shape)
        state = {"handle": bytearray(head + struct.pack("<iii", 1, 0, 3) + self.array.tobytes())}
        if protocol > 1:
            return copyreg.__newobj__, (NDArray,), state
        return copyreg._reconstructor, (NDArray, object, None), state


@pytest.mark.parametrize("numpy", [1, 2])
@pytest.mark.parametrize("protocol", range(6))
def test_every_form_and_protocol_still_reads(tmp_path, people, monkeypatch, protocol, numpy):
    """What numpy 1 and 2 and mxnet write. 504 files of mxnet 1.9.1 with numpy 1.23 and of numpy 2.4 were read as well."""
    for name in ("mxnet", "mxnet.ndarray", "mxnet.ndarray.ndarray"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    sys.modules["mxnet.ndarray.ndarray"].NDArray = NDArray
    monkeypatch.setattr(NDArray, "__module__", "mxnet.ndarray.ndarray")
    flat, path = people[0][:4], tmp_path / "a.bin"
    arrays = [np.frombuffer(image, np.uint8) for image in flat]
    pictures = np.random.default_rng(0).integers(0, 255, (4, 5, 6, 3), np.uint8)
    forms = {
        "bytes": (flat, flat), "bytearray": ([bytearray(image) for image in flat], flat), "array": (arrays, flat),
        "pictures": (list(pictures), pictures), "stack": (pictures, pictures),
        "columns": ([np.asfortranarray(one) for one in pictures], pictures),
        "mxnet": ([NDArray(array) for array in arrays], flat), "mxnet pictures": ([NDArray(one) for one in pictures], pictures),
    }  # fmt: skip
    flags = [np.bool_(True), np.bool_(False)]
    for given, wanted in forms.values():
        for same in ([True, False], [1, 0], np.array([True, False]), flags, np.array([1, 0], ">i4")):
            data = pickle.dumps((given, same), protocol)
            path.write_bytes(_as_numpy_1(data) if numpy == 1 else data)
            images, found = evalbin.read_bin(str(path))
            assert found.tolist() == [True, False]
            for image, expected in zip(images, wanted, strict=True):
                assert np.array_equal(image, expected)


def _as_numpy_1(data):
    """`numpy._core` was `numpy.core`; from protocol 4 on the name's length stands before it."""
    for name in (b"multiarray", b"numeric"):
        new, old = b"numpy._core." + name, b"numpy.core." + name
        data = data.replace(bytes([0x8C, len(new)]) + new, bytes([0x8C, len(old)]) + old).replace(new, old)
    return data


def test_small_objects_are_counted_against_the_bytes(tmp_path):
    """Eight million empty lists would be half a gigabyte."""
    with pytest.raises(ValueError, match="more objects than 1000003 bytes justify"):
        pickled.load(b"\x80\x04" + b"]" * 1_000_000 + b".", {})
    assert pickled.load(pickle.dumps([[]] * 1000), {}) == [[]] * 1000


def test_a_pickle_names_what_it_is_refused_for():
    for data, message in (
        (pickle.dumps(Evil()), "which data does not need"),
        (b"\x80\x04\x8c\x01a)R.", "a call of something that is no function"),
        (b"}b.", "IndexError"),
        (b"}]b.", "a state for a dict"),
        (b"X\xff\xff\xff\x7fa.", "2147483647 bytes are expected at byte 5"),
        (b"}))s.", "expected texts and numbers as keys. Received: tuple"),
        (b"\x82\x01.", "opcode 0x82 at byte 0"),
        (b"X" + struct.pack("<I", 80_000) + "\U0001f600".encode() * 20_000 + b".", "beyond Latin-1"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            pickled.load(data, {})


def test_texts_of_windows_and_of_unicode(tmp_path):
    """The mark that Windows sets before UTF-8 is no part of the header; U+2028 and U+0085 are parts of a name and end no line."""
    names = ["a\u2028b.jpg", "c\x85d.jpg", 'e"f\ng.jpg', "h,i.jpg"]
    lists.write_list(
        str(tmp_path / "a.csv"), [str(tmp_path / name) for name in names], ["ann", "bob\u2028", "cid", "dan"]
    )
    images, people = lists.read_list(str(tmp_path / "a.csv"))
    assert [os.path.basename(image) for image in images] == names and people == ["ann", "bob\u2028", "cid", "dan"]
    (tmp_path / "b.csv").write_text("image,person\na.jpg,ann\n", encoding="utf-8-sig")
    assert lists.read_list(str(tmp_path / "b.csv"))[1] == ["ann"]
    (tmp_path / "c.txt").write_text("0\tann\n", encoding="utf-8-sig")
    assert lists.read_names(str(tmp_path / "c.txt")) == {"0": "ann"}
    (tmp_path / "d.csv").write_bytes(b"image,person\n\xff\xfe,ann\n")
    with pytest.raises(ValueError, match="d.csv is no text in UTF-8"):
        lists.read_list(str(tmp_path / "d.csv"))
    (tmp_path / "e.csv").write_text("image,person\n" + "x" * 200_000 + ",ann\n")
    with pytest.raises(ValueError, match="e.csv is no list that can be read"):
        lists.read_list(str(tmp_path / "e.csv"))


def test_npz_of_strangers(tmp_path):
    path = str(tmp_path / "a.npz")
    np.savez(path, a=np.zeros((0,)))
    with zipfile.ZipFile(path, "w") as archive:  # numpy reserves what a header claims
        head = (
            b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (3000000000,), }".ljust(127)
            + b"\n"
        )
        archive.writestr("a.npy", head)
    with pytest.raises(ValueError, match=r"claims an array of shape \(3000000000,\) in 128 bytes"):
        cached.read_npz(path)
    for arrays, message in (
        ({"image_names": np.array(["a"]), "image_classes": np.array([[1]])}, r"expected image_names, texts \(n,\)"),
        (
            {"image_names": np.array(["a"]), "image_classes": np.array([1]), "embeddings": np.ones(1)},
            r"expected embeddings \(1, D\)",
        ),
        ({"data_path": np.array(path)}, "expected data_path, the name of a folder, record file or shards"),
        ({"data_path": np.array(str(tmp_path)), "indices": np.array([5])}, "holds no image"),
    ):
        np.savez(path, **arrays)
        with pytest.raises(ValueError, match=message):
            sources.open_source(path)


def test_a_shard_whose_image_is_a_number(tmp_path):
    path = tmp_path / "a.tfrecord"
    with open(path, "wb") as file:
        tfrecord.write(file, tfrecord.encode({"image": [7], "label": [1]}))
    with pytest.raises(ValueError, match="expected a feature 'image', bytes"):
        sources.open_source(str(path)).read(0)
