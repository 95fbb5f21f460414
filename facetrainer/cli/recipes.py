"""What there is to train: recipes that are shipped, and those that others have published, with what they report.

Examples:
  facetrainer recipes                     a table
  facetrainer recipes ms1mv3_r50          one of them: source, data, expected numbers, and where its file lies
  facetrainer train ms1mv3_r50 --dry-run  its stages, steps, learning rate and memory
"""

from __future__ import annotations

import argparse
import ast
import os

from facetrainer.cli import recipe, run
from facetrainer.utils.files import read_bytes


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    main = run.describe("recipes", __doc__)
    main.add_argument("recipe", nargs="?", help="tell all of one")
    run.add_json(main, "the same: title, source, data, expected numbers and file of each")
    main.add_argument("--markdown", action="store_true", help="the published ones as a table in Markdown")
    return main


def main(argv: list[str] | None = None) -> int:
    """Prints them; exit codes of `run.call`."""
    return run.call(parser(), _work, argv)


def _work(a):
    if a.recipe:
        print(told(recipe.find(a.recipe)))
        return as_dict(recipe.find(a.recipe))
    folders = {"shipped": recipe.SHIPPED, "published": recipe.PUBLISHED}
    lists = [line for title, folder in folders.items() for line in (*_listed(title, folder), "")]
    print(markdown() if a.markdown else "\n".join(lists[:-1]))
    return {
        title: [as_dict(os.path.join(folder, f"{name}.py")) for name in recipe.names(folder)]
        for title, folder in folders.items()
    }


def as_dict(path: str) -> dict:
    """What a recipe says of itself, for JSON."""
    text, facts = read(path)
    name = os.path.splitext(os.path.basename(path))[0]
    return {"name": name, "title": _title(text), "text": text, "file": os.path.abspath(path), **facts}


def _listed(title, folder):
    found = {name: read(os.path.join(folder, f"{name}.py")) for name in recipe.names(folder)}
    width = max(map(len, found))
    return [
        f"{title}:",
        *(f"  {name:{width}}  {_title(text)}{_results(facts, '; ')}" for name, (text, facts) in found.items()),
    ]


def read(path: str) -> tuple[str, dict]:
    """Docstring of a recipe and what it states of its source, read off the text: nothing is run.

    Args:
        path: Its file.

    Returns:
        The docstring, and values by the names of `Published` and of `arcface_torch`'s arguments.

    Raises:
        ValueError: It is no Python file, or states something else than literals.
    """
    try:
        tree = ast.parse(read_bytes(path))
        facts = _facts(tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"{path} is no recipe that can be read: {error}. Expected a Python file.") from error
    if "config" in facts:
        facts["batch"] = facts["batch_size"] * facts["gpus"]
        facts["source"] = f"arcface_torch, configs/{facts['config']}.py"
    return ast.get_docstring(tree) or "", facts


def _facts(tree):
    """Arguments of the calls that state where a recipe is from; each has to be a literal."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    stating = [one for one in calls if ast.unparse(one.func).rpartition(".")[2] in ("Published", "arcface_torch")]
    return {one.arg: ast.literal_eval(one.value) for call in stating for one in call.keywords}


def told(path: str) -> str:
    """All that a recipe says of itself."""
    text, facts = read(path)
    rows = [f"source: {facts['source']}", f"data: {os.path.join('FACE_DATA', facts['data'])}"] if facts else []
    rows += [f"{name}: {facts[name]:,}" for name in ("images", "identities", "batch") if facts]
    rows += [f"expected: {_results(facts, '')}"] if facts.get("results") else []
    return "\n".join([text, "", *rows, f"file: {path}"])


def markdown() -> str:
    """The published recipes as a table."""
    rows = [
        "| recipe | what | images | identities | batch | reported, % | source |",
        "| --- | --- | --: | --: | --: | --- | --- |",
    ]
    for name in recipe.names(recipe.PUBLISHED):
        text, facts = read(os.path.join(recipe.PUBLISHED, f"{name}.py"))
        numbers = [f"{facts[one]:,}" for one in ("images", "identities", "batch")]
        rows.append(f"| {' | '.join([f'`{name}`', _title(text), *numbers, _results(facts, ''), facts['source']])} |")
    return "\n".join(rows)


def _title(text):
    return text.partition("\n")[0].rstrip(".")


def _results(facts, before):
    found = ", ".join(f"{name} {value:.2f}" for name, value in facts.get("results", {}).items())
    return before + found if found else ""
