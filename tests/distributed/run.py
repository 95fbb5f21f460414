"""What the tests of several devices run in a process of its own.

python run.py DEVICES OUT.npz losses       losses and weights of heads x losses over some steps
python run.py DEVICES OUT.npz parts        what a step sends, a sampled head, batch norm of each device
python run.py DEVICES OUT.npz every        losses of every head x loss over 20 steps; with HOST:PORT k/n behind it as one process of n
python run.py DEVICES OUT.npz train [N]    a whole `Train`, that dies after N batches
"""

import contextlib
import os
import sys

devices, out, job, *rest = sys.argv[1:]
os.environ |= {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
sys.path[:0] = [os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))]
sys.path[:0] = [os.path.join(sys.path[0], "tests")]

sys.modules["tensorflow"] = None  # JAX alone: its import takes longer than most of what is run here

import jax
import keras
import numpy as np
from helpers import Kill, make, sgd

import facetrainer
from facetrainer import distributed, heads, losses, models
from facetrainer.backbones import local_norm

CLASSES, BATCH, STEPS = 101, 16, 6
DECAY = {"kernel_regularizer": keras.regularizers.L2(1e-3)}
HEADS = {
    "full": lambda: heads.NormDense(CLASSES, seed=1, **DECAY),
    "sub-centers": lambda: heads.NormDense(CLASSES, loss_top_k=3, seed=1),
    "sampled": lambda: heads.PartialNormDense(CLASSES, sample_rate=1.0, seed=1, **DECAY),
    "vpl": lambda: heads.NormDenseVPL(None, CLASSES, start_iters=2, seed=1),
    "softmax": lambda: heads.SoftmaxHead(CLASSES, seed=1),
    "none": lambda: None,
}
LOSSES = {
    "arcface": lambda: [losses.ArcfaceLoss(scale=16)],
    "cosface, triplet, center": lambda: [
        losses.CosFaceLoss(scale=16),
        losses.BatchAllTripletLoss(),
        losses.CenterLoss(),
    ],
    "distill": lambda: [losses.ArcfaceLoss(scale=16), losses.DistillCosineLoss()],
    "softmax": lambda: [losses.SoftmaxLoss()],
    "distill alone": lambda: [losses.DistillCosineLoss(), losses.CenterLoss(CLASSES)],
}
FITTING = {
    "full": ["arcface", "cosface, triplet, center", "distill"],
    "softmax": ["softmax"],
    "none": ["distill alone"],
}


def least_model():
    """Compiles in no time."""
    inputs = keras.Input((16, 16, 3))
    x = keras.layers.Dense(16, name="E_dense")(keras.layers.Flatten()(keras.layers.AveragePooling2D(4)(inputs)))
    return keras.Model(inputs, keras.layers.BatchNormalization(momentum=0.9, name="embedding")(x), name="least")


def scope():
    return (
        facetrainer.devices(shard_classes=True)
        if int(devices) > 1 or job == "every" and rest
        else contextlib.nullcontext()
    )


def of_losses(fitting=FITTING, steps=STEPS):
    rng, found, mine = np.random.default_rng(0), {}, part()
    images = rng.integers(0, 255, (steps, BATCH, 16, 16, 3)).astype("uint8")
    targets = [
        {
            "labels": rng.integers(0, CLASSES, BATCH).astype("int32"),
            "teacher": rng.normal(size=(BATCH, 16)).astype("float32"),
        }
        for _ in range(steps)
    ]
    images, targets = images[:, mine], [{name: value[mine] for name, value in one.items()} for one in targets]
    for head, make_head in HEADS.items():
        for name in fitting.get(head, ["cosface, triplet, center"]):
            keras.utils.set_random_seed(0)
            model = models.FaceModel(least_model(), make_head(), LOSSES[name]())
            model.compile(sgd())
            found[f"{head}/{name}"] = np.array(
                [model.train_on_batch(*batch)[0] for batch in zip(images, targets, strict=True)]
            )
            weights = [*(model.head.weights if model.head else []), *(w for term in model.terms for w in term.weights)]
            found |= {f"{head}/{name}/weights {i}": distributed.value_of(w) for i, w in enumerate(weights)}
    return found


def of_every():
    margins = list(LOSSES)[:3]
    return of_losses({**{head: margins for head in HEADS}, "softmax": ["softmax"], "none": ["distill alone"]}, 20)


