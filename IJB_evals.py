"""IJB-B and IJB-C: 1:1 and 1:N, from a model or from embeddings kept before.

  python IJB_evals.py -m r100.onnx -d /datasets/IJB_release -s IJBC            one result, N0D1F1
  python IJB_evals.py -m model.keras -d /datasets/IJB_release -s IJBB -B       all eight
  python IJB_evals.py -m model.keras -d /datasets/IJB_release -s IJBB -N       1:N
  python IJB_evals.py --plot_only IJB_result/*IJBB*.npz                        pictures of kept results

N: embeddings of length 1 before they are pooled (InsightFace's script calls that N0), D: times the detector's score, F: the
mirrored image's embedding added. TAR is read off at the point of the curve whose FAR is nearest, as InsightFace's script does.
Embedding goes on where it was broken off.
"""

import argparse
import glob
import hashlib
import logging
import os
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pandas as pd
from tqdm import tqdm

import plot
from faces.align import LAYOUTS
from faces.interface import file_of, image_size, interface
from formats import cached
from formats.ijb import Ijb
from formats.images import decode, normalised
from measures.identification import search
from measures.roc import Roc
from measures.templates import image_features, pair_similarities, pool
from measures.verification import FARS
from runs import cli

log = logging.getLogger("face")


class IJB_test:
    """Model and subset → results.

    `model_file`: a model, a model file (see `faces.interface`), or a function of uint8 images (B, 112, 112, 3) RGB. Without one, or with
    `restore_embs` (an npz of `-E`), embeddings are read. `keep` names the files in which embeddings are written while they are made.
    """

    def __init__(self, model_file, data_path, subset, batch_size=64, force_reload=False, restore_embs=None, keep=None):
        self.data, self.batch_size = Ijb.open(data_path, subset), batch_size
        if restore_embs:
            self.embs, self.embs_f = _restored(restore_embs, len(self.data.faces[0]))
        elif model_file is None:
            raise ValueError("IJB_test: give a model, or restore_embs= an npz with embs and embs_f.")
        else:
            self.embs, self.embs_f = self._embed(_of_bytes(model_file), keep, force_reload)
        self.skipped: list[str] = getattr(self, "skipped", [])

    def _embed(self, embed, keep, force_reload):
        """Embeddings of all images and of their mirror images; images are read and aligned while the model works."""
        names, _, _ = self.data.faces
        self.skipped, kept = [], Kept(keep, len(names), force_reload)
        begins = list(range(kept.done, len(names), self.batch_size))
        with (
            ThreadPoolExecutor() as readers,
            ThreadPoolExecutor(1) as ahead,
            tqdm(total=len(names), initial=kept.done, desc="embeddings", disable=None) as bar,
        ):
            coming = ahead.submit(self._read, readers, begins[0]) if begins else None
            for begin, following in zip(begins, [*begins[1:], None], strict=True):
                images, coming = coming.result(), following is not None and ahead.submit(self._read, readers, following)
                kept.put(begin, embed(images), embed(images[:, :, ::-1]))
                bar.update(len(images))
        return kept.arrays()

    def _read(self, readers, begin):
        return np.stack(
            list(readers.map(self._face, range(begin, min(begin + self.batch_size, len(self.data.faces[0])))))
        )

    def _face(self, i):
        """Aligned crop of image `i`; black where it cannot be read, which is named."""
        names, points, _ = self.data.faces
        try:
            with open(self.data.image(names[i]), "rb") as file:
                image = decode(file.read())
            return LAYOUTS["arcface"].crop(image, points[i].astype(np.float64), smooth=False)
        except (ValueError, OSError) as error:
            self.skipped.append(names[i])
            log.warning("skipped %s: %s", names[i], error)
            return np.zeros((112, 112, 3), np.uint8)

    def templates(
        self, use_flip_test=True, use_norm_score=False, use_detector_score=True
    ) -> tuple[np.ndarray, np.ndarray]:
        """→ ids in order (T,), features (T, D) of length 1."""
        flipped, detector = self.embs_f if use_flip_test else None, self.data.faces[2] if use_detector_score else None
        return pool(image_features(self.embs, flipped, detector, use_norm_score), *self.data.templates)

    def run_model_test_single(self, use_flip_test=True, use_norm_score=False, use_detector_score=True) -> np.ndarray:
        """1:1 → score of every pair."""
        ids, features = self.templates(use_flip_test, use_norm_score, use_detector_score)
        first, second, _ = self.data.pairs
        return pair_similarities(features, rows_of(ids, first), rows_of(ids, second))

    def run_model_test_bunch(self) -> tuple[list[np.ndarray], list[str]]:
        """1:1 in all eight ways → scores, names N0D0F0 … N1D1F1."""
        names = [(n, d, f) for n in (0, 1) for d in (0, 1) for f in (0, 1)]
        return [self.run_model_test_single(f, n, d) for n, d, f in names], ["N{}D{}F{}".format(*name) for name in names]

    def run_model_test_1N(self, npoints: int = 100):  # noqa: N802
        """1:N, F1 N0 D1 → false-accept rates, mean detection and identification rates of both galleries, CMC of each gallery.

        Logs top-1, 5 and 10 over both galleries.
        """
        fars = np.append(10 ** np.arange(-4, 0, 4 / npoints), 1.0)
        found = self.searches()
        rates = [[one.dir_at_far(far)[0] for far in fars] for one in found]
        tops = {
            k: sum(np.sum(one.rank[one.mated] < k) for one in found) / sum(one.mated.sum() for one in found)
            for k in (1, 5, 10)
        }
        log.info(
            "1:N of %d and %d mated probes: %s",
            *(one.mated.sum() for one in found),
            ", ".join(f"top-{k} {v:.4f}" for k, v in tops.items()),
        )
        return fars, np.mean(rates, axis=0), *(one.cmc(50) for one in found)

    def searches(self) -> list:
        """`measures.identification.Search` of the mixed probes in each of the two galleries."""
        ids, features = self.templates()
        probes, people = self.data.list_1n("probe_mixed")
        galleries = [self.data.list_1n(f"gallery_S{k}") for k in (1, 2)]
        return [search(features[rows_of(ids, probes)], features[rows_of(ids, g)], people, who) for g, who in galleries]


