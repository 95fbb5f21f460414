"""Accuracy of a model on sets of pairs.

Two protocols are named: "10-fold" takes each fold's threshold from the other nine (what papers report), "max" the best threshold on
the very pairs it is measured on (what Keras_insightface prints). Intervals are over the people in the pairs:
a person in ten pairs is no ten people.

  facetrainer evaluate -m r50.keras -t lfw.bin cfp_fp.bin agedb_30.bin --page study.html
  facetrainer evaluate -m r50.keras -t calibration.bin --calibrate                          thresholds for stated FMR
  facetrainer evaluate -m r50.keras -t own.bin --thresholds r50_thresholds.json             FMR and FNMR at those
  facetrainer evaluate -m r50.keras -t faces/ --attributes people.csv --quality ofiq.csv    groups of people, quality of images
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os

from facetrainer.cli import run, studied
from facetrainer.utils.lazy import later
from facetrainer.utils.text import shown

calibration = later("facetrainer.metrics.calibration")
pages = later("facetrainer.reporting.study")
known, lengths = later("facetrainer.evaluation.known"), later("facetrainer.evaluation.lengths")
study, attributes = later("facetrainer.evaluation.study"), later("facetrainer.io.attributes")
models = later("facetrainer.models")
sources, backends = later("facetrainer.data.sources"), later("facetrainer.evaluation.backend")
evals, np = later("facetrainer.evaluation"), later("numpy")
ensemble = later("facetrainer.evaluation.ensemble")
log = logging.getLogger("facetrainer")


NAMES = {"plda": "PLDA", "lda": "LDA", "teacher": "linear map to a teacher's embedding"}


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    main = run.describe("evaluate", __doc__)
    main.add_argument(
        "-m", "--basic_model", required=True, help="model file: .keras, .h5, .onnx, .pt, .tflite, SavedModel folder"
    )
    main.add_argument("-b", "--batch_size", type=int, default=128)
    main.add_argument(
        "-t",
        "--test_bin_files",
        nargs="+",
        required=True,
        help=".bin files, folders with pairs.txt or pairs.csv, lists as of CALFW, CPLFW, XQLFW, SLLFW, BFW, folders of CFP and RFW",
    )
    main.add_argument("-F", "--no_flip", action="store_true", help="the image alone, without its mirror image")
    main.add_argument(
        "--flip", choices=("sum", "concat"), default="sum", help="what becomes of the mirror image's embedding"
    )
    main.add_argument("--patch", nargs=5, action="append", default=[], metavar=("MODEL", "TOP", "LEFT", "HEIGHT", "WIDTH"),
                      help="another model on a part of the image, its embedding set behind the others; may be given again")  # fmt: skip
    main.add_argument(
        "--crops",
        action="store_true",
        help="the sum over the image, a little larger, smaller, and moved: 7 times the work",
    )
    main.add_argument("--centre", action="store_true", help="subtract the mean embedding of the set first")
    main.add_argument("-p", "--pca_acc", type=int, nargs="?", const=128, default=0, metavar="N",
                      help="accuracy after N principal components, learnt on the other folds, as well")  # fmt: skip
    main.add_argument("--backend", choices=("plda", "lda", "teacher"),
                      help="score pairs by a metric learnt on training people, its file is beside the model; teacher: a linear map to the "
                           "embeddings that `facetrainer distill` wrote with the images")  # fmt: skip
    main.add_argument(
        "--learn-from", metavar="DATA", help="learn --backend anew from these people, who must not be those of the sets"
    )
    main.add_argument(
        "--write-model", metavar="KERAS", help="with --backend: write the model with the metric as its last layer"
    )
    main.add_argument("--folds", action="store_true", help="a table of the ten folds")
    run.add_study(main, draws=1000)
    main.add_argument("--compare", metavar="MODEL", help="another model on the same pairs: differences, tests")
    main.add_argument("--calibrate", action="store_true", help="write MODEL_thresholds.json, from all sets together")
    main.add_argument(
        "--thresholds", metavar="JSON", help="of --calibrate on other pairs: FMR and FNMR there on these sets"
    )
    main.add_argument(
        "--fmr", type=float, default=1e-2, help="false match rate of the one threshold for groups and quality (0.01)"
    )
    main.add_argument(
        "--attributes", metavar="CSV", help="image or person, and attributes: FMR and FNMR of groups, how fair"
    )
    main.add_argument(
        "--quality", metavar="CSV", help="image and qualities, as OFIQ writes: error-versus-discard curves"
    )
    main.add_argument(
        "--reject", metavar="PNG", help="error-versus-discard curves: of the embedding's length, and those of --quality"
    )
    main.add_argument(
        "--trained-on",
        metavar="DATA",
        help="which people of the sets are in this training set, by name and by embedding",
    )
    run.add_json(main, "every number, with its protocol")
    run.add_trusted(main)
    return main


def main(argv: list[str] | None = None) -> int:
    """Prints the results; exit codes of `run.call`."""
    return run.call(parser(), run.with_command("evaluate", _run, argv), argv)


def _run(a):
    if a.calibrate and (a.centre or a.patch or a.crops):
        raise ValueError("--calibrate makes thresholds for the model alone: leave out --centre, --patch and --crops.")
    thresholds = calibration.read_file(a.thresholds) if a.thresholds else None
    _check_study(a, thresholds)
    backend = _backend(a)
    if a.write_model:
        _write_model(a, backend)
    results = [_evaluated(a, pairs, backend, thresholds) for pairs in map(evals.read_pairs, a.test_bin_files)]
    if a.calibrate:
        scores, same = (np.concatenate([one[key] for one in results]) for key in ("scores", "same"))
        people = np.concatenate([one["people of pairs"] + 10**9 * k for k, one in enumerate(results)], axis=1)
        about = {
            "model": a.basic_model,
            "mirrored": "" if a.no_flip else a.flip,
            "length": float(np.median(np.concatenate([one["lengths"] for one in results]))),
            "sets": [one["protocol"] for one in results],
        }
        print(calibration.write(a.basic_model, calibration.calibrate(scores, same, people=people, **about)))
    arrays = ("scores", "same", "people of pairs", "lengths")
    return studied.told(a, [{key: value for key, value in one.items() if key not in arrays} for one in results])


def _check_study(a, thresholds):
    """Tells what is wrong before the work is done."""
    if thresholds and (a.attributes or a.quality or a.reject):
        calibration.threshold_at(thresholds, a.fmr)
    if a.trained_on and (a.backend or a.patch):
        raise ValueError("--trained-on compares cosines of the model alone: leave out --backend and --patch.")
    for path in filter(None, (a.attributes, a.quality)):
        attributes.read(path)
    if a.page:
        pages.writer_of(a.page)


def _model(a):
    """The model's file, or the ensemble of it and those of the patches."""
    if not a.patch:
        return a.basic_model
    patches = [(path, tuple(int(value) for value in box)) for path, *box in a.patch]
    return ensemble.Ensemble([(a.basic_model, None), *patches], trusted=a.trusted)


