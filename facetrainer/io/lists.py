"""Text that lists images: csv, InsightFace's `.lst` and `label.txt`, `property`, `names.txt`."""

import csv
import io
import os

from facetrainer.utils.files import replacing

LISTS = (".csv", ".lst", ".txt", ".tsv")
IMAGE_COLUMNS, PERSON_COLUMNS = (
    ("image", "file", "path", "filename"),
    ("person", "label", "class", "identity", "id", "name"),
)


def read_list(path: str) -> tuple[list[str], list[str]]:
    """Reads a list of images and their people.

    csv: with a header (`image,person`) or image first. `.lst` and `label.txt`, tab-separated: `index label path` as im2rec
    writes it, `1 path label …` as InsightFace does, or `path label`. Blanks: `path label` (CASIA-WebFace's and SphereFace's lists,
    identity_CelebA.txt), or the path alone, whose folder is the person (VGGFace2's).

    Args:
        path: The list. Relative paths lie below its folder, those of CelebA's list in `img_align_celeba` near it.

    Returns:
        Paths and people.

    Raises:
        ValueError: A line is none of these; the message has its number.
    """
    rows = _rows(path)
    if not rows:
        raise ValueError(f"{path} is empty. Expected lines 'image,person'.")
    image, person = _columns(rows[0])
    rows = rows if image < 0 else rows[1:]
    pairs = [_row(row, image, person, f"{path}, line {number}") for number, row in enumerate(rows, 1 + (image >= 0))]
    home = _home(os.path.dirname(os.path.abspath(path)), pairs[0][0] if pairs else "")
    return [os.path.join(home, name) for name, _ in pairs], [who for _, who in pairs]


def _rows(path):
    text = read_text(path)
    first = text.strip().split("\n", 1)[0]
    delimiter = next((mark for mark in "\t," if mark in first), None)
    if delimiter is None:
        return [line.rsplit(None, 1) for line in text.split("\n") if line.strip()]
    try:
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        return [row for row in rows if row and any(row)]
    except csv.Error as error:
        raise ValueError(f"{path} is no list that can be read: {error}") from None


PLACES = ("", "../Img/img_align_celeba", "../img_align_celeba", "img_align_celeba")


def _home(folder, image):
    """Where the images of a list lie: below its folder, or where CelebA has them."""
    homes = [os.path.normpath(os.path.join(folder, place)) for place in PLACES]
    return next((home for home in homes if os.path.exists(os.path.join(home, image))), folder)


def read_text(path: str) -> str:
    """Content of a file, without the mark that Windows sets before UTF-8; lines as they are."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            return file.read()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8: {error}") from None


def _lines(path):
    return io.StringIO(read_text(path), newline=None)


def _columns(row):
    low = [cell.strip().lower() for cell in row]
    places = [next((low.index(name) for name in names if name in low), -1) for names in (IMAGE_COLUMNS, PERSON_COLUMNS)]
    return places if min(places) >= 0 else (-1, -1)


def _row(row, image, person, where):
    if image >= 0 and len(row) > max(image, person):
        return row[image], row[person]
    if image < 0 and len(row) == 2:
        return row[0], row[1]
    if image < 0 and len(row) > 2:
        return (row[-1], row[1]) if _is_number(row[1]) else (row[1], row[2])
    if len(row) == 1 and os.path.dirname(row[0]):
        return row[0].strip(), os.path.basename(os.path.dirname(row[0]))
    raise ValueError(f"{where}: expected an image and a person. Received: {row}")


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


def write_list(path: str, images: list[str], people: list[str]) -> None:
    """csv with the header `image,person`; paths relative to its folder where they lie below it."""
    home = os.path.dirname(os.path.abspath(path))
    below = [os.path.relpath(os.path.abspath(image), home) for image in images]
    names = [
        os.path.abspath(image) if name.startswith("..") else name for image, name in zip(images, below, strict=True)
    ]
    write_table(path, ["image", "person"], zip(names, people, strict=True))


def write_table(path: str, columns: list[str], rows) -> None:
    """csv, there when it is whole."""
    with replacing(path) as part, open(part, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def read_property(path: str) -> tuple[int, int, int]:
    """`property` of an InsightFace directory → (people, height, width)."""
    text = read_text(path)
    try:
        people, height, width = (int(word) for word in text.strip().split(","))
    except ValueError:
        raise ValueError(f"{path}: expected 'people,height,width'. Received: {text[:80]!r}") from None
    return people, height, width


def write_property(path: str, people: int, height: int, width: int) -> None:
    """`people,height,width` without a newline, as InsightFace writes it."""
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"{people},{height},{width}")


def read_names(path: str) -> dict[str, str]:
    """`label<TAB>name…` lines → {label: name}."""
    rows = [line.rstrip("\r\n").split("\t") for line in _lines(path) if line.strip()]
    if any(len(row) < 2 for row in rows):
        raise ValueError(f"{path}: expected lines 'label<TAB>name'. Received: {min(rows, key=len)}")
    return {row[0]: row[1] for row in rows}


def write_names(path: str, names: list[str], counts: list[int]) -> None:
    """`label<TAB>name<TAB>images` lines."""
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.writelines(
            f"{label}\t{name}\t{count}\n" for label, (name, count) in enumerate(zip(names, counts, strict=True))
        )
