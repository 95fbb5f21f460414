"""What README and the docs say is so: links lead somewhere, commands are taken, code runs, the site builds."""

import ast
import importlib
import inspect
import os
import pkgutil
import re
import shlex
import subprocess
import sys
import textwrap

import cv2
import keras
import numpy as np
import pytest
from helpers import ROOT
from pages import CODE, PAGES, blocks, code_with, run_small, text_of

import facetrainer
from facetrainer import losses, models
from facetrainer.cli import main
from facetrainer.data.images import decode


def anchors(page):
    """Of the headings, as mkdocs and GitHub make them."""
    headings = re.findall(
        r"^#+ (.*)$", re.sub(r"^```.*?^```", "", text_of(page), flags=re.MULTILINE | re.DOTALL), re.MULTILINE
    )
    return {re.sub(r"[^\w\- ]", "", one.lower()).strip().replace(" ", "-") for one in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        if re.match(r"https?://|mailto:", target):
            continue
        path, _, anchor = target.partition("#")
        there = os.path.normpath(os.path.join(ROOT, os.path.dirname(page), path)) if path else os.path.join(ROOT, page)
        assert os.path.exists(there), target
        if anchor and "--8<--" not in text_of(there):
            assert anchor in anchors(os.path.relpath(there, ROOT)), target


def calls(page):
    """Command lines of `facetrainer` in a page's bash blocks."""
    for block in blocks(page, "bash"):
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            words = shlex.split(line, comments=True)
            named = [k for k, word in enumerate(words) if word == "facetrainer"]
            begins = [k for k in named if k == 0 or (words[k + 1 : k + 2] and words[k + 1] in main.COMMANDS)]
            if begins:
                words = words[begins[0] + 1 :]
                end = next((k for k, word in enumerate(words) if word in ("&&", "|", ">")), len(words))
                yield words[:end]


@pytest.mark.parametrize("page", [page for page in PAGES if any(calls(page))])
def test_commands_are_taken(page):
    for words in calls(page):
        if words and not words[0].startswith("-"):
            assert words[0] in main.COMMANDS, words
            importlib.import_module(f"facetrainer.cli.{words[0]}").parser().parse_args(
                words[1:]
            )  # exits where it is wrong


@pytest.mark.parametrize("page, code", CODE, ids=[f"{page} {code.strip().splitlines()[0][:40]}" for page, code in CODE])
def test_code_names_what_is_there(page, code):
    tree, modules = ast.parse(code), {"facetrainer": facetrainer}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("facetrainer"):
            module = importlib.import_module(node.module)
            for one in node.names:
                modules[one.asname or one.name] = getattr(module, one.name)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            assert hasattr(modules[node.value.id], node.attr), f"{node.value.id}.{node.attr}"


def test_the_quickstart_trains(record, bin_file, workdir):
    run_small(code_with("docs/quickstart.md", "sets/train"), **{"sets/train": record, "own.bin": bin_file})
    assert os.path.exists("checkpoints/own_basic_model_latest.keras")


def test_readmes_schedule_is_taken(record, bin_file, workdir):
    sets = {"/datasets/faces_emore": record, '"lfw.bin", "agedb_30.bin"': repr(bin_file)}
    run_small(code_with("README.md", "faces_emore"), **sets)
    assert os.path.exists("checkpoints/run_basic_model_latest.keras")


def test_a_loss_of_ones_own(workdir):
    names = {}
    exec(code_with("docs/guides/losses.md", "class KindMarginLoss"), names)
    try:
        cosine = keras.ops.convert_to_tensor([[0.9, 0.1], [0.2, 0.1]])
        value = names["KindMarginLoss"](scale=8).call(keras.ops.convert_to_tensor([0, 1]), cosine)
        assert value.shape == (2,) and float(value[0]) < float(value[1])
        assert isinstance(losses.get("KindMarginLoss"), names["KindMarginLoss"])
    finally:
        for name in [name for name in losses.REGISTRY if "kind" in str(name).lower()]:
            losses.REGISTRY.pop(name)


@pytest.mark.parametrize("form, name", [("onnx", "face.onnx"), ("litert", "face.tflite")])
def test_an_exported_file_needs_no_package_of_ours(form, name, people, workdir):
    from facetrainer.cli import convert

    embedder = models.buildin_models("r_tiny", emb_shape=8)
    embedder.save("face.keras")
    crop = decode(people[0][0], (112, 112))
    assert cv2.imwrite("crop.png", crop[:, :, ::-1])
    assert convert.main(["export", "face.keras", "--to", form, "-o", name]) == 0
    names = {}
    exec(code_with("docs/guides/models.md", name), names)
    wanted = keras.ops.convert_to_numpy(embedder((crop[None].astype("float32") - 127.5) / 128))[0]
    np.testing.assert_allclose(names["embedding"], wanted / np.linalg.norm(wanted), atol=1e-4)


PACKAGES = "backbones data evaluation finetuning heads losses metrics models optimizers preparing recognition reporting training weights"


def public():
    """Functions and classes that the packages hand out: name → object."""
    found = {"Train": facetrainer.Train, "devices": facetrainer.devices}
    for package in PACKAGES.split():
        module = importlib.import_module(f"facetrainer.{package}")
        for name in getattr(module, "__all__", None) or [one for one in dir(module) if not one.startswith("_")]:
            thing = getattr(module, name)
            ours = (getattr(thing, "__module__", None) or "").startswith("facetrainer.") and name != "attach"
            if callable(thing) and ours:
                found[f"{package}.{name}"] = thing
    return found


def lacks(thing):
    """What the docstring of a function or class does not tell, or tells of nothing."""
    doc, is_class = inspect.getdoc(thing) or "", inspect.isclass(thing)
    signature = inspect.signature(thing.__init__ if is_class else thing).parameters
    names = [one for one in signature if one not in ("self", "args", "kwargs", "name", "dtype")]
    arguments, attributes = section(doc, "Args"), section(doc, "Attributes")
    found = [one for one in names if not re.search(rf"(?<![\w`]){one}(?:,[ \w,]+)?:", arguments + attributes)]
    documented = re.findall(r"^    \*{0,2}(\w+)(?:, \w+)*:", arguments, re.MULTILINE)
    found += [f"no argument {one}" for one in documented if one not in signature and "kwargs" not in signature]
    untold = (
        not is_class and names and not re.search("^(Returns|Yields):", doc, re.MULTILINE) and gives_something(thing)
    )
    return [*found, *(["Returns"] if untold else [])] if doc else ["everything"]


def section(doc, name):
    return "".join(re.findall(rf"^{name}:\n((?:[ ]+.*\n|\n)*)", doc + "\n", re.MULTILINE))


def gives_something(function):
    """Whether it returns or yields a value, functions inside it left out."""
    nodes = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0].body
    while nodes:
        node = nodes.pop()
        if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Lambda)):
            continue
        if isinstance(node, (ast.Return, ast.Yield, ast.YieldFrom)) and node.value is not None:
            return True
        nodes += list(ast.iter_child_nodes(node))
    return False


