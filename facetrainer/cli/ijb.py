"""IJB-B and IJB-C: 1:1 and 1:N, from a model or from embeddings kept before.

  python IJB_evals.py -m r100.onnx -d /datasets/IJB_release -s IJBC            one result, N0D1F1
  python IJB_evals.py -m model.keras -d /datasets/IJB_release -s IJBB -B       all eight
  python IJB_evals.py -m model.keras -d /datasets/IJB_release -s IJBB -N       1:N
  python IJB_evals.py -m model.keras -d /datasets/IJB_release -s IJBC --page study.html
  python IJB_evals.py --plot_only IJB_result/*IJBB*.npz                        pictures of kept results
  python IJB_evals.py --plot_only scores/*.npy ijbb_template_pair_label.txt    of scores alone, and IJB's own labels

N: embeddings of length 1 before they are pooled (InsightFace's script calls that N0), D: times the detector's score, F: the
mirrored image's embedding added. TAR is read off at the point of the curve whose FAR is nearest, as InsightFace's script does.
FNMR at FMR, and FNIR at FPIR with -N, are as NIST has them, with intervals over people; of all eight, those of N0D1F1.
Embedding goes on where it was broken off.
"""

from __future__ import annotations

import argparse
import glob
import hashlib
import logging
import os

from facetrainer.cli import run, studied
from facetrainer.utils.files import replacing
from facetrainer.utils.lazy import later

cached, evaluation = later("facetrainer.io.cached"), later("facetrainer.evaluation.ijb")
study, pages = later("facetrainer.evaluation.study"), later("facetrainer.reporting.study")
np, opening, tables = later("numpy"), later("facetrainer.evaluation.interface"), later("facetrainer.reporting.ijb")
log = logging.getLogger("facetrainer")


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    main = run.describe("ijb", __doc__)
    main.add_argument(
        "-m", "--model_file", help=".keras, .h5, .onnx, .tflite, .pt or .pth, MXNet's prefix,epoch, SavedModel folder"
    )
    main.add_argument("-d", "--data_path", default="./", help="folder with IJBB/ or IJBC/")
    main.add_argument("-s", "--subset", default="IJBB", help="IJBB or IJBC")
    main.add_argument("-b", "--batch_size", type=int, default=128)
    main.add_argument(
        "-R",
        "--save_result",
        help="default IJB_result/{model}_{subset}_{type}.npz; read for embeddings where no -m is given",
    )
    main.add_argument("-L", "--save_label", action="store_true", help="labels into the result, for --plot_only")
    main.add_argument("-E", "--save_embeddings", action="store_true", help="embeddings into the result")
    main.add_argument("-B", "--is_bunch", action="store_true", help="all eight combinations of N, D, F")
    main.add_argument("-N", "--is_one_2_N", action="store_true", help="1:N")
    main.add_argument("-F", "--force_reload", action="store_true", help="make embeddings anew")
    run.add_trusted(main)
    run.add_json(main, "every number, with its protocol")
    run.add_study(main)
    main.add_argument("-P", "--plot_only", nargs="*", metavar="GLOB", help="pictures of results written with -L")
    return main


def main(argv: list[str] | None = None) -> int:
    """Does what the arguments say; exit codes of `run.call`."""
    return run.call(parser(), run.with_command("ijb", _print_table, argv), argv)


def _print_table(a):
    if a.page:
        pages.writer_of(a.page)
    if a.plot_only is not None and (a.json or a.page):
        raise ValueError(
            "--plot_only draws what is there: --json and --page go with a model, or with embeddings kept before."
        )
    found, results = (_plot_only(a.plot_only), None) if a.plot_only is not None else _run(a)
    for table in found:  # –: more pairs are needed for that rate
        print(table.to_string(float_format=lambda value: f"{value:.6f}", na_rep="–"))
    return results


