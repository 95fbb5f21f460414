"""One run on one page: `{stem}_report.html`, pictures inside, nothing from a network."""

import base64
import html
import io

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from facetrainer.data.images import decode, encode, sheet
from facetrainer.reporting import plots as plot
from facetrainer.reporting import tables as report
from facetrainer.utils.files import replacing

STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:72em;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;font-size:13px}td,th{padding:.25em .7em;border-bottom:1px solid #ddd;text-align:right}
img{max-width:100%}.wide{overflow-x:auto}h2{margin-top:2em}"""


def path_of(trainer) -> str:
    """Where `Train` writes its page."""
    return f"{trainer.stem}_report.html"


def write(trainer, path: str | None = None, pairs: int = 8) -> str:
    """Finished `Train` → page with curves, table of epochs, and for each evaluation set numbers, ROC, DET, scores, best and worst pairs."""
    path = path or path_of(trainer)
    history = trainer.my_history.history
    parts = [_numbers(trainer), "<h2>Training</h2>", figure(plot.history(history), "curves of the run")]
    parts += ["<h2>Epochs</h2>", table(report.history_frame(history))]
    for one in trainer.my_evals:
        parts += _evaluation(one, pairs)
    title = html.escape(trainer.stem)
    head = f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>{STYLE}</style>"
    page = f"{head}<h1>{title}</h1>{''.join(parts)}</html>"
    with replacing(path) as part, open(part, "w", encoding="utf-8") as file:
        file.write(page)
    return path


def _numbers(trainer):
    about = {"images": len(trainer.source) if trainer.source else "a ready dataset", "people": trainer.faces.classes,
             "parameters": f"{trainer.basic_model.count_params():,}", "batch": trainer.batch_size}  # fmt: skip
    return table(pd.DataFrame([about]))


def _evaluation(callback, count):
    result, values, same = callback.evaluate(), report.scores(callback), callback.pairs.same
    curve = {result.name: (values, same, callback.pairs.people)}
    rows = {**result.protocol(), "10-fold accuracy": f"{result.accuracy:.4f} ± {result.std:.4f}",
            "max accuracy": f"{result.max_accuracy:.4f}",
            "threshold": f"{result.threshold:.4f}", "AUC": f"{result.auc:.4f}", "EER": f"{result.eer:.4f}",
            **{f"TAR@FAR={far:g}": f"{tar:.4f}" for far, tar in result.tar.items()}}  # fmt: skip
    yield f"<h2>{html.escape(result.name)}</h2>" + table(pd.DataFrame(rows.items(), columns=["", " "]))
    yield (
        figure(plot.roc(curve), "ROC")
        + figure(plot.det(curve), "DET")
        + figure(plot.scores(values, same, result.threshold), "scores")
    )
    for title, rows in zip(TITLES, _extremes(values, same, count), strict=True):
        yield f"<h3>{title}</h3>" + _pictures(callback.pairs, rows, values)


TITLES = (
    "One person, least alike",
    "Different people, most alike",
    "One person, most alike",
    "Different people, least alike",
)


def _extremes(values, same, count):
    """Pairs most wrongly and most rightly scored, of each kind."""
    mine, others = (np.flatnonzero(kind)[np.argsort(values[kind], kind="stable")] for kind in (same, ~same))
    return mine[:count], others[::-1][:count], mine[::-1][:count], others[:count]


def _pictures(pairs, rows, values):
    """Pairs one above the other, with the cosine of each in the text below."""
    images = [decode(pairs.images[2 * k + side], (112, 112)) for side in (0, 1) for k in rows]
    if not images:
        return "<p>none</p>"
    data = base64.b64encode(encode(sheet(images, len(rows)))).decode()
    cosines = ", ".join(f"{values[k]:.3f}" for k in rows)
    return f"<img alt='pairs of faces' src='data:image/jpeg;base64,{data}'><p>cosines from left to right: {cosines}</p>"


def figure(drawn: Figure, what: str) -> str:
    """A figure inside a page; `what` it shows is for those who cannot see it."""
    file = io.BytesIO()
    drawn.savefig(file, format="png", dpi=100)
    return f"<img alt='{what}' src='data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}'>"


def table(frame: pd.DataFrame) -> str:
    """A table inside a page."""
    return f"<div class=wide>{frame.to_html(index=False, border=0, na_rep='', float_format=lambda value: f'{value:.4g}')}</div>"