class Kept:
    """Embeddings written to disk as they come, so that a run can be broken off: `keep`.npy and how many are whole."""

    def __init__(self, keep: str | None, count: int, anew: bool = False):
        self.keep, self.count, self.rows, self.done = keep, count, None, 0
        if keep and not anew and os.path.exists(keep + ".done"):
            with open(keep + ".done", encoding="utf-8") as file:
                self.done = int(file.read())
            self.rows = np.load(keep + ".npy", mmap_mode="r+")
            if self.rows.shape[1] != count:
                raise ValueError(f"{keep}.npy holds {self.rows.shape[1]} images, the set {count}: use force_reload.")
            log.info("%s: going on after %d of %d images", keep, self.done, count)

    def put(self, begin: int, plain: np.ndarray, flipped: np.ndarray) -> None:
        if self.rows is None:
            self.rows = self._new(np.asarray(plain).shape[1])
        end = begin + len(plain)
        self.rows[0, begin:end], self.rows[1, begin:end] = plain, flipped
        if self.keep:
            self.rows.flush()
            with open(self.keep + ".done.part", "w", encoding="utf-8") as file:
                file.write(str(end))
            os.replace(self.keep + ".done.part", self.keep + ".done")

    def _new(self, width):
        if not self.keep:
            return np.empty((2, self.count, width), np.float32)
        os.makedirs(os.path.dirname(self.keep) or ".", exist_ok=True)
        return np.lib.format.open_memmap(self.keep + ".npy", "w+", np.float32, (2, self.count, width))

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        return self.rows[0], self.rows[1]

    @staticmethod
    def remove(keep: str | None) -> None:
        """Once a result is written: a later run is of the model as it is then."""
        for suffix in (".npy", ".done"):
            if keep and os.path.exists(keep + suffix):
                os.remove(keep + suffix)


def _of_bytes(model):
    """→ function of uint8 images; a function given is taken as it is."""
    if callable(model) and not isinstance(model, keras.Model):
        return model
    embed = interface(model)

    def of_bytes(images):
        images = np.stack([decode(image, image_size(embed)) for image in images])
        return embed(normalised(images))

    return of_bytes


def _restored(path, count):
    found = cached.read_npz(path)
    if not {"embs", "embs_f"} <= set(found):
        raise ValueError(f"{path}: expected arrays embs and embs_f, as -E writes them. Received: {sorted(found)}")
    if len(found["embs"]) != count:
        raise ValueError(f"{path} holds {len(found['embs'])} embeddings, the set has {count} images.")
    return found["embs"], found["embs_f"]


