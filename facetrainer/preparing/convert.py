"""Any source → folders of people, an InsightFace `.rec`, TFRecord shards, or a csv list; images keep their bytes."""

import functools
import os

import numpy as np

from facetrainer.data import sources
from facetrainer.data.images import decode, extension
from facetrainer.io import lists, recordio
from facetrainer.preparing import target
from facetrainer.preparing.report import Report, each


def convert(source: sources.Source, dest: str, kind: str, workers: int = 0, shards: int = 1, about: str = "") -> Report:
    """Write `source` as `kind`: "folder", "rec", "tfrecord" or "csv" → Report.

    Images whose record cannot be read are left out and named. `about`: what the source is called in the report and when the task is
    taken up again.

    Returns:
        Counts, and a row for each image that was left out.
    """
    if isinstance(source, sources.FolderSource) and kind != "csv":
        target.refuse_inside(dest, source.root)
    report = Report("convert", about, dest)
    task = {"convert": about, "to": kind, "images": len(source), "shards": shards}
    if kind == "csv":
        return _to_csv(source, dest, workers, report, task)
    with target.folder(dest, **task) as part:
        WRITERS[kind](source, part, report, workers, shards)
    return report.finish(dest)


def _readable(source, report, i):
    """Bytes of image `i`, or None and a row in the report."""
    try:
        data = source.read(i)
        if not data:
            raise ValueError("no bytes")
        return data
    except (ValueError, OSError) as error:
        report.skip(source.name(i), error)
        return None


def _to_folder(source, part, report, workers, shards, shard=None):
    new = target.is_new(part)
    people = [os.path.join(part, name) for name in target.safe_names(source.class_names)]
    for person in people:
        os.makedirs(person, exist_ok=True)

    def write(i):
        data = _readable(source, report, i)
        if data is not None:
            target.write_file(f"{people[source.labels[i]]}{os.sep}{i:08d}{extension(data)}", data, new)
        return data is not None

    images = range(len(source)) if shard is None else shard.of(len(source))
    report.counts = {"images": sum(each(write, images, "images", workers)), "people": len(people)}


def _to_rec(source, part, report, workers, shards):
    """train.rec, train.idx, property, names.txt."""
    readable = functools.partial(_readable, source, report)
    good = np.array([data is not None for data in each(readable, range(len(source)), "reading", workers)], bool)
    order = np.argsort(source.labels, kind="stable")
    kept = sources.Subset(source, order[good[order]])
    counts = np.bincount(kept.labels)
    records, payload = recordio.face_payloads(counts.tolist(), kept.read)
    writer = recordio.RecordWriter(os.path.join(part, "train"), resume=True)
    for data in each(payload, range(len(writer), records), "records", workers):
        writer.write(data)
    height, width = decode(kept.read(0)).shape[:2]
    lists.write_property(os.path.join(part, "property"), len(counts), height, width)
    lists.write_names(os.path.join(part, "names.txt"), kept.class_names, counts.tolist())
    writer.close()
    report.counts = {"images": len(kept), "people": len(counts)}


def _to_tfrecord(source, part, report, workers, shards, shard=None):
    """train-00000-of-0000N.tfrecord: image, label, person, and the embedding where the source has them."""

    def sample(i):
        data = _readable(source, report, i)
        embedding = None if source.embeddings is None or data is None else np.asarray(source.embeddings[[i]])[0]
        return data, source.labels[i], embedding, source.class_names[source.labels[i]]

    written = 0
    for number, piece in enumerate(np.array_split(np.arange(len(source)), shards)):
        if shard and number % shard.count != shard.number:
            continue
        path = os.path.join(part, f"train-{number:05d}-of-{shards:05d}.tfrecord")
        if os.path.exists(path):  # renamed when it was whole
            written += len(sources.ShardSource([path]))
            continue
        samples = each(sample, piece.tolist(), os.path.basename(path), workers)
        written += sources.write_shard(path, (one for one in samples if one[0] is not None))
    report.counts = {"images": written, "people": len(source.class_names)}


def _to_csv(source, dest, workers, report, task):
    """Files are listed where they are; images that are no files are written beside the list first."""
    target.refuse_existing(dest)
    images = None
    if not source.are_files:
        images = os.path.splitext(dest)[0] + "_images"
        if not target.is_whole(images, **task):
            with target.folder(images, keep_stamp=True, **task) as part:
                _to_folder(source, part, report, workers, 1)
        source = sources.open_source(images)
    lists.write_list(dest, [source.name(i) for i in range(len(source))], [source.class_names[k] for k in source.labels])
    if images:
        target.forget(images)
    report.counts = {"images": len(source), "people": len(source.class_names)}
    return report.finish(dest)


WRITERS = {"folder": _to_folder, "rec": _to_rec, "tfrecord": _to_tfrecord}
KINDS = (*WRITERS, "csv")
