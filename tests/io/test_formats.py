import logging
import pickle
import struct

import numpy as np
import pytest

from facetrainer.io import evalbin, recordio


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