def test_public_docstrings_are_whole():
    found = {name: lacks(thing) for name, thing in public().items()}
    assert len(found) > 140 and {name: what for name, what in found.items() if what} == {}


def unhinted(function):
    """Parameters of a function whose type is not told, and "return"."""
    signature = inspect.signature(function)
    told = [one for one in signature.parameters.values() if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    missing = [one.name for one in told if one.annotation is one.empty and one.name not in ("self", "cls")]
    returns = signature.return_annotation is signature.empty and function.__name__ != "__init__"
    return missing + ["return"] * returns


def signatures():
    for name, thing in public().items():
        if inspect.isfunction(thing):
            yield name, thing
        for key, value in vars(thing).items() if inspect.isclass(thing) else ():
            method = getattr(value, "__func__", value)
            ours = inspect.isfunction(method) and method.__module__.startswith("facetrainer")
            if ours and (not key.startswith("_") or key in ("__init__", "__call__")):
                yield f"{name}.{key}", method


def test_public_signatures_tell_their_types():
    """`mypy` checks them, in the gate."""
    found = {name: unhinted(function) for name, function in signatures()}
    assert len(found) > 350 and {name: what for name, what in found.items() if what} == {}


def documented():
    """What every module defines and does not hide, with its docstring, which a method may inherit."""
    for info in pkgutil.walk_packages(facetrainer.__path__, "facetrainer."):
        if "recipes" in info.name or info.name.endswith("__main__"):
            continue
        module = importlib.import_module(info.name)
        for name, thing in vars(module).items():
            if getattr(thing, "__module__", None) != info.name or name.startswith("_"):
                continue
            if inspect.isclass(thing) or inspect.isfunction(thing) and "<" not in thing.__qualname__:
                yield f"{info.name}.{name}", inspect.getdoc(thing)
            for key, value in vars(thing).items() if inspect.isclass(thing) else ():
                function = getattr(value, "fget", getattr(value, "__func__", value))
                if inspect.isfunction(function) and not key.startswith("_"):
                    method = value if isinstance(value, property) else getattr(thing, key)
                    yield f"{info.name}.{name}.{key}", inspect.getdoc(method)


def test_everything_that_is_not_hidden_has_a_docstring():
    found = dict(documented())
    assert len(found) > 1000 and [name for name, doc in found.items() if not doc] == []


def test_the_version_is_said_alike():
    wanted = facetrainer.__version__
    assert f"\nversion: {wanted}\n" in text_of("CITATION.cff") and f"\n## {wanted}\n" in text_of("CHANGELOG.md")


def test_the_site_builds(tmp_path):
    """Strictly: a link, an anchor, or a documented parameter that is not there fails."""
    pytest.importorskip("mkdocs")
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    call = [sys.executable, "-m", "mkdocs", "build", "-q", "-d", str(tmp_path)]
    done = subprocess.run(call, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    page = (tmp_path / "reference" / "losses.html").read_text(encoding="utf-8")
    assert "ArcfaceLoss" in page and "https://fonts" not in page
    page = (tmp_path / "guides" / "losses.html").read_text(encoding="utf-8")
    assert page.count("<math") > 15 and "$" not in page.replace("$FACE_DATA", "")
