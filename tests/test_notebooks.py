"""Every notebook of examples/, from top to bottom, offline: python -m pytest -m notebook

The gate leaves out the digits, which take three minutes.
"""

import glob
import os

import nbformat
import pytest
from helpers import ROOT
from nbclient import NotebookClient

pytestmark = [pytest.mark.notebook, pytest.mark.timeout(700)]
NAMES = sorted(os.path.basename(path) for path in glob.glob(f"{ROOT}/examples/*.ipynb"))


def ends(notebook):
    """What the cells' last lines gave, as text: of a command its exit code."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [one["data"].get("text/plain") for one in outputs if one["output_type"] == "execute_result"]


def printed(notebook):
    return "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_from_top_to_bottom(name, workdir, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", ROOT)
    monkeypatch.setenv("FACE_CACHE", str(workdir / "cache"))
    # a reader's: conftest.py's are for the tests' programs, and slow those that run for longer
    for chosen in ("KERAS_BACKEND", "XLA_FLAGS", "JAX_DISABLE_MOST_OPTIMIZATIONS"):
        monkeypatch.delenv(chosen, raising=False)
    notebook = nbformat.read(os.path.join(ROOT, "examples", name), 4)
    assert any(cell.get("outputs") for cell in notebook.cells), "it carries no outputs"
    assert not {"1", "2"} & set(ends(notebook)), "it carries the output of a command that failed"
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(workdir)}}).execute()
    assert not {"1", "2"} & set(ends(notebook)), "a command failed"
    if name == "01_train.ipynb":
        assert "Did you mean 'epoch'?" in printed(notebook) and "next epoch: 5  rows of history: 5" in printed(notebook)
