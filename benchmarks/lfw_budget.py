"""Real faces within a budget of CPU-seconds: `lfw_small` from scratch, texture patterns and a learnt metric, then `lfw_dev.bin`.

    python -m benchmarks.lfw_budget --data /data/lfw
    python -m benchmarks.lfw_budget --data /data/lfw --teacher /data/teacher/mobilefacenet_192.tflite
    facetrainer distill -D /data/lfw -M /data/teacher/mobilefacenet_192.tflite --views 5 --blend 0 -d views.tfrecord
    python -m benchmarks.lfw_budget --data /data/lfw --teacher views.tfrecord --backend teacher --crops --epochs 11
    python -m benchmarks.lfw_budget --data /data/lfw --seed 1 --no-patterns --backend none

The first batches are timed and the number of epochs is set to fill the budget, as machines differ; all of it counts, the import of
TensorFlow, the patterns' components and the metric included, and nothing but the training people is learnt from. Evaluation comes
once, after the clock is stopped. With a teacher the recipe is `lfw_distilled`; the teacher's embeddings are made before, by a process
of its own that is timed apart.
"""

import argparse
import logging
import os
import subprocess
import sys

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
AFTERWARDS = 160  # CPU-seconds for patterns and metric
ENOUGH = 20_000  # images for a metric


def cpu() -> float:
    """User and system seconds of this process so far."""
    now = os.times()
    return now.user + now.system


def parser() -> argparse.ArgumentParser:
    main = argparse.ArgumentParser("lfw_budget", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    main.add_argument("--data", required=True, help="folder with train.rec and lfw_dev.bin")
    main.add_argument("--teacher", help="model file to distill from, or a file that `facetrainer distill` wrote")
    main.add_argument("--seconds", type=float, default=1500, help="CPU-seconds, user + system")
    main.add_argument("--epochs", type=int, help="of cosine, in the place of as many as fit; 0 trains nothing")
    main.add_argument("--seed", type=int, default=0)
    main.add_argument("--crops", action="store_true", help="measure with the sum over seven crops of each image, too")
    main.add_argument("--policy", default="float32", help="Keras's policy of number formats, such as mixed_bfloat16")
    main.add_argument("--no-patterns", action="store_false", dest="patterns", help="the network's embedding alone")
    main.add_argument(
        "--backend",
        choices=("plda", "lda", "teacher", "none"),
        default="plda",
        help="metric learnt on the training people",
    )
    return main


def main(argv: list[str] | None = None) -> int:
    arguments = parser().parse_args(argv)
    sys.path.insert(0, ROOT)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    import keras

    from facetrainer.cli import recipe

    keras.mixed_precision.set_dtype_policy(arguments.policy)
    path = "lfw_distilled" if arguments.teacher else "lfw_small"
    settings = {
        "data_path": distilled(arguments.data, arguments.teacher) if arguments.teacher else arguments.data,
        "eval_paths": [],
        "save_path": "lfw_budget.keras",
        "resume": False,
        "verbose": 2,
        "seed": arguments.seed,
    }
    epochs = arguments.epochs
    if epochs is None:
        seconds = arguments.seconds - (AFTERWARDS if arguments.patterns else 0)
        epochs = epochs_within(recipe.load(path, settings), seconds)
    keywords, sch = recipe.load(path, {**settings, "lr_decay_steps": max(epochs, 2)})
    network = trained(keywords, sch if epochs else [{**sch[0], "epoch": 0}])
    measure(arguments, network, *finished(arguments, network))
    return 0


def distilled(data, teacher):
    """→ npz with the teacher's embeddings."""
    if teacher.endswith((".npz", ".tfrecord")):
        return teacher
    begin = os.times()
    call = [sys.executable, os.path.join(ROOT, "data_distiller.py"), "-D", data, "-M", teacher, "-d", "lfw_teacher.npz"]
    subprocess.run([*call, "--save_npz"], check=True)
    after = os.times()
    spent = after.children_user + after.children_system - begin.children_user - begin.children_system
    print(f"the teacher's embeddings: {spent:.0f} CPU-seconds, in another process", flush=True)
    return "lfw_teacher.npz"


def epochs_within(loaded, seconds, batches=60):
    """Time some batches of the recipe → epochs of cosine, after one of warmup, that fit."""
    from facetrainer import training

    keywords, (stage,) = loaded
    trainer = training.Train(**keywords)
    trainer.train({**stage, "epoch": 0})  # builds the stage
    trainer.model.fit(trainer.faces.batches(), steps_per_epoch=5, verbose=0, shuffle=False)
    begin = cpu()
    trainer.model.fit(trainer.faces.batches(), steps_per_epoch=batches, verbose=0, shuffle=False)
    step = (cpu() - begin) / batches
    print(f"{trainer.batch_size / step:.0f} images a CPU-second", flush=True)
    return int((seconds * 0.985 - cpu() - 10) / (step * trainer.steps_per_epoch)) - 1


def trained(keywords, sch):
    from facetrainer import training

    trainer = training.Train(**keywords)
    trainer.train(sch)
    print(f"{len(trainer.my_history.history.get('loss', []))} epochs: {cpu():.0f} CPU-seconds", flush=True)
    return trainer.basic_model


def finished(arguments, model):
    """Model with patterns, and metric, where asked for."""
    from facetrainer import evaluation, models
    from facetrainer.data import sources
    from facetrainer.evaluation import backend

    source, learnt = sources.open_source(arguments.data), None
    if arguments.patterns:
        some = np.random.default_rng(0).permutation(len(source))[:5000]
        model = models.with_patterns(model, evaluation.Embedder(model).decode([source.read(int(i)) for i in some]))
        print(f"patterns: {cpu():.0f} CPU-seconds", flush=True)
    if arguments.backend != "none":
        if arguments.backend == "teacher":
            source = sources.open_source(arguments.teacher)
        some = np.sort(np.random.default_rng(0).permutation(len(source))[:ENOUGH])
        found = np.concatenate(list(evaluation.Embedder(model).of_source(source, some, flip=True)))
        teacher = backend.teacher_of(source)[some] if arguments.backend == "teacher" else None
        learnt = backend.fit(found, source.labels[some], arguments.backend, teacher=teacher)
    return model, learnt


def measure(arguments, network, model, learnt):
    """The clock has stopped."""
    from facetrainer.reporting import tables

    print(f"{model.count_params():,} parameters, {cpu():.0f} CPU-seconds")
    print(tables.accuracy_table(results(arguments, network, model, learnt)))


def results(arguments, network, model, learnt):
    """→ (what, result on `lfw_dev.bin`) of the network, of the model with patterns if it is another, and of the metric."""
    from facetrainer import evaluation

    pairs = evaluation.read_pairs(os.path.join(arguments.data, "lfw_dev.bin"))
    rows = []
    for name, one in {"network": network, **({} if model is network else {"with patterns": model})}.items():
        found = evaluation.Embedder(one).of_encoded(pairs.images, True)
        rows.append((f"{name}, cosine", evaluation.verify(evaluation.scores_of(found), pairs.same, pairs.name)))
    if learnt:
        rows.append((learnt.kind, evaluation.verify(learnt.scores(found), pairs.same, pairs.name)))
    if learnt and arguments.crops:
        found = evaluation.Embedder(one, crops=True).of_encoded(pairs.images, True)
        rows.append((f"{learnt.kind}, crops", evaluation.verify(learnt.scores(found), pairs.same, pairs.name)))
    return rows


if __name__ == "__main__":
    raise SystemExit(main())
