"""Photos and a model → a model that knows these people better, or the old one where it does not."""

import dataclasses
import logging
import os
import shutil
from collections.abc import Sequence

import keras
import numpy as np

from facetrainer.data import sources
from facetrainer.evaluation.comparison import export
from facetrainer.evaluation.embedder import Embedder
from facetrainer.evaluation.pairs import read_pairs
from facetrainer.evaluation.verification import verify
from facetrainer.finetuning import held_out
from facetrainer.finetuning.plan import Plan, make_plan
from facetrainer.heads import NormDense
from facetrainer.io import lists
from facetrainer.metrics import calibration
from facetrainer.metrics.verification import pair_scores
from facetrainer.models import saving
from facetrainer.preparing import align, check, convert
from facetrainer.recognition.model import layout_of
from facetrainer.recognition.reader import WHOLE
from facetrainer.training import Train
from facetrainer.utils.files import write_json
from facetrainer.utils.text import without_nan
from facetrainer.weights.exporters import check_backend
from facetrainer.weights.importers import import_weights

log = logging.getLogger("facetrainer")
LOSS = 0.005  # of accuracy or area on old people that a gain on the new ones may cost
OLD_PEOPLE = 200  # held out of the old data
EXPORTS = {"litert": ".tflite", "onnx": ".onnx"}


@dataclasses.dataclass
class Finetuned:
    """What came of it.

    Attributes:
        model: File of the model to use, the new or the old one.
        better: Whether it is the new one.
        why: In words.
        plan: The recipe.
        division: What was held out.
        before: Pairs by set, of the old model: "new people", and "old people" where old data were given.
        after: The same of the new one.
        gain: Of the area under the curve on the new people, and its 95 % interval.
        old_sets: Accuracy before and after by evaluation set.
        files: What was written.
        left_out: Photos by reason.
    """

    model: str
    better: bool
    why: str
    plan: Plan
    division: held_out.Division
    before: dict[str, held_out.Pairs]
    after: dict[str, held_out.Pairs]
    gain: tuple[float, float, float]
    old_sets: dict[str, tuple[float, float]]
    files: list[str]
    left_out: list[dict]


def finetune(
    photos: str, model: str, output: str, find: str = "mtcnn", old: str | None = None, old_share: float = 0.5,
    old_sets: Sequence[str] = (), epochs: int | None = None, exports: Sequence[str] = (), seed: int = 0,
    workers: int = 1, trusted: bool = False,
) -> Finetuned:  # fmt: skip
    """Fine-tunes a model on people, and keeps it where it helps on people (or images) that it never saw.

    Broken off, the same call goes on. What is written lies in `output`: `model.keras` with its thresholds, the exports, `result.json`,
    and the run in `work`.

    Args:
        photos: Folder with one folder a person.
        model: File of any format that can be imported, see `import_weights`.
        output: Folder to write.
        find: Detector, see `recognition.detector`; "aligned" where photos are crops already. Defaults to `"mtcnn"`.
        old: Data that the model was trained on, or like them: a share of these goes along, and some people tell what was forgotten.
        old_share: Part of the images that are old ones. Defaults to `0.5`.
        old_sets: Evaluation sets, `.bin` files or folders, on which the new model may lose half a point at most.
        epochs: Takes the place of the recipe's.
        exports: Any of "litert" and "onnx".
        seed: Of all draws. Defaults to `0`.
        workers: Processes that align. Defaults to `1`.
        trusted: Whether the model file may run code. Defaults to `False`.

    Returns:
        What came of it.

    Raises:
        ValueError: The photos are too few to train on or to tell whether it helps, the model cannot be imported, or the backend cannot
            write one of `exports`.
    """
    for form in exports:
        check_backend(form)
    work = os.path.join(output, "work")
    os.makedirs(work, exist_ok=True)
    start = os.path.join(work, "start.keras")
    saving.save(import_weights(model, trusted=trusted), start)
    source, left_out = _good_crops(photos, work, start, find, workers)
    division = held_out.divide(source.labels, seed)
    listed, rest = _training_list(source, division, old, old_share, work, seed)
    plan = make_plan(np.bincount(source.labels[division.train])[np.unique(source.labels[division.train])], epochs)
    log.info("%s; %s", ", ".join(f"{name} {value}" for name, value in plan.told().items()), division.told())
    before = _judged(start, source, division, rest)
    scores_before = {path: _accuracy(start, path) for path in old_sets}
    trained = _trained(plan, listed, start, work, seed)
    new = os.path.join(work, "finetuned.keras")
    saving.save(trained, new)
    after = _judged(new, source, division, rest)
    sets = {path: (scores_before[path], _accuracy(new, path)) for path in old_sets}
    grown = held_out.gain(before["new people"], after["new people"])
    better, why = _decision(grown, before, after, sets)
    log.info("%s", why)
    result = Finetuned(
        os.path.join(output, "model.keras"), better, why, plan, division, before, after, grown, sets, [], left_out
    )
    _write(result, new if better else start, output, exports)
    return result


