"""A Keras 3 trainer for face recognition.

    from facetrainer import Train, losses, models

    trainer = Train("/datasets/faces_emore", "run.keras", basic_model=models.buildin_models("r50"))
    trainer.train([{"loss": losses.ArcfaceLoss(scale=32), "epoch": 5, "optimizer": "adam"}])

Names are imported when they are first used. `use_flat_names()` lets notebooks of Keras_insightface run as they are.
"""

from facetrainer.flat_names import use_flat_names
from facetrainer.utils import backend, lazy, quiet

backend.choose()
quiet.hush()

__version__ = "0.16.2"
__all__ = [
    "Train", "__version__", "backbones", "data", "devices", "evaluation", "finetuning", "heads", "losses", "metrics", "models",
    "optimizers", "preparing", "recognition", "reporting", "training", "use_flat_names", "weights",
]  # fmt: skip

PACKAGES = "backbones data evaluation finetuning heads losses metrics models optimizers preparing recognition reporting training weights"
__getattr__, __dir__ = lazy.attach(
    __name__,
    {
        "facetrainer.training.legacy": "Train",
        "facetrainer.distributed": "devices",
        **{f"facetrainer.{name}": "" for name in PACKAGES.split()},
    },
    globals(),
)
