"""Old notebooks' imports, in a folder that has files of the same names."""

import os
import runpy
import subprocess
import sys

import pytest
from helpers import ROOT

IMPORTS = "import losses, models, train, evals, data, myCallbacks, augment, plot, optimizers"
USE = f"""
{IMPORTS}
import prepare_data, IJB_evals, eval_folder, data_distiller, data_drop_top_k, backbones.mobilenet
from models import NormDense
from backbones import resnet
import facetrainer, facetrainer.backbones.resnet
assert losses is facetrainer.losses and models is facetrainer.models and data is facetrainer.data
assert resnet is facetrainer.backbones.resnet and backbones is facetrainer.backbones
assert NormDense is facetrainer.heads.NormDense and train.Train is facetrainer.Train
assert models.__name__ == models.__spec__.name == "facetrainer.models"
for module, names in {{
    losses: "ArcfaceLoss CenterLoss TripletLossWapper distiller_loss_cosine",
    models: "buildin_models print_buildin_models add_l2_regularizer_2_model convert_to_mixed_float16",
    evals: "eval_callback evaluate calculate_roc calculate_val", data: "prepare_dataset show_batch_sample open_faces",
    myCallbacks: "Gently_stop_callback ExitOnNaN My_history CosineLrScheduler exp_scheduler constant_scheduler",
    plot: "hist_plot hist_plot_split choose_accuracy", augment: "RandAugment", prepare_data: "mxnet_record_to_folder",
    IJB_evals: "IJB_test plot_roc_and_calculate_tpr plot_dir_far_cmc_scores", eval_folder: "Eval_folder plot_tpr_far",
    data_distiller: "Data_distiller teacher_model_interf_wrapper", data_drop_top_k: "data_drop_top_k",
}}.items():
    for name in names.split():
        assert getattr(module, name).__module__.startswith("facetrainer."), name
print("fine")
"""


@pytest.fixture
def crowded(tmp_path):
    """A folder with the user's own data/, models.py and plot.py."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "__init__.py").write_text("raise RuntimeError('the data folder of the user')")
    for name in ("models", "plot"):
        (tmp_path / f"{name}.py").write_text(f"raise RuntimeError('the {name}.py of the user')")
    return tmp_path


def python(folder, code, path):
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, timeout=200
    )
    return done.stdout, done.stderr


def test_from_a_checkout(crowded):
    out, error = python(crowded, USE, ROOT)
    assert out == "fine\n", error


def test_after_an_install(crowded, tmp_path_factory):
    site = tmp_path_factory.mktemp("site")
    (site / "facetrainer").symlink_to(os.path.join(ROOT, "facetrainer"))
    out, error = python(crowded, f"import facetrainer; facetrainer.use_flat_names(){USE}", str(site))
    assert out == "fine\n", error
    assert "No module named" in python(site, IMPORTS, str(site))[1]


def test_a_module_that_was_there_before_stays_and_is_named(tmp_path):
    (tmp_path / "models.py").write_text("mine = 1")
    code = "import models, warnings; warnings.simplefilter('error'); import facetrainer; facetrainer.use_flat_names()"
    error = python(tmp_path, code, ROOT)[1]
    assert "'models' was imported before from" in error and "facetrainer.use_flat_names() before other imports" in error


@pytest.mark.parametrize("name", ["prepare_data", "train"])
def test_processes_that_a_command_starts_run_the_script_under_another_name(name):
    runpy.run_path(os.path.join(ROOT, f"{name}.py"), run_name="__mp_main__")


def test_doors_stay_short():
    from facetrainer.flat_names import MODULES

    for name in MODULES:
        path = os.path.join(ROOT, name, "__init__.py") if name == "backbones" else os.path.join(ROOT, f"{name}.py")
        lines = open(path).read().splitlines()
        assert len(lines) <= 11 and lines[-1] == "flat_names.open_door(__name__)", name
        assert lines[0] != "#!/usr/bin/env python3" or os.access(path, os.X_OK)
