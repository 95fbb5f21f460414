"""Every head × loss × extra that a `sch` allows, 20 steps each on drawn faces: how many trained without an error.

python -m benchmarks.all_pairs --part 1 --of 4
"""

import argparse
import itertools
import os
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
HEADS = {
    "softmax": {}, "full": {}, "3 sub-centers": {"lossTopK": 3}, "sampled": {"partial": 0.5},
    "sampled, 3 sub-centers": {"partial": 0.5, "lossTopK": 3}, "VPL": {"vpl": True},
}  # fmt: skip


def combinations(losses):
    """(head, loss, extra or None), all of them by name."""
    kinds = {name: cls for name, cls in losses.REGISTRY.items() if name != "KerasLoss"}
    extras = [None, *(name for name, cls in kinds.items() if cls.head is None and not name.startswith("Offline"))]
    for (name, cls), extra in itertools.product([*kinds.items(), ("categorical_focal_crossentropy", None)], extras):
        head = "softmax" if cls is None else cls.head
        for kind in {None: ["none"], "softmax": ["softmax"], "arcface": list(HEADS)[1:]}[head]:
            if name != extra:
                yield kind, name, extra


def trainer_for(train, models, keras, folder, kind):
    inputs = keras.layers.Input((16, 16, 3))
    x = keras.layers.Dense(16, name="dense")(keras.layers.Flatten()(inputs))
    model = keras.Model(
        inputs, keras.layers.Activation("linear", name="embedding")(keras.layers.BatchNormalization()(x))
    )
    teacher = keras.Sequential([keras.layers.Input((16, 16, 3)), keras.layers.Flatten(), keras.layers.Dense(24)])
    options = HEADS.get(kind, {})
    return train.Train(
        folder, "pairs.keras", basic_model=model, batch_size=12, random_status=0, verbose=0, resume=False, image_per_class=3,
        partial_fc_sample_rate=options.get("partial", 1.0), vpl_start_iters=5 if "vpl" in options else -1,
        teacher_model_interf=lambda images: teacher(images).numpy(),
    )  # fmt: skip


def attempt(trainer, keras, losses, kind, name, extra):
    """→ None, or what went wrong."""
    import numpy as np

    loss = losses.REGISTRY[name]() if name in losses.REGISTRY else keras.losses.CategoricalFocalCrossentropy()
    stage = {"loss": loss, "epoch": 1, "optimizer": keras.optimizers.SGD(1e-3)}
    stage |= {"embLossTypes": [extra], "embLossWeights": [0.1]} if extra else {}
    stage |= {"lossTopK": HEADS[kind]["lossTopK"]} if "lossTopK" in HEADS.get(kind, {}) else {}
    try:
        trainer.train(stage)
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    return None if np.isfinite(trainer.my_history.history["loss"][-1]) else "not finite"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        "all_pairs", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", type=int, default=1)
    parser.add_argument("--of", type=int, default=1)
    arguments = parser.parse_args(argv)
    sys.path.insert(0, ROOT)
    import keras

    from facetrainer import losses, models
    from facetrainer import training as train
    from facetrainer.data import synthetic as draw

    folder, _ = draw.dataset(train_people=40, held_out_people=20, images=6)
    wanted = sorted(set(combinations(losses)), key=str)[arguments.part - 1 :: arguments.of]
    failed = tried = 0
    with tempfile.TemporaryDirectory() as home:
        os.chdir(home)
        for kind, found in itertools.groupby(wanted, key=lambda each: each[0]):
            for _, name, extra in found:
                keras.backend.clear_session()
                error = attempt(trainer_for(train, models, keras, folder, kind), keras, losses, kind, name, extra)
                tried, failed = tried + 1, failed + (error is not None)
                if error:
                    print(f"{kind} × {name} × {extra}: {error}", flush=True)
    print(f"{tried - failed} of {tried} combinations trained 20 steps")
    return int(failed > 0)


if __name__ == "__main__":
    raise SystemExit(main())
