"""facetrainer doctor."""

import json

import pytest
from helpers import tiny_model

from facetrainer.cli import doctor
from facetrainer.utils import system


def test_all_is_well(workdir, capsys):
    assert doctor.main(["--json", "found.json"]) == 0
    told = capsys.readouterr().out
    assert "All is well" in told or "To do:" in told  # of little memory or disk, where the machine has little
    found = {one["what"]: one for one in json.load(open("found.json"))}
    assert "images/s" in found["training"]["value"] and "images/s" in found["reading"]["value"]
    assert found["writable here"]["value"] == "yes" and "cores" in found["machine"]["value"]


def test_files_are_recognised(record, bin_file, workdir, capsys):
    tiny_model().save("m.keras")
    open("junk.onnx", "w").write("nothing")
    assert doctor.main(["--no-speed", record, bin_file, "m.keras"]) == 0
    told = capsys.readouterr().out
    assert "faces, " in told and "evaluation set, " in told and "32×32 → 16" in told and "training" not in told
    assert doctor.main(["--no-speed", "junk.onnx", "nowhere"]) == 1
    told = capsys.readouterr().out
    assert told.count("not recognised") == 2 and "nowhere: data_path 'nowhere' does not exist" in told


def test_a_card_that_is_not_used(monkeypatch, capsys):
    monkeypatch.setattr(system, "nvidia_cards", lambda: ["NVIDIA H100, 81559 MiB"])
    monkeypatch.setattr(system, "free_memory", lambda: 2**20)
    assert doctor.main(["--no-speed"]) == 0
    told = capsys.readouterr().out
    assert "NVIDIA H100 is not used by" in told and "Little memory is free" in told


@pytest.mark.parametrize("quota, cores", [("150000 100000", 1), ("max 100000", None)])
def test_a_containers_quota_counts(quota, cores, tmp_path, monkeypatch):
    real = open
    (tmp_path / "cpu.max").write_text(quota)
    monkeypatch.setattr(
        "builtins.open",
        lambda path, *a, **k: real(tmp_path / "cpu.max" if path == "/sys/fs/cgroup/cpu.max" else path, *a, **k),
    )
    assert system.cores() == cores if cores else system.cores() >= 1