def _plot_only(patterns):
    """A table and a picture for results of 1:1, and of 1:N."""
    files = sorted(path for pattern in patterns for path in glob.glob(pattern))
    if not files:
        raise FileNotFoundError(f"--plot_only: no file is named like {' '.join(patterns)}.")
    one_to_n = {
        os.path.basename(path): [found[key] for key in ("fars", "tpirs", "cmc1", "cmc2")]
        for path in files
        if path.endswith(".npz") and "fars" in (found := cached.read_npz(path))
    }
    pairs = [path for path in files if os.path.basename(path) not in one_to_n]
    found = [tables.plot_roc_and_calculate_tpr(pairs, path="IJB_roc.png")[0]] if pairs else []
    if one_to_n:
        found.append(tables.plot_dir_far_cmc_scores(list(one_to_n.values()), list(one_to_n), "IJB_1N.png")[0])
    return found


def _keep(model_file, folder, name):
    """Where embeddings stand while they are made: another name as soon as the model's file has changed."""
    path = opening.file_of(model_file)
    state = hashlib.sha256(cached.state(path).encode()).hexdigest()[:8] if os.path.exists(path) else "none"
    return os.path.join(folder, f".{name}_{state}")


def _run(a):
    kind = "1N" if a.is_one_2_N else "11_bunch" if a.is_bunch else "11"
    model_name = os.path.splitext(os.path.basename(os.path.normpath(a.model_file or a.save_result or "embeddings")))[0]
    result = a.save_result or os.path.join("IJB_result", f"{model_name}_{a.subset}_{kind}.npz")
    restore = None if a.model_file else result
    keep = _keep(a.model_file, os.path.dirname(result), f"{model_name}_{a.subset}") if a.model_file else None
    test = evaluation.IJB_test(
        a.model_file, a.data_path, a.subset, a.batch_size, a.force_reload, restore, keep, trusted=a.trusted
    )
    picture = os.path.splitext(result)[0] + ".png"
    if a.is_one_2_N:
        found = test.run_model_test_1N()
        arrays = dict(zip(("fars", "tpirs", "cmc1", "cmc2"), found, strict=True))
        table, _ = tables.plot_dir_far_cmc_scores([found], [model_name], picture)
    else:
        scores, names = test.run_model_test_bunch() if a.is_bunch else ([test.run_model_test_single()], ["N0D1F1"])
        arrays = {
            "scores": np.stack(scores),
            "names": np.array(names),
            **({"label": test.data.pairs[2]} if a.save_label else {}),
        }
        table, _ = tables.plot_roc_and_calculate_tpr(scores, names, test.data.pairs[2], picture)
    arrays |= {"embs": test.embs, "embs_f": test.embs_f} if a.save_embeddings or restore else {}
    with replacing(result) as part, open(part, "wb") as file:
        np.savez(file, **arrays)
    evaluation.Kept.remove(keep)
    if test.skipped:
        log.warning("%d images could not be read, the first: %s", len(test.skipped), test.skipped[0])
    log.info("%s and %s", result, picture)
    told = (
        {"search": test.searched(a.bootstrap)} if a.is_one_2_N else _one_to_one(a, test, scores[names.index("N0D1F1")])
    )
    return [table], _told(a, test, told)


def _one_to_one(a, test, scores):
    measured = study.Measured(study.TemplatePairs(a.subset, test.data.pairs[2], test.people), scores)
    return {**study.templates(measured, a.bootstrap), "curve": study.curve(measured)}


def _told(a, test, told):
    """Prints the rates with their intervals → results for `--json` and `--page`."""
    for name, one in told.get("search", {a.subset: told}).items():
        print(f"{name}: {studied.rates(one['rates'])}")
    way = "F1 N0 D1: embedding of the image and of its mirror image added, times the detector's score"
    pooled = "mean over the images of a medium, sum over media"
    protocol = {
        "set": a.subset,
        "way": way,
        "templates": pooled,
        "score": "cosine",
        "images left out": len(test.skipped),
    }
    return studied.told(a, [studied.result(a, a.model_file, a.subset, told, protocol)])
