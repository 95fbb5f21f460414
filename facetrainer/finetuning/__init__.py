"""A published model for one's own people: what to train, how, and whether it helped."""

from facetrainer.utils.lazy import attach

__getattr__, __dir__ = attach(
    __name__,
    {
        "facetrainer.finetuning.plan": "Plan make_plan",
        "facetrainer.finetuning.held_out": "Division divide",
        "facetrainer.finetuning.tune": "Finetuned finetune",
    },
    globals(),
)
