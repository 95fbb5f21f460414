"""A study on a page that can stand in a paper or a procurement file: HTML, PDF and LaTeX from results as JSON.

Those are of `facetrainer evaluate` (pairs of images), `ijb` (pairs of templates, one-to-many search) and `folder` (search).

Results of one set and several models stand side by side; each number has its protocol, and the command that made it.
"""

import html
import json
import os
from collections.abc import Callable

import pandas as pd
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure

from facetrainer.evaluation import known
from facetrainer.reporting import paper
from facetrainer.reporting import study_plots as plots
from facetrainer.reporting.page import STYLE, figure, table
from facetrainer.utils.files import read_bytes, replacing


def read(paths: list[str]) -> list[dict]:
    """Results of files of `evaluate --json`, `ijb --json` and `folder --json`, those of each model and set in turn.

    Args:
        paths: The files.

    Returns:
        A dict for each model and set.

    Raises:
        ValueError: A file holds something else.
    """
    found = []
    for path in paths:
        try:
            results = json.loads(read_bytes(path))
            found += map(_checked, results if isinstance(results, list) else [results])
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise ValueError(
                f"{path} holds no results ({type(error).__name__}: {error}): facetrainer evaluate -m MODEL -t SET --json writes them."
            ) from None
    return found


def _checked(one):
    """A result with a name, and numbers of one kind at least."""
    number = {} if "templates" in one or "search" in one else {"accuracy": float(one["accuracy"])}
    return one | number | {"name": str(one["name"])}


def write(results: list[dict], path: str) -> str:
    """Writes a study.

    Args:
        results: From `read`, or what `evaluate` puts together.
        path: `.html`, `.pdf` or `.tex`.

    Returns:
        The path.

    Raises:
        ValueError: It is of another kind, or the results lack what they should have.
    """
    written = writer_of(path)
    with replacing(path) as part:
        try:
            written(results, part)
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise ValueError(f"the results are damaged ({type(error).__name__}: {error}): make them anew.") from None
    return path


def writer_of(path: str) -> Callable:
    """The function that writes a study of the path's kind.

    Returns:
        Function of results and path.

    Raises:
        ValueError: It is no kind of study.
    """
    kind = os.path.splitext(path)[1]
    if kind not in WRITERS:
        raise ValueError(f"{path}: expected a name ending in {', '.join(WRITERS)}.")
    return WRITERS[kind]


# ---------------------------------------------------------------------------------------------------------------- tables


def model_of(one: dict) -> str:
    """Short name of a result's model."""
    return os.path.basename(str((one.get("made by") or {}).get("model", "model")))


def _interval(one):
    ends = one.get("95%")
    return f" ({ends[0]:.4f}–{ends[1]:.4f})" if ends and None not in ends else ""


def accuracies(results: list[dict]) -> pd.DataFrame:
    """A row a model and set, 10-fold accuracy first."""
    rows = []
    for one in (one for one in results if "accuracy" in one):
        ends = one.get("95%") or {}
        row = {"model": model_of(one), "set": one["name"], "pairs": one["pairs"], "people": one.get("people", ""),
               "10-fold": f"{one['accuracy']:.4f}" + _interval({"95%": ends.get("10-fold accuracy")}), "max": f"{one['max_accuracy']:.4f}",
               "AUC": f"{one['auc']:.4f}" + _interval({"95%": ends.get("AUC")})}  # fmt: skip
        rows.append(row | _rates(one.get("rates")))
    return pd.DataFrame(rows).fillna("–")


def _rates(found):
    return {name: f"{one['rate']:.4f}" + _interval(one) for name, one in (found or {}).items()}


def templates(results: list[dict]) -> pd.DataFrame:
    """A column a model and set of pairs of templates, a row a number."""
    return _side_by_side(
        (
            f"{one['name']}, {model_of(one)}",
            {
                **one["templates"],
                "AUC": f"{one['AUC']['rate']:.4f}" + _interval(one["AUC"]),
                **_rates(one.get("rates")),
            },
        )
        for one in results
        if one.get("templates")
    )


def searches(results: list[dict]) -> pd.DataFrame:
    """A column a model, set and gallery, a row a number."""
    return _side_by_side(
        (f"{one['name']}, {gallery}, {model_of(one)}", {**found, **_rates(found["rates"])})
        for one in results
        for gallery, found in (one.get("search") or {}).items()
    )