def rows_of(ids: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Places of template ids among those in order; ValueError names one that has no image."""
    rows = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
    if not np.array_equal(ids[rows], wanted):
        raise ValueError(
            f"template {wanted[ids[rows] != wanted][0]} is asked for, but face_tid_mid.txt has no image of it."
        )
    return rows


# -------------------------------------------------------------------------------------------------------------- results


def plot_roc_and_calculate_tpr(scores, names=None, label=None, path=None):
    """Scores of pairs, a list or files of `-R` → (table of TAR at FAR, figure).

    The table has a row a score, a column a rate, and AUC; N0 and N1 stand with InsightFace's name beside.
    """
    named = _named_scores(scores, names, label)
    rows = {}
    for name, (one, same) in named.items():
        curve = Roc(one, same)
        rates = {
            f"{far:g}": curve.tar_nearest(far) if far * len(curve.negatives) >= 1 else np.nan for far in FARS[::-1]
        }
        rows[name] = {"InsightFace": _their_name(name), **rates, "AUC": curve.auc}
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("TAR at FAR")
    return table, plot.roc(named, path, least=1e-6)


def _their_name(name):
    """InsightFace's script counts N the other way round."""
    swapped = {"N0D": "N1D", "N1D": "N0D"}
    return next((name[name.index(n) :].replace(n, other) for n, other in swapped.items() if n in name), "")


def _named_scores(scores, names, label):
    if isinstance(scores, (list, tuple)) and scores and isinstance(scores[0], str):
        return {name: value for path in scores for name, value in _from_file(path).items()}
    scores = [scores] if isinstance(scores, np.ndarray) and scores.ndim == 1 else list(scores)
    names = names or [f"result {k}" for k in range(len(scores))]
    return {name: (one, np.asarray(label, bool)) for name, one in zip(names, scores, strict=True)}


def _from_file(path):
    found = cached.read_npz(path)
    if not {"scores", "names", "label"} <= set(found):
        raise ValueError(f"{path}: expected scores, names and label (written with -L). Received: {sorted(found)}")
    stem, same = os.path.splitext(os.path.basename(path))[0], found["label"].astype(bool)
    return {f"{stem} {name}": (one, same) for name, one in zip(found["names"], found["scores"], strict=True)}


def plot_dir_far_cmc_scores(scores, names=None, path=None):
    """Results of `run_model_test_1N`, a list → (table of DIR at FAR and ranks, figure)."""
    names = names or [f"result {k}" for k in range(len(scores))]
    rows = {
        name: {**{f"DIR@FAR={far:g}": float(np.interp(far, one[0], one[1])) for far in (0.001, 0.01, 0.1)},
               **{f"gallery {g} top-{k}": float(cmc[k - 1]) for g, cmc in enumerate(one[2:], 1) for k in (1, 5, 10)}}
        for name, one in zip(names, scores, strict=True)
    }  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index"), plot.identification(
        dict(zip(names, scores, strict=True)), path
    )


def parser() -> argparse.ArgumentParser:
    main = argparse.ArgumentParser(
        "IJB_evals.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
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
    main.add_argument("-P", "--plot_only", nargs="*", metavar="GLOB", help="pictures of results written with -L")
    return main


def main(argv: list[str] | None = None) -> int:
    """Exit code 0 when the table is printed, 2 for a wrong call."""
    return cli.call(parser(), _print_table, argv)


def _print_table(a):
    table = _plot_only(a.plot_only) if a.plot_only is not None else _run(a)
    print(
        table.to_string(float_format=lambda value: f"{value:.6f}", na_rep="–")
    )  # –: more pairs are needed for that rate


def _plot_only(patterns):
    files = sorted(path for pattern in patterns for path in glob.glob(pattern))
    if not files:
        raise FileNotFoundError(f"--plot_only: no file is named like {' '.join(patterns)}.")
    loaded = {os.path.basename(path): cached.read_npz(path) for path in files}
    one_to_n = {
        name: [one[key] for key in ("fars", "tpirs", "cmc1", "cmc2")] for name, one in loaded.items() if "fars" in one
    }
    if one_to_n:
        return plot_dir_far_cmc_scores(list(one_to_n.values()), list(one_to_n), "IJB_1N.png")[0]
    return plot_roc_and_calculate_tpr(files, path="IJB_roc.png")[0]


def _keep(model_file, folder, name):
    """Where embeddings stand while they are made: another name as soon as the model's file has changed."""
    path = file_of(model_file)
    state = hashlib.sha256(cached.state(path).encode()).hexdigest()[:8] if os.path.exists(path) else "none"
    return os.path.join(folder, f".{name}_{state}")


def _run(a):
    kind = "1N" if a.is_one_2_N else "11_bunch" if a.is_bunch else "11"
    model_name = os.path.splitext(os.path.basename(os.path.normpath(a.model_file or a.save_result or "embeddings")))[0]
    result = a.save_result or os.path.join("IJB_result", f"{model_name}_{a.subset}_{kind}.npz")
    restore = None if a.model_file else result
    keep = _keep(a.model_file, os.path.dirname(result), f"{model_name}_{a.subset}") if a.model_file else None
    test = IJB_test(a.model_file, a.data_path, a.subset, a.batch_size, a.force_reload, restore, keep)
    picture = os.path.splitext(result)[0] + ".png"
    os.makedirs(os.path.dirname(result) or ".", exist_ok=True)
    if a.is_one_2_N:
        found = test.run_model_test_1N()
        arrays = dict(zip(("fars", "tpirs", "cmc1", "cmc2"), found, strict=True))
        table, _ = plot_dir_far_cmc_scores([found], [model_name], picture)
    else:
        scores, names = test.run_model_test_bunch() if a.is_bunch else ([test.run_model_test_single()], ["N0D1F1"])
        arrays = {
            "scores": np.stack(scores),
            "names": np.array(names),
            **({"label": test.data.pairs[2]} if a.save_label else {}),
        }
        table, _ = plot_roc_and_calculate_tpr(scores, names, test.data.pairs[2], picture)
    arrays |= {"embs": test.embs, "embs_f": test.embs_f} if a.save_embeddings or restore else {}
    with open(result + ".part", "wb") as file:
        np.savez(file, **arrays)
    os.replace(result + ".part", result)
    Kept.remove(keep)
    if test.skipped:
        log.warning("%d images could not be read, the first: %s", len(test.skipped), test.skipped[0])
    log.info("%s and %s", result, picture)
    return table


if __name__ == "__main__":
    raise SystemExit(main())
