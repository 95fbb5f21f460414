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


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    main = run.describe("recipes", __doc__)
    main.add_argument("recipe", nargs="?", help="tell all of one")
    main.add_argument("--markdown", action="store_true", help="the published ones as a table in Markdown")
    return main


def main(argv: list[str] | None = None) -> int:
    """Prints them; exit codes of `run.call`."""
    return run.call(parser(), _work, argv)


def _work(a):
    if a.recipe:
        print(told(recipe.find(a.recipe)))
    elif a.markdown:
        print(markdown())
    else:
        print("\n".join([*_listed("shipped", recipe.SHIPPED), "", *_listed("published", recipe.PUBLISHED)]))


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
    """
    with open(path, encoding="utf-8") as file:
        tree = ast.parse(file.read())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    stating = [one for one in calls if ast.unparse(one.func).rpartition(".")[2] in ("Published", "arcface_torch")]
    facts = {one.arg: ast.literal_eval(one.value) for call in stating for one in call.keywords}
    if "config" in facts:
        facts["batch"] = facts["batch_size"] * facts["gpus"]
        facts["source"] = f"arcface_torch, configs/{facts['config']}.py"
    return ast.get_docstring(tree) or "", facts


def told(path: str) -> str:
    """All that a recipe says of itself."""
    text, facts = read(path)
    rows = [f"source: {facts['source']}"] if facts else []
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
    return text.splitlines()[0].rstrip(".")


def _results(facts, before):
    found = ", ".join(f"{name} {value:.2f}" for name, value in facts.get("results", {}).items())
    return before + found if found else ""