def _side_by_side(columns):
    table = pd.DataFrame({name: pd.Series(numbers, dtype=object) for name, numbers in columns})
    return table.drop(index="rates", errors="ignore").fillna("–").rename_axis("").reset_index()


def carried(results: list[dict]) -> pd.DataFrame:
    """A row a model, set and carried threshold."""
    rows = [
        {"model": model_of(one), "set": one["name"], "set for FMR": fmr, **_point(point)}
        for one in results
        for fmr, point in (one.get("carried") or {}).get("at", {}).items()
    ]
    return pd.DataFrame(rows)


def _point(point):
    return {"threshold": f"{point['threshold']:.4f}", "FMR": f"{point['fmr']:.4g}" + _interval({"95%": point["fmr_95"]}),
            "FNMR": f"{point['fnmr']:.4g}" + _interval({"95%": point["fnmr_95"]}), "impostors": point["impostors"],
            "genuine": point["genuine"], "people": point["people"]}  # fmt: skip


def group_table(found: dict) -> pd.DataFrame:
    """A row a group at one threshold."""
    return pd.DataFrame([{"group": name, **_point(point)} for name, point in found["groups"].items()])


def fairness(found: dict) -> pd.DataFrame:
    """A row a measure."""
    shown = {
        name: ("∞" if one["value"] is None else f"{one['value']:.4g}") + _interval(one)
        for name, one in found["measures"].items()
    }
    return pd.DataFrame(shown.items(), columns=["measure", "value (95 %)"])


def protocol(results: list[dict]) -> pd.DataFrame:
    """What the numbers rest on; a row for all results where these agree, else a row each."""
    rows = [
        {"set": one["name"], "model": model_of(one), "what": key, "value": str(value)}
        for one in results
        for key, value in {**(one.get("protocol") or {}), **(one.get("made by") or {})}.items()
    ]
    table = pd.DataFrame(rows, columns=["set", "model", "what", "value"])
    agreed = (table.groupby("what")["value"].transform("nunique") == 1) & (
        table.groupby("what")["value"].transform("size") > 1
    )
    table.loc[agreed, ["set", "model"]] = "all"
    return table.drop_duplicates().sort_values(
        "what", key=lambda names: names.map(list(dict.fromkeys(names)).index), kind="stable"
    )


def latex(results: list[dict]) -> str:
    """A table in LaTeX (booktabs): a row a model, 10-fold accuracy in per cent of each set, and FNMR at the lowest FMR it resolves."""
    sets = list(dict.fromkeys(one["name"] for one in results if "accuracy" in one or "templates" in one))
    lines = [
        rf"\begin{{tabular}}{{l{'r' * len(sets)}}}",
        r"\toprule",
        " & ".join(["Model", *map(_escaped, sets)]) + r" \\",
        r"\midrule",
    ]
    for model in dict.fromkeys(map(model_of, results)):
        found = {
            one["name"]: one
            for one in results
            if model_of(one) == model and one["name"] in sets and "search" not in one
        }
        lines.append(" & ".join([_escaped(model), *(_cell(found.get(name)) for name in sets)]) + r" \\")
    about = (
        r"10-fold accuracy in \%, of templates 1 - FNMR at FMR = 1e-4; half a 95\% interval over people in small print"
    )
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", f"% {about}", ""])


def _cell(one):
    if one is None:
        return "--"
    rate, ends = one.get("accuracy"), (one.get("95%") or {}).get("10-fold accuracy")
    if rate is None:
        found = (one.get("rates") or {}).get("FNMR@FMR=0.0001") or {}
        rate, ends = 1 - found.get("rate", float("nan")), found.get("95%")
    half = rf"{{\tiny$\pm${50 * (ends[1] - ends[0]):.2f}}}" if ends and None not in ends else ""
    return f"{100 * rate:.2f}{half}" if rate == rate else "--"


def _escaped(text):
    return "".join(rf"\{c}" if c in "&%$#_{}" else r"\textbackslash{}" if c == "\\" else c for c in str(text))


# ------------------------------------------------------------------------------------------------------------------ page

SEARCH = (
    "FNIR: searches for enrolled people that do not return them first, at the threshold at which FPIR of the searches for others return "
    "somebody; intervals over the people searched for."
)


