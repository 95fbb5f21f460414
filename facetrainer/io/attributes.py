"""Tables of attributes and of qualities of images or people."""

import csv
import io

import numpy as np
import pandas as pd

from facetrainer.utils.files import read_bytes

IMAGE = ("image", "filename", "file", "path")
PERSON = ("person", "identity", "name", "id", "label")


def read(path: str) -> pd.DataFrame:
    """A csv with a column of images or of people, and others; separated by commas, semicolons or tabs, as OFIQ and Excel write them.

    Args:
        path: The file. Columns `image`, `filename`, `file` or `path` name images, `person`, `identity`, `name`, `id` or `label` people.

    Returns:
        Other columns, as they are, indexed by the image or person as text; the index is named "image" or "person".

    Raises:
        ValueError: It has no such column, no other, or names one of them twice.
    """
    text = read_bytes(path).decode("utf-8-sig", errors="replace")
    first = text.split("\n", 1)[0]
    mark = max(",;\t", key=first.count)
    try:
        table = pd.read_csv(io.StringIO(text), sep=mark, dtype=str, keep_default_na=False, quoting=csv.QUOTE_MINIMAL)
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise ValueError(f"{path} is no table that can be read: {error}") from None
    names = {str(column).strip().lower(): column for column in table.columns}
    kind, column = next(
        ((kind, names[one]) for kind, known in (("image", IMAGE), ("person", PERSON)) for one in known if one in names),
        ("", ""),
    )
    if not kind or table.shape[1] < 2:
        raise ValueError(
            f"{path}: expected a column image or person, and others. Received: {', '.join(map(str, table.columns))}"
        )
    table = table.set_index(column).rename_axis(kind)
    if table.index.has_duplicates:
        raise ValueError(f"{path}: {table.index[table.index.duplicated()][0]!r} stands there twice.")
    return table


def of_images(table: pd.DataFrame, paths: list[str], people: list[str] | None, where: str) -> pd.DataFrame:
    """Rows of a table for each image of a set.

    Args:
        table: From `read`.
        paths: Of the images, below the set's folder; of a `.bin`, whose images have no names, "0", "1", …
        people: Person of each image, where the set names them.
        where: The table's path, for errors.

    Returns:
        As many rows as images, with nan where the table has none.

    Raises:
        ValueError: The table has people and the set names none, or fewer than half of the images are in the table.
    """
    if table.index.name == "person" and people is None:
        raise ValueError(
            f"{where} is about people, whom this set does not name. Give a table of images; those of a .bin are called 0, 1, ..."
        )
    keys = paths if table.index.name == "image" else people
    found = table.reindex(keys)
    known = int(np.sum(np.isin(keys, table.index)))
    if known * 2 < len(keys):
        raise ValueError(
            f"{where}: {known} of {len(keys)} images of the set are in the table. It has {table.index[0]!r}, the set {keys[0]!r}."
        )
    return found.reset_index(drop=True)
