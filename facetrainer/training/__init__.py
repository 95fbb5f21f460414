"""`sch` → stages → run: the trainer.

tt = train.Train("/datasets/faces_emore", "run.keras", ["lfw.bin"], basic_model=models.buildin_models("r50"))
tt.train([{"loss": losses.ArcfaceLoss(scale=32), "epoch": 5, "optimizer": "adam"}])
"""

from facetrainer.utils import lazy

__getattr__, __dir__ = lazy.attach(
    __name__,
    {
        "facetrainer.training.legacy": "Train",
        "facetrainer.training.schedule": "parse_schedule StageOptions StageSpec",
        "facetrainer.training.trainer": "Trainer",
    },
    globals(),
)
