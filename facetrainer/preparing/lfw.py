"""Labeled Faces in the Wild as scikit-learn keeps it: aligned, with the official lists of View 1 and View 2."""

import os

import numpy as np
from sklearn.datasets import fetch_lfw_pairs, get_data_home

from facetrainer.data import sources
from facetrainer.data.alignment import LAYOUTS
from facetrainer.io import pair_lists
from facetrainer.preparing import target
from facetrainer.preparing.align import align
from facetrainer.preparing.convert import convert
from facetrainer.preparing.pairs import listed
from facetrainer.preparing.report import Report

LISTS = ("pairs.txt", "pairsDevTrain.txt", "pairsDevTest.txt")


def lfw(dest: str, data_home: str | None = None, find: str = "mtcnn", workers: int = 1) -> Report:
    """`dest`/aligned (everybody), `dest`/train (View 1's training people), lfw_dev.bin (View 1's test pairs), lfw.bin (View 2).

    View 2 holds people of View 1: a model for lfw.bin is to be trained on other data. `find`: a detector, or a csv of landmarks.

    Returns:
        Counts, and a row for each photo that was left out.
    """
    home = _home(data_home)
    target.refuse_existing(os.path.join(dest, "train"))
    os.makedirs(dest, exist_ok=True)
    report, aligned = Report("lfw", home, dest), os.path.join(dest, "aligned")
    if not os.path.exists(aligned):
        # the person in the middle is the one who is named
        one = align(os.path.join(home, "lfw_funneled"), aligned, LAYOUTS["arcface"], find, "central", workers=workers)
        report.rows += one.rows
    train = _train_people(home)
    source = sources.open_source(aligned)
    chosen = [i for i, label in enumerate(source.labels) if source.class_names[label] in train]
    convert(sources.Subset(source, np.array(chosen)), os.path.join(dest, "train"), "folder", about="View 1")
    for name, pairs in (("lfw_dev.bin", "pairsDevTest.txt"), ("lfw.bin", "pairs.txt")):
        listed(aligned, os.path.join(home, pairs), os.path.join(dest, name))
    report.counts = {
        "images": len(source),
        "people": len(source.class_names),
        "training people": len(train),
        "training images": len(chosen),
    }
    return report.finish(os.path.join(dest, "lfw"))


def _home(data_home):
    """The folder with lfw_funneled and the lists; scikit-learn fetches what is missing, where it can."""
    home = os.path.join(get_data_home(data_home), "lfw_home")
    wanted = [os.path.join(home, name) for name in ("lfw_funneled", *LISTS)]
    if not all(map(os.path.exists, wanted)):
        try:
            for subset in ("train", "test", "10_folds"):
                fetch_lfw_pairs(subset=subset, data_home=data_home, resize=0.1)
        except OSError as error:  # URLError and time-outs are
            raise FileNotFoundError(
                f"LFW is not in {home} and could not be fetched ({error}). Where there is a network, fetch lfw-funneled.tgz, "
                f"{', '.join(LISTS)} from scikit-learn's mirror (see sklearn.datasets.fetch_lfw_pairs), unpack the first as "
                f"{wanted[0]}, put the others beside it, and run this again; --data-home names another folder."
            ) from error
    return home


def _train_people(home):
    """View 1's training people: of peopleDevTrain.txt where it is there, else those of the training pairs."""
    people = os.path.join(home, "peopleDevTrain.txt")
    if os.path.exists(people):
        with open(people, encoding="utf-8") as file:
            return {line.split()[0] for line in file if len(line.split()) == 2}
    known = pair_lists.read(os.path.join(home, "pairsDevTrain.txt"))
    return {os.path.dirname(name) for name in known.first + known.second}
