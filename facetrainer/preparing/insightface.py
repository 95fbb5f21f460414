"""What `prepare_data.py` of Keras_insightface did: records into folders, `.bin` files made readable, images scaled."""

import logging
import os
import shutil

from facetrainer.data import sources
from facetrainer.data.images import decode, encode
from facetrainer.io import evalbin
from facetrainer.preparing import convert

log = logging.getLogger("facetrainer")


def mxnet_record_to_folder(dataset_dir: str, save_dir: str | None = None) -> str:
    """InsightFace directory → folder of people, `{dataset_dir}_112x112_folders` unless given."""
    dest = save_dir or os.path.normpath(dataset_dir) + "_112x112_folders"
    if os.path.exists(dest):
        log.info("%s is there already, whole.", dest)
    else:
        convert.convert(sources.open_source(dataset_dir), dest, "folder", about=dataset_dir)
    return dest


def mxnet_bin_to_readable(path: str) -> str:
    """`.bin` in any form → one of encoded images, in place; the file as it was is kept as `.bak`."""
    images, same = evalbin.read_bin(path)
    backup = path + ".bak"
    if not os.path.exists(backup):
        shutil.copy2(path, backup)
    evalbin.write_bin(path, [image if isinstance(image, bytes) else encode(image, ".png") for image in images], same)
    log.info("%s: %d pairs; the file as it was is %s", path, len(same), backup)
    return path


def resize_dataset(data_path: str, dest: str, size: tuple[int, int] = (112, 112), workers: int = 0) -> str:
    """Every image of a source scaled to `size` (height, width) → folder of people."""
    convert.convert(
        Resized(sources.open_source(data_path), size), dest, "folder", workers, about=f"{data_path} at {size}"
    )
    return dest


class Resized(sources.Subset):
    """A source whose images are scaled and encoded anew."""

    def __init__(self, source, size):
        super().__init__(source, range(len(source)), source.embeddings)
        self.size, self.are_files = size, False

    def read(self, i):
        return encode(decode(self.source.read(i), self.size))
