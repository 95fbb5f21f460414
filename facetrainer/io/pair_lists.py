"""Lists of pairs of images, as people write them and as the authors of published sets lay them out."""

import csv
import dataclasses
import io
import os
import re
from collections.abc import Callable

from facetrainer.io import lists

NAMES = ("pairs.txt", "pairs.csv")
PATTERN = re.compile(r"(pairs?_.+|.+_pairs|bfw.*)\.(txt|csv)", re.IGNORECASE)
LABELS = {"0": False, "1": True, "0.0": False, "1.0": True, "false": False, "true": True}


@dataclasses.dataclass
class PairList:
    """Pairs of images and what the list tells of them.

    Attributes:
        first: Paths below the set's folder, or LFW's names.
        second: Likewise.
        same: Whether each pair is of one person.
        groups: Attributes by name, of the first and second image of each pair in turn, where the list has them.
    """

    first: list[str]
    second: list[str]
    same: list[bool]
    groups: dict[str, list[str]] = dataclasses.field(default_factory=dict)


def find(folder: str) -> str:
    """The list of a folder: `pairs.txt`, `pairs.csv`, or one named as in `pairs_CALFW.txt`, `xqlfw_pairs.txt`, `bfw-v0.1.5.csv`.

    CFP's `Protocol/Split/FP` and RFW's folder with `txts` and `data` are lists themselves.

    Returns:
        Path of the list.

    Raises:
        FileNotFoundError: There is none.
        ValueError: There are several; name one.
    """
    if layout_of(folder):
        return folder
    known = [name for name in NAMES if os.path.exists(os.path.join(folder, name))][:1]
    found = known or sorted(name for name in os.listdir(folder) if PATTERN.fullmatch(name))
    if len(found) > 1:
        raise ValueError(f"{folder} holds several lists of pairs: give one of {', '.join(found)} itself.")
    if not found:
        raise FileNotFoundError(
            f"{folder} holds no pairs.txt or pairs.csv: lines 'first second 0|1', paths below the folder."
        )
    return os.path.join(folder, found[0])


def layout_of(folder: str) -> Callable[[str], PairList] | None:
    """The reader of a published layout of several files, where a folder has one."""
    if os.path.exists(os.path.join(folder, "01", "same.txt")):
        return _cfp
    if all(os.path.isdir(os.path.join(folder, name)) for name in ("txts", "data")):
        return _rfw
    return None


def root_of(path: str) -> str:
    """The folder below which a list's paths lie."""
    if not os.path.isdir(path):
        return os.path.dirname(path)
    return os.path.normpath(os.path.join(path, "..", "..")) if layout_of(path) is _cfp else path


def read(path: str) -> PairList:
    """A list of pairs.

    A line is `first second 0|1`, separated by blanks, tabs or commas; LFW's `person i j` or `person i other j` (XQLFW and RFW have them
    as well); or an image, with or without 0|1 behind, two lines a pair (CALFW, CPLFW, SLLFW). A csv with columns `p1`, `p2` and `label`
    is BFW's; columns `att1` and `att2`, and others in twos, are attributes. A folder is CFP's split or all of RFW.

    Args:
        path: The file or folder.

    Returns:
        The pairs, and their attributes where the list names some.

    Raises:
        ValueError: A line is none of these; the message has its number.
    """
    if os.path.isdir(path):
        return layout_of(path)(path)
    rows = [
        re.split(r"[,\t]" if re.search(r"[,\t]", line) else r"\s+", line.strip())
        for line in io.StringIO(lists.read_text(path), newline=None)
        if line.strip() and not line.startswith("#")
    ]
    rows = [[cell.strip() for cell in row] for row in rows]
    if rows and {"p1", "p2", "label"} <= {cell.lower() for cell in rows[0]}:
        return _table(path)
    if rows and len(rows) % 2 == 0 and all(_is_image(row[0]) and len(row) <= 2 for row in rows):
        return _two_lines(rows, path)
    return _listed([row for row in rows if len(row) > 2], path)


def _listed(rows, path):
    rows = rows[1:] if rows and rows[0][-1].lower() in ("same", "issame", "label") else rows
    found = [_pair(row, f"{path}, pair {number}") for number, row in enumerate(rows, 1)]
    if not found:
        raise ValueError(f"{path} lists no pair. Expected lines 'first second 0|1'.")
    return PairList(*map(list, zip(*found, strict=True)))


def _pair(row, where):
    if len(row) == 3 and row[1].isdigit():
        return _lfw(row[0], row[1]), _lfw(row[0], row[2]), True
    if len(row) == 4 and row[1].isdigit() and row[3].isdigit():
        return _lfw(*row[:2]), _lfw(*row[2:]), False
    if len(row) == 3 and row[2] in ("0", "1"):
        return row[0], row[1], row[2] == "1"
    raise ValueError(f"{where}: expected 'first second 0|1' or LFW's 'person i j'. Received: {' '.join(row)}")


def _lfw(person, number):
    return os.path.join(person, f"{person}_{int(number):04d}.jpg")


