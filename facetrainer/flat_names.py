"""`import losses, models, train`: the module names that notebooks of Keras_insightface use."""

import importlib
import importlib.machinery
import os
import sys
import warnings

from facetrainer.utils import lazy

MODULES = {
    "losses": "facetrainer.losses",
    "models": "facetrainer.models",
    "data": "facetrainer.data",
    "evals": "facetrainer.evaluation",
    "train": "facetrainer.training",
    "myCallbacks": "facetrainer.training.callbacks",
    "augment": "facetrainer.data.augment",
    "plot": "facetrainer.reporting.plots",
    "optimizers": "facetrainer.optimizers",
    "backbones": "facetrainer.backbones",
    "prepare_data": "facetrainer.preparing.insightface",
    "IJB_evals": "facetrainer.reporting.ijb",
    "eval_folder": "facetrainer.reporting.folder",
    "data_distiller": "facetrainer.preparing.distill",
    "data_drop_top_k": "facetrainer.preparing.clean",
    "convert": "facetrainer.cli.convert",
    "recognize": "facetrainer.recognition",
    "face_detector": "facetrainer.legacy.face_detector",
    "image_video_test": "facetrainer.legacy.image_video_test",
}
OLD = "facetrainer.legacy"
BACKBONES = f"{OLD}.backbones"
# names that a module had and has no more: flat name → where they are now
OLD_NAMES = {
    "losses": {f"{OLD}.losses": "Save_Numpy_Callback scale_softmax"},
    "models": {f"{OLD}.models": "SAMModel"},
    "data": {f"{OLD}.data": "ImageClassesRule_map MXNetRecordGen RandomProcessImage Triplet_dataset Triplet_dataset_offline "
             "build_basic_dataset_from_data_path build_basic_dataset_from_tfrecord mixup partial_fc_split_gen partial_fc_split_pick "
             "pick_by_image_per_class pre_process_folder prepare_dataset prepare_distill_dataset_tfrecord "
             "random_cutout_or_cutout_mask sample_beta_distribution show_batch_sample tf_imread"},
    "evals": {f"{OLD}.evals": "half_split_weighted_cosine_similarity half_split_weighted_cosine_similarity_11"},
    "myCallbacks": {f"{OLD}.callbacks": "ConstantDecayScheduler CosineLrScheduler CosineLrSchedulerEpoch OptimizerWeightDecay "
                    "VPLUpdateQueue basic_callbacks"},
    "plot": {f"{OLD}.plot": "arrays_plot peak_scatter set_colors set_scale"},
    "augment": {f"{OLD}.augment": "AutoAugment autocontrast blend brightness color contrast cutout equalize invert posterize rotate "
                "sharpness shear_x shear_y solarize solarize_add translate_x translate_y"},
    "data_distiller": {f"{OLD}.distill": "teacher_model_interf_wrapper"},
    "IJB_evals": {f"{OLD}.ijb": "evaluation_1N"},
    "backbones": {f"{BACKBONES}.{name}": "" for name in ("efficientnet", "ghost_model", "mobilenet_m1")},
    "backbones.resnet": {f"{BACKBONES}.resnet": "ResNet18 ResNet34 ResNet50 ResNet100 ResNet101"},
    "backbones.mobile_facenet": {f"{BACKBONES}.mobile_facenet": "MobileFaceNet mobile_facenet"},
    "backbones.vargface": {f"{BACKBONES}.vargface": "VargFace"},
}  # fmt: skip
MOVED = {f"backbones.{place.rpartition('.')[2]}": place for place in OLD_NAMES["backbones"]}


def use_flat_names() -> None:
    """Lets `import losses`, `from models import NormDense`, `import train` … find the modules of this package.

    From then on these names mean the trainer's modules, whatever lies in the working folder: a folder `data/` or a file `models.py`
    of the user is not looked at. A module of such a name that was imported before stays, with a warning. The modules are the
    package's own: `losses is facetrainer.losses`.
    """
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    for name, target in MODULES.items():
        before = sys.modules.get(name)
        if before is None or getattr(before, "__name__", "").startswith("facetrainer") or _is_door(before):
            continue
        warnings.warn(
            f"{name!r} was imported before from {getattr(before, '__file__', 'elsewhere')} and stays; the trainer's is {target}. "
            "Call facetrainer.use_flat_names() before other imports.",
            stacklevel=2,
        )


def open_door(name: str) -> None:
    """Called by a file at the root of the repository: puts the package's module in its own place.

    Args:
        name: `__name__` of the file. In a process that a command has started it is `__mp_main__`, and nothing is to be done.
    """
    if name in MODULES:
        use_flat_names()
        sys.modules[name] = _opened(name)


def _opened(name):
    """The package's module of a flat name, from then on with the names that it had in Keras_insightface."""
    top, dot, rest = name.partition(".")
    module = importlib.import_module(MOVED.get(name) or MODULES[top] + dot + rest)
    for one in OLD_NAMES:
        if one == name or one.startswith(f"{name}."):
            _add_old_names(_opened(one) if one != name else module, OLD_NAMES[one])
    return module


def _add_old_names(module, places):
    own, (old, _) = vars(module).get("__getattr__"), lazy.attach(module.__name__, places, vars(module))

    def find(name):
        try:
            return old(name)
        except AttributeError:
            if own is None:
                raise
            return own(name)

    if not getattr(own, "finds_old_names", False):
        find.finds_old_names = True
        module.__getattr__ = find


def _is_door(module):
    """Whether a module is one of the short files at the root of the repository, in the middle of its own import."""
    home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    file = getattr(module, "__file__", None) or ""
    return os.path.dirname(os.path.abspath(file)) in (home, os.path.join(home, "backbones"))


class _Finder:
    """Finds the flat names and what lies below them: `backbones.resnet` is `facetrainer.backbones.resnet`."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in MODULES:
            return None
        return importlib.machinery.ModuleSpec(name, _Loader(name))


class _Loader:
    """Gives the package's module itself, unchanged."""

    def __init__(self, name):
        self.name = name

    def create_module(self, spec):
        module = _opened(self.name)
        self.kept = module.__spec__, module.__loader__
        return module

    def exec_module(self, module):
        module.__spec__, module.__loader__ = self.kept
