"""The trainer on JAX: tests of this folder again, on that backend; and all of it without TensorFlow."""

import os
import subprocess
import sys

import pytest
from helpers import ROOT

pytest.importorskip("jax")

AGAIN = [
    "test_stages.py::test_the_gallery_network_follows",
    "test_stages.py::test_mean_of_the_last_epochs",
    "test_stages.py::test_sharpness_aware_step",
    "test_stages.py::test_the_embedders_gradient_is_clipped_alone",
    "test_faults.py::TestNaN::test_an_embedding_of_zeros_has_a_gradient",
    "test_faults.py::TestContexts::test_batches_and_epochs_measure_the_same_weights",
    "test_resume.py::test_what_a_stage_does_not_use_is_kept_as_well[everything]",
    "test_resume.py::test_what_a_stage_does_not_use_is_kept_as_well[Muon]",
    "test_stages.py::test_the_second_time_it_stops_with_the_state_saved",
    "../recognition/test_detect.py::test_several_photos_give_what_each_gives",
]


@pytest.mark.long
def test_again():
    """Means, sam_rho, NaN, evaluation in mid-epoch, exact resume. `KERAS_BACKEND=jax pytest tests/training` runs all of them."""
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    places = [os.path.join(os.path.dirname(__file__), one) for one in AGAIN]
    call = [sys.executable, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider", *places]
    done = subprocess.run(call, capture_output=True, text=True, env=environment, cwd=ROOT, timeout=270)
    assert done.returncode == 0, done.stdout[-3000:]


WITHOUT = """
import sys
sys.modules["tensorflow"] = None  # an import of it fails
sys.path[:0] = [{root!r}, {root!r} + "/tests"]
import facetrainer, keras
assert keras.backend.backend() == "jax"
from facetrainer import losses, models, weights
from facetrainer.cli import evaluate, prepare
from helpers import make, sgd, tiny_model
tt = make({record!r}, eval_paths=[{bin!r}], basic_model=tiny_model(), report=True, logit_blocks=2, partial_fc_sample_rate=0.6)
tt.train([{{"loss": losses.ArcfaceLoss(scale=8), "epoch": 2, "scale": (4, 8), "optimizer": sgd()}}])
assert len(tt.my_history.history["loss"]) == 2
tt.model.compile(sgd(), jit_compile=False)  # by hand, without XLA
assert prepare.main(["convert", {record!r}, "shards", "--to", "tfrecord"]) == 0
assert evaluate.main(["-m", "checkpoints/run_basic_model_latest.keras", "-t", {bin!r}]) == 0
weights.importers
"""


def test_without_tensorflow(record, bin_file, workdir):
    """Training, evaluation, preparing: nothing imports it."""
    environment = {key: value for key, value in os.environ.items() if key != "KERAS_BACKEND"}
    code = WITHOUT.format(root=ROOT, record=record, bin=bin_file)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=270)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "10-fold" in done.stdout and os.path.exists("checkpoints/run_report.html")


def test_no_backend_is_told_in_three_lines(workdir):
    code = f"import sys; sys.path[:0] = [{ROOT!r}]\nsys.modules |= dict.fromkeys(('tensorflow', 'jax', 'torch'))\nimport facetrainer"
    environment = {key: value for key, value in os.environ.items() if key != "KERAS_BACKEND"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 1 and 'pip install "face-trainer[cpu]"' in done.stderr and "[jax]" in done.stderr