def _as_facenet(result, val, val_std, far):
    """The lines of facenet's validate_on_lfw.py, which scripts read."""
    return (
        f"Accuracy: {result.accuracy:.5f}+-{result.std:.5f}\nValidation rate: {val:.5f}+-{val_std:.5f} @ FAR={far:.5f}\n"
        f"Area Under Curve (AUC): {result.auc:.3f}\nEqual Error Rate (EER): {result.eer:.3f}"
    )


def _backend(a):
    """The metric of `--backend`, learnt or read; None without it."""
    if not a.backend and not a.learn_from:
        return None
    if not a.backend or a.calibrate or a.centre or a.patch or a.pca_acc:
        raise ValueError(
            "--learn-from goes with --backend, and neither with --calibrate, --centre, --patch or --pca_acc."
        )
    path = f"{os.path.splitext(os.path.normpath(a.basic_model))[0]}_{a.backend}.npz"
    flip = "" if a.no_flip else a.flip
    if a.learn_from:
        if any(os.path.realpath(one) == os.path.realpath(a.learn_from) for one in a.test_bin_files):
            raise ValueError(
                f"--learn-from {a.learn_from}: a metric learnt on the very pairs it is measured on is of no use."
            )
        source = sources.open_source(a.learn_from)
        found = np.concatenate(
            list(evals.Embedder(a.basic_model, a.batch_size, trusted=a.trusted).of_source(source, flip=flip))
        )
        about = {"data": a.learn_from, "mirrored": flip, "sha256": studied.digest(a.basic_model)}
        teacher = backends.teacher_of(source) if a.backend == "teacher" else None
        backends.fit(found, source.labels, a.backend, teacher=teacher, **about).save(path)
        print(f"{path}: learnt from {len(np.unique(source.labels)):,} people, {len(source):,} images")
    elif not os.path.exists(path):
        raise FileNotFoundError(
            f"{path} does not exist. Give --learn-from, a dataset of the people the model was trained on."
        )
    found = backends.Backend.load(path)
    if found.about.get("sha256") != studied.digest(a.basic_model):
        raise ValueError(
            f"{path} was learnt for another {a.basic_model} than this one. Learn it anew with --learn-from."
        )
    if found.about.get("mirrored", "") != flip:
        was = found.about.get("mirrored") or "left out"
        raise ValueError(f"{path} was learnt with mirrored images {was}. Learn it anew with --learn-from.")
    return found


