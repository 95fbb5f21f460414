"""The floors of the house, read off the imports."""

import ast
import os

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FLOORS = {
    "formats": 0, "augment": 0, "criteria": 0,
    "measures": 1, "foreign": 1, "backbones": 1, "losses": 1, "optimizers": 1, "data": 1,
    "models": 2, "evals": 2, "myCallbacks": 2, "plot": 2, "faces": 2, "runs.checkpoint": 2, "runs.memory": 2, "runs.stages": 2,
    "train": 3, "prepare": 3, "deploy": 3, "convert": 4,
    "prepare_data": 4, "IJB_evals": 4, "eval_folder": 4, "data_distiller": 4, "data_drop_top_k": 4,
    "runs.command": 4, "runs.recipe": 4, "runs.plan": 4, "runs.report": 4, "runs.html": 4, "runs.cli": 0,
}  # fmt: skip
SAME_FLOOR = {
    ("evals", "models"),
    ("faces", "models"),
    ("evals", "faces"),
    ("evals", "plot"),
    ("runs.command", "runs"),
    ("runs.html", "runs.report"),
    ("runs.command", "runs.plan"),
}
TENSORFLOW = {
    "data.py", "optimizers.py", os.path.join("backbones", "fused_norm.py"), os.path.join("deploy", "write.py"),
    os.path.join("foreign", "saved_model.py"),
}  # fmt: skip


def modules():
    for folder, names, files in os.walk(ROOT):
        names[:] = [
            n
            for n in names
            if n[0] != "." and n not in ("tests", "build", "examples", "benchmarks", "recipes", "checkpoints")
        ]
        for file in files:
            path = os.path.relpath(os.path.join(folder, file), ROOT)
            if path.endswith(".py") and path != "setup.py":
                yield path


def imports(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        tree = ast.parse(file.read())
    main = [n for n in tree.body if isinstance(n, ast.If) and "__main__" in ast.unparse(n.test)]
    skipped = {id(child) for node in main for child in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def floor(name):
    for known in (".".join(name.split(".")[:2]), name.split(".")[0]):
        if known in FLOORS:
            return known, FLOORS[known]
    return None, -1


@pytest.mark.parametrize("path", sorted(modules()))
def test_floors(path):
    own, mine = floor(path.removesuffix(".py").replace(os.sep, "."))
    assert own or path == os.path.join("runs", "__init__.py"), f"{path} has no floor: give it one in {__file__}"
    for name in imports(path):
        other, theirs = floor(name)
        if other and other != own and other.split(".")[0] != (own or "").split(".")[0]:
            assert theirs < mine or (own, other) in SAME_FLOOR, f"{path} (floor {mine}) imports {name} (floor {theirs})"
        if name.split(".")[0] == "tensorflow":
            assert path in TENSORFLOW, f"{path} imports tensorflow: only {sorted(TENSORFLOW)} may"


def test_readme_names_every_loss_and_key_and_argument():
    import inspect

    import backbones
    import losses
    import train
    from runs import stages

    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        text = file.read()
    assert [name for name in losses.REGISTRY if f"`{name}`" not in text] == []
    assert [name for name in backbones.names() if f"`{name}`" not in text] == []
    assert [key for key in stages.KEYS if f"`{key}`" not in text] == []
    described = text + (train.Train.__doc__ or "")
    assert [name for name in inspect.signature(train.Train).parameters if name not in described] == []
