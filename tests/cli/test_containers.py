"""Dockerfile and compose.yaml. There is no engine in tests: they are parsed, and what they run is run here."""

import fnmatch
import json
import os
import re
import subprocess
import sys
import tomllib

import pytest
import yaml
from helpers import ROOT

from facetrainer.cli.main import COMMANDS


def instructions():
    """[(instruction, arguments)] of the Dockerfile, comments and continued lines resolved."""
    text = open(os.path.join(ROOT, "Dockerfile"), encoding="utf-8").read()
    text = re.sub(r"\\\n", " ", re.sub(r"^\s*#.*\n", "", text, flags=re.M))
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]


def of(name):
    return [arguments for instruction, arguments in instructions() if instruction == name]


@pytest.fixture
def project():
    with open(os.path.join(ROOT, "pyproject.toml"), "rb") as file:
        return tomllib.load(file)["project"]


@pytest.fixture
def services():
    with open(os.path.join(ROOT, "compose.yaml"), encoding="utf-8") as file:
        return yaml.safe_load(file)["services"]


def test_every_instruction_is_one():
    known = {"FROM", "ARG", "ENV", "WORKDIR", "COPY", "RUN", "VOLUME", "EXPOSE", "ENTRYPOINT", "CMD"}
    assert {name for name, _ in instructions()} <= known and instructions()[0][0] == "FROM"


def test_what_is_copied_is_there_and_not_ignored():
    kept = {line[1:] for line in open(os.path.join(ROOT, ".dockerignore")).read().split() if line.startswith("!")}
    for sources in of("COPY"):
        for source in sources.split()[:-1]:
            assert os.path.exists(os.path.join(ROOT, source)) and source in kept


@pytest.mark.parametrize("extras", ["cpu", "gpu"])
def test_what_is_installed_is_offered(project, extras):
    (install,) = of("RUN")
    asked = subprocess.run(["sh", "-c", f"EXTRAS={extras}; echo {install}"], capture_output=True, text=True).stdout
    wanted = re.search(r"\.\[(.*)\]", asked)[1].split(",")
    assert set(wanted) <= set(project["optional-dependencies"]) and wanted == ["board", extras]
    version = re.fullmatch(r"python:(\d\.\d+)-slim", of("FROM")[0])[1]
    assert fnmatch.fnmatch(project["requires-python"], f">={version}")


def test_the_entry_point_runs_its_default_command(project):
    (entry,), (command,) = json.loads(of("ENTRYPOINT")[0]), [json.loads(of("CMD")[0])]
    module, function = project["scripts"][entry].split(":")
    assert command[0] in COMMANDS
    code = f"import sys; from {module} import {function}; sys.exit({function}({[*command, '--help']}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0 and "recipe" in done.stdout


def test_services(services):
    assert set(services) == {"train", "train-gpu", "board"}
    for service in services.values():
        assert any(volume.endswith(":/work") for volume in service["volumes"]) and service["stop_signal"] == "SIGINT"
    gpu = services["train-gpu"]
    assert gpu["build"]["args"] == {"EXTRAS": "gpu"} and gpu["profiles"] == ["gpu"]
    assert gpu["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]
    assert services["board"]["ports"] == ["127.0.0.1:6006:6006"]