def _good_crops(photos, work, start, find, workers):
    """Aligned, checked: whole images, each once, under one name."""
    crops, left_out = photos, []
    if find != WHOLE:
        crops = os.path.join(work, "crops")
        if not os.path.exists(crops):
            layout = layout_of(saving.load(start, compile=False).input_shape[1:3])
            left_out += align.align(photos, crops, layout, find, "central", workers=workers).rows
    source = sources.open_source(crops)
    bad = [row for row in check.check(source, crops).rows if row["file"] and not row["reason"].startswith("size")]
    names = {row["file"] for row in bad}
    kept = np.array([i for i in range(len(source)) if source.name(i) not in names], np.int64)
    if not len(kept):
        raise ValueError(f"{photos}: none of {len(source)} images can be used; the first: {bad[0]['reason']}")
    return sources.Subset(source, kept), left_out + bad


def _training_list(source, division, old, share, work, seed):
    """csv of the images that train; and the old source's people that are held out, as a `Subset`, or None."""
    images = [source.name(int(i)) for i in division.train]
    people = [source.class_names[source.labels[i]] for i in division.train]
    rest = None
    if old:
        opened = sources.open_source(old)
        mine, rest = _old_people(opened, round(len(images) * share / (1 - share)), seed)
        if not opened.are_files:
            folder = os.path.join(work, "old")
            if not os.path.exists(folder):
                convert.convert(mine, folder, "folder", about=old)
            mine = sources.open_source(folder)
        images += [mine.name(i) for i in range(len(mine))]
        people += [f"old {mine.class_names[label]}" for label in mine.labels]
    path = os.path.join(work, "train.csv")
    lists.write_list(path, images, people)
    return path, rest


def _old_people(source, images, seed):
    """As many old people, drawn at random, as have so many images; and others to test on."""
    counts = np.bincount(source.labels)
    order = np.random.default_rng(seed).permutation(np.flatnonzero(counts))
    tested = order[counts[order] > 1][: min(OLD_PEOPLE, len(order) // 5)]
    order = order[~np.isin(order, tested)]
    chosen = order[: int(np.searchsorted(np.cumsum(counts[order]), max(images, 1))) + 1]
    parts = (np.flatnonzero(np.isin(source.labels, one)) for one in (chosen, tested))
    return tuple(sources.Subset(source, rows) if len(rows) else None for rows in parts)


def _judged(model, source, division, rest):
    embedder = Embedder(model)
    found = {"new people": held_out.pairs_of(embedder, source, division)}
    if rest is not None:
        whole = held_out.Division(np.zeros(0, np.int64), np.arange(len(rest)), "people")
        found["old people"] = held_out.pairs_of(embedder, rest, whole)
    return found


def _accuracy(model, path):
    pairs, embedder = read_pairs(path), Embedder(model)
    return float(verify(pair_scores(embedder.of_encoded(pairs.images, True)), pairs.same).accuracy)


def _trained(plan, listed, start, work, seed):
    keras.utils.set_random_seed(seed)
    trainer = Train(
        listed, os.path.abspath(os.path.join(work, "run.keras")), basic_model=start, seed=seed, report=False,
        teacher_model_interf=start if plan.keep else None, **plan.keywords(),
    )  # fmt: skip
    head, people = _centers(start, sources.open_source(listed))
    trainer.trainer.carried.remember("head", head, people)
    trainer.train([plan.stage(trainer.basic_model)])
    return trainer.basic_model


def _centers(model, source):
    """A head whose centers are the means of its people's embeddings."""
    means = Embedder(model).means(source)
    head = NormDense(len(means))
    head.build((None, means.shape[1]))
    head.set_weights([means.T])
    return head, source.class_names


def _decision(grown, before, after, sets):
    """Whether the new model is the better one, and why, in words."""
    difference, low, high = grown
    told = f"area under the curve on what was held out {difference:+.5f} (95 % {low:+.5f} to {high:+.5f})"
    if difference <= 0:
        return False, f"fine-tuning does not help: {told}. The old model is kept."
    losses = {path: one - other for path, (one, other) in sets.items()}
    if "old people" in before:
        areas = [one["old people"].numbers["AUC"][0] for one in (before, after)]
        losses["old people"] = areas[0] - areas[1]
    worst = max(losses, key=losses.get, default=None)
    if worst is not None and losses[worst] > LOSS:
        return False, f"fine-tuning forgets: {told}, but {losses[worst]:.4f} lost on {worst}. The old model is kept."
    sure = "" if low > 0 else ", which chance could give as well"
    return True, f"fine-tuning helps: {told}{sure}. The new model is kept."


def _write(result, chosen, output, exports):
    shutil.copyfile(chosen, result.model)
    pairs = (result.after if result.better else result.before)["new people"]
    about = {"model": result.model, "mirrored": "sum", "length": pairs.length, "sets": [result.division.told()]}
    thresholds = calibration.calibrate(pairs.scores, pairs.same, people=pairs.people, **about)
    result.files += [result.model, calibration.write(result.model, thresholds)]
    for form in exports:
        path = os.path.join(output, f"model{EXPORTS[form]}")
        export(saving.load(result.model, compile=False), path, form, unit_length=False)
        result.files.append(path)
    write_json(os.path.join(output, "result.json"), without_nan(as_dict(result)), indent=1)
    result.files.append(os.path.join(output, "result.json"))


def as_dict(result: Finetuned) -> dict:
    """Everything but the single scores, for JSON and tables."""
    numbers = {
        name: {"before": one.numbers, "after": result.after[name].numbers} for name, one in result.before.items()
    }
    return {
        "better": result.better, "why": result.why, "recipe": result.plan.told(), "held out": result.division.told(),
        "AUC gain": result.gain, "results": numbers, "sets": result.old_sets, "left out": result.left_out,
    }  # fmt: skip
