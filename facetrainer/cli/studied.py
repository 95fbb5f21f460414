"""What `facetrainer evaluate` prints of a set besides its accuracy, and puts into the report."""

from __future__ import annotations

import json
import logging
import os

from facetrainer.utils import files
from facetrainer.utils.lazy import later
from facetrainer.utils.text import shown, without_nan

drawn, pages = later("facetrainer.reporting.study_plots"), later("facetrainer.reporting.study")
study, environment = later("facetrainer.evaluation.study"), later("facetrainer.utils.environment")
evals, np, matching = later("facetrainer.evaluation"), later("numpy"), later("facetrainer.metrics.matching")
timing = later("facetrainer.evaluation.timing")
sources, overlaps = later("facetrainer.data.sources"), later("facetrainer.evaluation.overlap")
log = logging.getLogger("facetrainer")


def digest(model: str) -> str | None:
    """Of a model file; None for a folder."""
    return files.sha256_of(model) if os.path.isfile(model) else None


def studied(a, measured, ends, thresholds) -> dict:
    """Prints and returns what is asked for besides accuracy."""
    if not measured.curve.both or not np.isfinite(measured.scores).all():
        return {"made by": made_by(a, a.basic_model)}
    found = {"made by": made_by(a, a.basic_model), "rates": study.rates(measured, ends), "curve": study.curve(measured)}
    print("  " + ", ".join(f"{name} {shown(one['rate'])}" for name, one in found["rates"].items()))
    if thresholds:
        found["carried"] = _carried(a, measured, thresholds)
    if a.page or a.json:
        found["evidence"] = study.worth(measured)
        print(
            f"  Cllr {found['evidence']['Cllr']:.4f} bits, {found['evidence']['Cllr min']:.4f} with the best calibration"
        )
    if a.trained_on:
        found["trained on"] = _trained_on(a, measured)
    grouped = a.attributes or measured.pairs.groups
    if not (a.quality or a.reject or grouped):
        return found
    threshold, whose = study.threshold_of(measured, a.fmr, thresholds)
    if a.quality or a.reject:
        found["discard"] = _discarded(a, measured, threshold, whose)
    if grouped:
        found["groups"] = _groups(a, measured, threshold, whose)
    return found


def cost(a, embedder, pairs) -> dict:
    """Prints and returns megabytes of the model's file and milliseconds of one image on this machine."""
    megabytes = os.path.getsize(a.basic_model) / 1e6 if os.path.isfile(a.basic_model) else None
    milliseconds = timing.median(embedder.embed, embedder.decode(pairs.images[:8]), 10)
    print(f"  {'' if megabytes is None else f'{megabytes:.1f} MB, '}{milliseconds:.2f} ms an image, one at a time")
    return {"cost": {"MB": megabytes, "ms": milliseconds}}


def made_by(a, model: str | None) -> dict:
    """Model, program and machine, and the command that makes the same again."""
    about = {
        "model": model or "embeddings kept before",
        "sha256 of the model": model and digest(model),
        "command": a.command,
    }
    return about | environment.of_run()


def result(a, model: str | None, name: str, found: dict, protocol: dict) -> dict:
    """A result as `--json` and the pages have it: numbers, protocol, and how it is made again."""
    return {"name": name, **found, "protocol": protocol, "made by": made_by(a, model)}


def told(a, results: list[dict]) -> list[dict]:
    """Writes the page that is asked for; returns the results as JSON has them."""
    results = json.loads(json.dumps(without_nan(results)))
    if a.page:
        print(pages.write(results, a.page))
    return results


def rates(found: dict[str, dict]) -> str:
    """Rates by name on a line, with the intervals that they have."""
    return ", ".join(f"{name} {_rate(one)}" for name, one in found.items())


def _rate(one):
    low, high = one.get("95%") or (float("nan"),) * 2
    return shown(one["rate"]) + (f" ({shown(low)}–{shown(high)})" if low == low else "")


def _carried(a, measured, thresholds):
    sets = ", ".join(str(one.get("set")) for one in thresholds.get("sets", []) if isinstance(one, dict)) or a.thresholds
    if thresholds.get("model") and os.path.basename(str(thresholds["model"])) != os.path.basename(a.basic_model):
        log.warning("%s was made for %s, this is %s", a.thresholds, thresholds["model"], a.basic_model)
    found = study.carried(measured, thresholds)
    for fmr, point in found.items():
        print(f"  FMR {fmr} set on {sets}: {matching.AtThreshold(**point)}")
    return {"set on": sets, "file": a.thresholds, "at": found}


def _trained_on(a, measured):
    source = sources.open_source(a.trained_on)
    embed = evals.Embedder(a.basic_model, a.batch_size, trusted=a.trusted, crops=a.crops)
    found = overlaps.overlap(measured, source, embed, "" if a.no_flip else a.flip)
    named = "" if found["by name"] is None else f"{found['by name']} by name, "
    rest, accuracy = found["pairs without them"], found["10-fold accuracy without them"]
    told = (
        ""
        if accuracy is None or rest == len(measured.scores)
        else f"; without them 10-fold accuracy {accuracy:.4f} over {rest:,} pairs"
    )
    alike = f"{named}{found['by embedding']} by embedding (cosine {found['threshold']:.3f}, one by chance)"
    print(f"  of {found['people']:,} people {alike} are in {a.trained_on}{told}")
    return {"data": a.trained_on, **found}


def _discarded(a, measured, threshold, whose):
    found = study.discarded(measured, a.quality, threshold)
    for name, one in found.items():
        areas = f"{one['area']:.5f}, by chance {one['area of none']:.5f}, at best {one['area of perfect']:.5f}"
        print(
            f"  FNMR {one['FNMR'][0]:.4f} at the threshold for FMR {a.fmr:g} ({whose}); area to 20 % discarded by {name} {areas}"
        )
    if a.reject:
        drawn.discard(found, a.reject, measured.pairs.name)
    return found


def _groups(a, measured, threshold, whose):
    found = study.groups(measured, a.attributes, threshold)
    for column, one in found.items():
        print(f"  {column}, at the threshold for FMR {a.fmr:g} ({whose}):")
        for table in (pages.group_table(one), pages.fairness(one)):
            print("    " + table.to_string(index=False).replace("\n", "\n    "))
    return found


def compared(a, scores, pairs, flip):
    """Prints and returns how the model of `--compare` differs on the same pairs."""
    other = evals.scores_of(
        evals.Embedder(a.compare, a.batch_size, trusted=a.trusted).of_encoded(pairs.images, flip), centre=a.centre
    )
    found = study.compared(pairs, scores, other)
    accuracy, area = found["10-fold accuracy"], found["AUC"]
    print(
        f"  against {a.compare}: 10-fold accuracy {_signed(accuracy)}, AUC {_signed(area)}, DeLong p = {found['DeLong p']:.3g}"
    )
    only = f"{found['right here only']} pairs right here only, {found['right there only']} there only"
    print(f"  {only}, McNemar p = {found['McNemar p']:.3g}")
    return {"model": a.compare, **found}


def _signed(one):
    low, high = one["95%"]
    return f"{one['difference']:+.4f} ({low:+.4f} to {high:+.4f})"