def _is_image(name):
    return os.path.splitext(name)[1].lower() in (".jpg", ".jpeg", ".png", ".bmp")


def person_of(path: str) -> str:
    """The person of an image: its folder (above CFP's frontal and profile), else its name without the numbers at the end, as LFW's are."""
    folder = os.path.dirname(path)
    folder = os.path.dirname(folder) if os.path.basename(folder) in ("frontal", "profile") else folder
    return folder or re.sub(r"(_\d+)+$", "", os.path.splitext(path)[0])


def _two_lines(rows, path):
    first, second = ([row[0] for row in rows[k::2]] for k in (0, 1))
    if len(rows[0]) == 1:
        return PairList(first, second, [person_of(a) == person_of(b) for a, b in zip(first, second, strict=True)])
    marks = [{row[-1] for row in pair} for pair in zip(rows[::2], rows[1::2], strict=True)]
    wrong = next((k for k, mark in enumerate(marks) if len(mark) > 1), None)
    if wrong is not None:
        raise ValueError(
            f"{path}, lines {2 * wrong + 1} and {2 * wrong + 2}: expected one mark for both. Received: {marks[wrong]}"
        )
    return PairList(first, second, [mark != {"0"} for mark in marks])


def _table(path):
    """csv with p1, p2, label, and attributes in columns that end in 1 and 2."""
    reader = csv.DictReader(io.StringIO(lists.read_text(path)))
    names = {str(name).strip().lower(): name for name in reader.fieldnames or ()}
    twos = [
        name[:-1]
        for name in names
        if name.endswith("1") and name[:-1] + "2" in names and name not in ("p1", "id1", "ids1")
    ]
    found = PairList([], [], [], {name.rstrip("_") or name: [] for name in twos})
    for number, row in enumerate(reader, 2):
        mark = str(row[names["label"]]).strip().lower()
        if mark not in LABELS or not row[names["p1"]] or not row[names["p2"]]:
            raise ValueError(
                f"{path}, line {number}: expected p1, p2 and a label 0 or 1. Received: {list(row.values())[:6]}"
            )
        found.first.append(row[names["p1"]])
        found.second.append(row[names["p2"]])
        found.same.append(LABELS[mark])
        for name in twos:
            found.groups[name.rstrip("_") or name] += [row[names[name + "1"]] or "", row[names[name + "2"]] or ""]
    if not found.same:
        raise ValueError(f"{path} lists no pair. Expected lines below 'p1,p2,label'.")
    return found


def _cfp(folder):
    """Ten folds of `same.txt` and `diff.txt`, each line two numbers of `Pair_list_F.txt` and, in FP's, of `Pair_list_P.txt`."""
    protocol, profile = os.path.join(folder, "..", ".."), os.path.basename(os.path.normpath(folder)).upper() == "FP"
    frontal = _numbered(os.path.join(protocol, "Pair_list_F.txt"))
    other = _numbered(os.path.join(protocol, "Pair_list_P.txt")) if profile else frontal
    found = PairList([], [], [])
    for fold in sorted(name for name in os.listdir(folder) if name.isdigit()):
        for name, same in (("same.txt", True), ("diff.txt", False)):
            where = os.path.join(folder, fold, name)
            for number, line in enumerate(lists.read_text(where).split(), 1):
                a, _, b = line.partition(",")
                if a not in frontal or b not in other:
                    raise ValueError(
                        f"{where}, line {number}: expected two numbers of the lists of images. Received: {line}"
                    )
                found.first.append(frontal[a])
                found.second.append(other[b])
                found.same.append(same)
    return found


def _numbered(path):
    """`number path` lines, paths from the list's folder on."""
    rows = [line.split(None, 1) for line in lists.read_text(path).splitlines() if line.strip()]
    if any(len(row) != 2 for row in rows):
        raise ValueError(f"{path}: expected lines 'number path'. Received: {min(rows, key=len)}")
    return {number: os.path.normpath(name.strip()) for number, name in rows}


FOLDS = 10


def _rfw(folder):
    """The lists of all races, fold by fold, with the attribute "race"; images lie in `data/RACE`."""
    races = sorted(
        name for name in os.listdir(os.path.join(folder, "txts")) if os.path.isdir(os.path.join(folder, "txts", name))
    )
    read_ones = [(race, read(os.path.join(folder, "txts", race, f"{race}_pairs.txt"))) for race in races]
    if not read_ones:
        raise ValueError(f"{folder}/txts: expected African/African_pairs.txt and the like. It holds no folder.")
    found = PairList([], [], [], {"race": []})
    for fold in range(FOLDS):
        for race, one in read_ones:
            part = slice(fold * len(one.same) // FOLDS, (fold + 1) * len(one.same) // FOLDS)
            for mine, theirs in ((found.first, one.first), (found.second, one.second)):
                mine += [os.path.join("data", race, path) for path in theirs[part]]
            found.same += one.same[part]
            found.groups["race"] += [race] * (2 * (part.stop - part.start))
    return found