def _sections(results):
    """(title, table or figure, what it shows) one after the other."""
    twice = known.two_of_a_name(results)
    note = f"Different sets of one name, whose numbers do not compare: {', '.join(twice)}." if twice else ""
    several = (
        ("Accuracy", accuracies(results), note),
        (
            "Pairs of templates",
            templates(results),
            "All rates are at thresholds of these very pairs; FMR and FNMR of templates.",
        ),
        ("One-to-many search", searches(results), SEARCH),
    )
    yield from (one for one in several if len(one[1]))
    if len(carried(results)):
        basis = next(one["carried"]["set on"] for one in results if one.get("carried"))
        yield (
            "At thresholds that were set elsewhere",
            carried(results),
            f"The thresholds were set on {basis}, and are the same for all sets.",
        )
    for name in dict.fromkeys(one["name"] for one in results):
        mine = [one for one in results if one["name"] == name]
        curves = {model_of(one): one["curve"] for one in mine if one.get("curve")}
        if curves:
            yield f"{name}: error rates", plots.errors(curves, title=name), ""
        costs = {
            model_of(one): (one["cost"]["ms"], one["cost"]["MB"] or 0.0, one["accuracy"])
            for one in mine
            if one.get("cost") and "accuracy" in one
        }
        if len(costs) > 1:
            yield f"{name}: accuracy and cost", plots.pareto(costs, title=name), ""
        yield from _of_set(name, mine)
    yield "What the numbers rest on", protocol(results), ""


def _of_set(name, mine):
    curves = {model_of(one): one["evidence"] for one in mine if one.get("evidence")}
    if curves:
        worth = pd.DataFrame(
            [
                {"model": model, "Cllr": f"{one['Cllr']:.4f}", "Cllr min": f"{one['Cllr min']:.4f}"}
                for model, one in curves.items()
            ]
        )
        yield (
            f"{name}: evidence",
            worth,
            "Bits, 0 is perfect and 1 says nothing; ratios of each tenth of the pairs by the other nine.",
        )
        yield "", plots.tippett(curves, title=name), ""
    trained = [{"model": model_of(one), **_shown(one["trained on"])} for one in mine if one.get("trained on")]
    if trained:
        yield f"{name}: people who were trained on", pd.DataFrame(trained), ""
    for one in mine:
        if one.get("discard"):
            yield f"{name}: quality, {model_of(one)}", plots.discard(one["discard"], title=name), ""
        for column, found in (one.get("groups") or {}).items():
            yield f"{name}: {column}, {model_of(one)}", group_table(found), ""
            yield (
                "",
                fairness(found),
                "Intervals are all that a measure can be while each group's rates lie in intervals that hold all at once.",
            )
            yield "", plots.groups(found["groups"], title=f"{name}: {column}"), ""


def _shown(found):
    names = (
        "data",
        "people",
        "by name",
        "by embedding",
        "threshold",
        "pairs without them",
        "10-fold accuracy without them",
    )
    return {name: "–" if found[name] is None else found[name] for name in names}


def _html(results):
    parts = []
    for title, what, note in _sections(results):
        parts.append(f"<h2>{html.escape(title)}</h2>" if title else "")
        parts.append(f"<p>{html.escape(note)}</p>" if note else "")
        parts.append(
            figure(what, html.escape(title or "figure", quote=True)) if isinstance(what, Figure) else table(what)
        )
    title = "Face verification: " + ", ".join(dict.fromkeys(map(model_of, results)))
    head = f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(title)}</title><style>{STYLE}</style>"
    return f"{head}<h1>{html.escape(title)}</h1>{''.join(parts)}</html>"


def _write_html(results, path):
    with open(path, "w", encoding="utf-8") as file:
        file.write(_html(results))


def _write_latex(results, path):
    with open(path, "w", encoding="utf-8") as file:
        file.write(latex(results))


def _write_pdf(results, path):
    with PdfPages(path) as pages:
        flow = paper.Flow(pages)
        for title, what, note in _sections(results):
            flow.heading(title, note, room=flow.height_of(what))
            flow.add(what)
        flow.end()


WRITERS = {".html": _write_html, ".pdf": _write_pdf, ".tex": _write_latex}
