"""mkdocs hook: $...$ in a page becomes MathML, which browsers set by themselves; code stays as it is. GitHub sets the same source."""

import re

from latex2mathml.converter import convert

CODE = re.compile(r"(^```.*?^```|`[^`\n]*`)", re.MULTILINE | re.DOTALL)
EQUATION = re.compile(r"\$(?=\S)([^$\n]+?)(?<=\S)\$")


def on_page_markdown(markdown, **_):
    """Called by mkdocs with the text of each page."""
    pieces = CODE.split(markdown)
    pieces[::2] = [EQUATION.sub(lambda found: convert(found[1]), piece) for piece in pieces[::2]]
    return "".join(pieces)