def _write_model(a, backend):
    """The model with the metric as its last layers."""
    if backend is None or not a.write_model.endswith(".keras"):
        raise ValueError("--write-model goes with --backend, and takes a name ending in .keras.")
    models.save(backend.behind(models.load(a.basic_model, trusted=a.trusted)), a.write_model)
    print(f"{a.write_model}: {a.basic_model} with its {NAMES[backend.kind]} behind it")


def _evaluated(a, pairs, backend=None, thresholds=None):
    """Prints and returns all that is asked for about one set."""
    flip = "" if a.no_flip else a.flip
    embedder = evals.Embedder(_model(a), a.batch_size, trusted=a.trusted, crops=a.crops)
    embeddings = embedder.of_encoded(pairs.images, flip)
    scores, same = backend.scores(embeddings) if backend else evals.scores_of(embeddings, centre=a.centre), pairs.same
    result = evals.verify(scores, same, pairs.name, flip, pairs.sha256)
    print(result)
    for warning in filter(None, (known.odd(pairs.name, same), lengths.odd(pairs.name, embeddings))):
        log.warning("%s", warning)
    found = {
        **dataclasses.asdict(result),
        "protocol": {
            **result.protocol(),
            "crops": "sum over seven" if a.crops else "no",
            "centred": "on the mean of this very set" if a.centre else "no",
        },
        "scores": scores,
        "same": same,
        "people of pairs": pairs.people,
        "lengths": np.linalg.norm(embeddings, axis=1),
    }
    if backend:
        found["protocol"]["score"] = _learnt(backend)
        print(f"  scores: {found['protocol']['score']}")
    else:
        found |= _of_distances(a, result, embeddings, pairs)
    if a.folds:
        _print_folds(scores, same)
    if a.bootstrap:
        found |= _intervals(a, scores, pairs)
    if a.compare:
        found["compared"] = studied.compared(a, scores, pairs, flip)
    found |= studied.cost(a, embedder, pairs) if a.json or a.page else {}
    return found | studied.studied(a, study.Measured(pairs, scores, embeddings), found.get("95%"), thresholds)


def _learnt(backend):
    about = backend.about
    return f"{NAMES[backend.kind]}, learnt from {about['people']:,} people, {about['images']:,} images of {about.get('data')}"


def _of_distances(a, result, embeddings, pairs):
    """What is defined for the distances of embeddings alone."""
    halves = [evals.unit(embeddings[k::2]) for k in (0, 1)]
    val, val_std, far = evals.calculate_val(np.arange(0, 4, 0.001), *halves, pairs.same)
    found = {"VAL@FAR=0.001": {"val": val, "std": val_std, "far": far}}
    print(f"  VAL@FAR=1e-3 {val:.4f} ± {val_std:.4f} at FAR {far:.5f}")
    if pairs.from_files:
        print(_as_facenet(result, val, val_std, far))
    if a.pca_acc:
        _, _, accuracy = evals.calculate_roc(np.arange(0, 4, 0.01), *halves, pairs.same, pca=a.pca_acc)
        found["pca"] = {"components": a.pca_acc, "accuracy": accuracy.mean(), "std": accuracy.std()}
        print(f"  {a.pca_acc} principal components, 10-fold accuracy {accuracy.mean():.4f} ± {accuracy.std():.4f}")
    return found


def _print_folds(scores, same):
    for number, fold in enumerate(evals.fold_table(scores, same), 1):
        wrong = f"{fold.false_accepts} false accepts, {fold.false_rejects} false rejects"
        print(f"  fold {number:>2}  {fold.accuracy:.4f} at {fold.threshold:.4f}, {wrong}")


def _intervals(a, scores, pairs):
    people, ends = len(np.unique(pairs.people)), evals.intervals(scores, pairs.same, pairs.people, a.bootstrap)
    told = ", ".join(f"{name} {shown(low)}–{shown(high)}" for name, (low, high) in ends.items())
    print(f"  95 % intervals over {people} people{'' if pairs.names else ' that the pairs tell apart'}: {told}")
    return {"people": people, "95%": ends}