def part():
    """This process's images of a batch."""
    number, count = distributed.process()
    return slice(number * BATCH // count, (number + 1) * BATCH // count)


def of_train():
    keras.utils.set_random_seed(0)
    trainer = make(
        "record",
        "run.keras",
        basic_model=least_model(),
        eval_paths=["drawn.bin"],
        batch_size=12 // int(devices),
        lr_base=0.01,
        checkpoint_freq=1,
    )
    trainer.custom_callbacks += [Kill(int(rest[0]))] if rest else []
    stages = [
        {"loss": "softmax", "epoch": 1, "optimizer": sgd()},
        {"loss": losses.ArcfaceLoss(scale=8), "epoch": 2, "centerloss": 0.01, "triplet": 1, "scale": (8, 16), "ema": 0.8,
         "sam_rho": 0.02, "clip": 2.0},
    ]  # fmt: skip
    with contextlib.suppress(KeyboardInterrupt):
        trainer.train(stages)
    weights = [*trainer.model.weights, *trainer.model.optimizer.variables]
    return {
        "loss": np.array(trainer.my_history.history["loss"]),
        **{v.path: distributed.value_of(v) for v in weights},
    }


def of_blocks():
    """Losses over some steps, with the scores in one block and in four."""
    rng, found = np.random.default_rng(0), {}
    images = rng.integers(0, 255, (BATCH, 16, 16, 3)).astype("uint8")
    mixed = {name: rng.integers(0, CLASSES, BATCH).astype("int32") for name in ("labels", "labels2")}
    mixed["mix"] = rng.uniform(size=BATCH).astype("float32")
    cases = {"full": [losses.ArcfaceLoss(scale=16), losses.CenterLoss()], "sub-centers": [losses.MagFaceLoss(scale=16)],
             "sampled": [losses.CosFaceLoss(scale=16)], "softmax": [losses.SoftmaxLoss()]}  # fmt: skip
    for head, terms in cases.items():
        for count in (1, 4):
            keras.utils.set_random_seed(0)
            model = models.FaceModel(least_model(), HEADS[head](), [term.fresh() for term in terms])
            model.compile(sgd())
            model.split_logits(count)
            logs = [model.train_on_batch(images, mixed, return_dict=True) for _ in range(4)]
            found |= {f"blocks/{head}/{count}/{name}": [one[name] for one in logs] for name in logs[0]}
    return found


def of_drawn_rows(x, labels):
    """Table and memory after steps on drawn rows alone, and on the whole table."""
    from facetrainer.models import drawn_rows

    found, tables = {}, drawn_rows.tables
    for kind, of in (("rows", tables), ("all", lambda model: [])):
        drawn_rows.tables = of  # what the whole table gives is compared for sgd and momentum
        for name, optimizer in (("sgd", keras.optimizers.SGD(0.1)), ("momentum", keras.optimizers.SGD(0.1, 0.9)),
                                ("adam", keras.optimizers.Adam(0.1, clipnorm=1.0))):  # fmt: skip
            if (kind, name) == ("all", "adam"):
                continue
            head = heads.PartialNormDense(CLASSES, loss_top_k=2, sample_rate=0.3, seed=1, **DECAY)
            inputs = keras.Input((16,))
            plain = keras.Model(inputs, keras.layers.Dense(16, kernel_initializer="identity", name="embedding")(inputs))
            model = models.FaceModel(plain, head, [losses.ArcfaceLoss(scale=8)])
            model.compile(optimizer)
            before = distributed.value_of(head.kernel)
            model.sam_rho = 0.05 if name == "adam" else 0.0
            for step in range(2):
                model.train_on_batch(x + step, {"labels": labels})
                found[f"{name}/{kind}/{step}"] = distributed.value_of(head.kernel)
            found[f"{name}/before"] = before
    drawn_rows.tables = tables
    return found


def of_one_state(head, x, labels):
    """Drawn classes, scores of that draw, scores of all classes: one program, and the generator stays where it is."""

    @jax.jit
    def results(state, x, labels):
        with keras.StatelessScope([(head.generator.state, state)]):
            drawn = head.draw(labels)
        with keras.StatelessScope([(head.generator.state, state)]):
            return drawn, head(x, labels, training=True), head(x)

    with distributed.current().scope():
        return results(head.generator.state.value, x, labels)


def of_parts():
    """What a compiled step sends; a sampled head beside the same draw on one device; batch norm of each device."""
    from benchmarks import collectives

    found = {}
    for case in collectives.CASES[1:-2]:  # of those with blocks the largest alone
        program = collectives.compiled(collectives.made(case, 10007, 32, 0.1), 64, 32).as_text()
        found[case] = np.array([max(shape, default=1) for _, shape in collectives.collectives(program)])
    head = heads.PartialNormDense(CLASSES, loss_top_k=2, sample_rate=0.3, seed=1)
    head.build((None, 16))
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(8, 16)).astype("float32"), np.array([0, 0, 25, 26, 52, 77, 100, 100], "int32")
    drawn, (scores, columns), whole = of_one_state(head, x, labels)
    found |= {"scores": scores, "columns": columns, "drawn": drawn, "labels": labels}
    found["expected"] = np.asarray(whole)[:, np.asarray(drawn)]
    found |= of_drawn_rows(x, labels) | of_blocks()
    norm, images = keras.layers.BatchNormalization(momentum=0.5), rng.normal(3, 2, size=(8, 4, 4, 5)).astype("float32")
    inputs = keras.Input((4, 4, 5))
    model = keras.Model(inputs, norm(inputs))
    local_norm.set_local(model, 4)
    found |= {"images": images, "normal": model(images, training=True), "mean": norm.moving_mean.value}
    return found


if __name__ == "__main__":
    if job == "every" and rest:
        distributed.join(*rest)
    with scope():
        found = {"losses": of_losses, "every": of_every, "train": of_train, "parts": of_parts}[job]()
        np.savez(out, **found)
