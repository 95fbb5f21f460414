"""WebDataset's tars and Hugging Face's Parquet files."""

import io
import json
import tarfile

import numpy as np
import pytest
from helpers import contents, make, sgd

from facetrainer import data
from facetrainer.data import packed
from facetrainer.preparing.convert import convert


def add(archive, name, content):
    about = tarfile.TarInfo(name)
    about.size = len(content)
    archive.addfile(about, io.BytesIO(content))


@pytest.fixture
def samples(record):
    source = data.open_source(record)
    return [(source.class_names[source.labels[i]], source.read(i)) for i in range(len(source))]


def tars(root, samples, how):
    for k, part in enumerate(np.array_split(np.arange(len(samples)), 2)):
        with tarfile.open(root / f"faces-{k:06d}.tar", "w") as archive:
            for i in part:
                person, image = samples[i]
                key = f"{person}/{i:05d}" if how == "folder" else f"{i:05d}"
                if how == "json":
                    add(archive, f"{key}.json", json.dumps({"label": int(person), "more": [1]}).encode())
                add(archive, f"{key}.jpg", image)
                if how == "cls":
                    add(archive, f"{key}.cls", person.encode())
    return str(root / "faces-{000000..000001}.tar")


@pytest.mark.parametrize("how", ["cls", "json", "folder"])
def test_tars_are_read_in_place(tmp_path, record, samples, how):
    pattern = tars(tmp_path, samples, how)
    whole = contents(data.open_source(record))
    for path in (pattern, str(tmp_path), str(tmp_path / "*.tar")):
        source = data.open_source(path)
        assert contents(source) == whole and "faces-000000.tar image at byte" in source.name(0)


def test_damaged_tars(tmp_path, samples, caplog):
    tars(tmp_path, samples, "cls")
    path = tmp_path / "faces-000000.tar"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2 + 100])
    assert 5 < len(data.open_source(str(path))) < 24
    path.write_bytes(b"\x1f\x8b" + whole)
    with pytest.raises(ValueError, match="faces-000000.tar.*not compressed"):
        data.open_source(str(path))
    with tarfile.open(path, "w") as archive:
        add(archive, "readme.md", b"none")
    with pytest.raises(ValueError, match="holds no image"):
        data.open_source(str(path))


def test_parquet(tmp_path, record, samples, workdir):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    images = [{"bytes": image, "path": None} for _, image in samples]
    names = sorted({person for person, _ in samples})
    labels = [names.index(person) for person, _ in samples]
    about = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
    table = pa.table({"image": images, "label": labels}).replace_schema_metadata({"huggingface": json.dumps(about)})
    (tmp_path / "hf" / "data").mkdir(parents=True)
    for k in range(2):
        pq.write_table(table.slice(24 * k, 24), tmp_path / "hf" / "data" / f"train-{k:05d}.parquet", row_group_size=7)
    source = data.open_source(str(tmp_path / "hf"))
    assert isinstance(source, packed.ParquetSource) and contents(source) == contents(data.open_source(record))
    assert "row group 3, row 2" in source.name(23)
    trainer = make(str(tmp_path / "hf"))
    trainer.train({"loss": "softmax", "epoch": 1, "optimizer": sgd()})
    assert trainer.classes == 8
    convert(source, "again", "tfrecord")
    assert contents(data.open_source("again")) == contents(source)
    bad = tmp_path / "bad.parquet"
    bad.write_bytes(b"PAR1" + bytes(100))
    with pytest.raises(ValueError, match=r"bad.parquet cannot be read"):
        data.open_source(str(bad))
    pq.write_table(pa.table({"picture": images}), bad)
    with pytest.raises(ValueError, match="expected columns 'image' and one of label"):
        data.open_source(str(bad))
