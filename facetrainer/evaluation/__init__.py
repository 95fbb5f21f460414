"""Models and sets → results: verification of pairs, IJB, folders of people, and the callback that measures while training."""

from facetrainer.utils import lazy

__getattr__, __dir__ = lazy.attach(
    __name__,
    {
        "facetrainer.evaluation.callback": "eval_callback",
        "facetrainer.evaluation.embedder": "Embedder",
        "facetrainer.evaluation.pairs": "Pairs read_pairs",
        "facetrainer.evaluation.verification": "Verification evaluate_model intervals scores_of verify",
        "facetrainer.metrics.calibration": "calibrate",
        "facetrainer.metrics.intervals": "curve_intervals double_or_nothing rate_interval wilson",
        "facetrainer.metrics.roc": "Roc",
        "facetrainer.metrics.verification": "best_threshold calculate_accuracy calculate_roc calculate_val "
        "calculate_val_far evaluate fold_accuracies fold_correct fold_table mcnemar pair_scores unit",
    },
    globals(),
)
