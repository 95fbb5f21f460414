"""Titles, tables and figures one below the other on pages of A4."""

import io
import textwrap

import matplotlib.image
import pandas as pd
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure

WIDTH, HEIGHT, MARGIN = 8.27, 11.69, 0.6  # inches
LINE, LETTERS, NARROW, ACROSS = 0.15, 36, 16, 110  # inches; letters of a cell, of one in a wide table, of a table


class Flow:
    """Pages that are filled from above.

    Args:
        pages: Where finished pages go.
    """

    def __init__(self, pages: PdfPages):
        self.pages = pages
        self._begin()

    def _begin(self):
        self.page = Figure(figsize=(WIDTH, HEIGHT))
        self.at = HEIGHT - MARGIN

    def end(self) -> None:
        """Puts out the last page."""
        self.pages.savefig(self.page)

    def _room(self, inches):
        if self.at - inches < MARGIN and self.at < HEIGHT - MARGIN:
            self.end()
            self._begin()

    def heading(self, title: str, note: str, room: float) -> None:
        """A title and a line below it, on a page that has so many inches for what follows."""
        self._room(room + 0.5)
        for line, size in ((title, 12), (note, 8)):
            if line:
                wrapped = textwrap.fill(line, 110)
                self.page.text(MARGIN / WIDTH, self.at / HEIGHT, wrapped, fontsize=size, va="top")
                self.at -= size / 72 * 1.5 * (wrapped.count("\n") + 1)

    def height_of(self, what: pd.DataFrame | Figure) -> float:
        """Inches of a figure, or of the begin of a table."""
        return self._size(what)[1] + 0.15 if isinstance(what, Figure) else min(1.5, LINE * 2 * (len(what) + 1))

    @staticmethod
    def _size(drawn):
        width, height = drawn.get_size_inches()
        scale = min(1, (WIDTH - 2 * MARGIN) / width, 0.8)
        return width * scale, height * scale

    def add(self, what: pd.DataFrame | Figure) -> None:
        """A figure, or a table, which goes on on the next page where this one ends."""
        if isinstance(what, Figure):
            self._add_figure(what)
        else:
            wide = sum(what[name].astype(str).str.len().clip(upper=LETTERS).max() for name in what) > ACROSS
            self._add_table(what.astype(str).map(lambda cell: textwrap.fill(cell, NARROW if wide else LETTERS)))
        self.at -= 0.15

    def _add_figure(self, drawn):
        file = io.BytesIO()
        drawn.savefig(file, format="png", dpi=200)
        file.seek(0)
        width, height = self._size(drawn)
        self._room(height)
        self.at -= height
        axes = self.page.add_axes((MARGIN / WIDTH, self.at / HEIGHT, width / WIDTH, height / HEIGHT))
        axes.imshow(matplotlib.image.imread(file), aspect="auto", interpolation="none")
        axes.axis("off")

    def _add_table(self, frame):
        names = [textwrap.fill(str(name), 12) for name in frame.columns]
        lines = [max(str(cell).count("\n") + 1 for cell in row) for row in frame.to_numpy()]
        widths = [
            max(len(part) for cell in [name, *frame.iloc[:, k]] for part in cell.split("\n"))
            for k, name in enumerate(names)
        ]
        head, begin = max(name.count("\n") + 1 for name in names), 0
        while begin < len(frame):
            room, end = self.at - MARGIN - LINE * (head + 0.4), begin
            while end < len(frame) and (end == begin or sum(lines[begin : end + 1]) * LINE * 1.15 <= room):
                end += 1
            self._table(names, frame.iloc[begin:end], [head, *lines[begin:end]], widths)
            begin = end
            if begin < len(frame):
                self.end()
                self._begin()

    def _table(self, names, part, lines, widths):
        height = sum(lines) * LINE * 1.15
        self.at -= height
        wide = min((sum(widths) + len(widths)) * 0.062, WIDTH - 2 * MARGIN)
        axes = self.page.add_axes((MARGIN / WIDTH, self.at / HEIGHT, wide / WIDTH, height / HEIGHT))
        axes.axis("off")
        cells = axes.table(
            part.to_numpy().tolist(), colLabels=names, bbox=(0, 0, 1, 1), cellLoc="right", colWidths=widths
        )
        cells.auto_set_font_size(False)
        cells.set_fontsize(6)
        for (row, _), cell in cells.get_celld().items():
            cell.set(height=lines[row] / sum(lines), linewidth=0.3, edgecolor="#bbbbbb")
            cell.get_text().set_weight("bold" if row == 0 else "normal")
