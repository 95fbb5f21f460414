"""The page of a fine-tuning: what was done, before and after, what was left out."""

import html

import pandas as pd

from facetrainer.finetuning.tune import Finetuned, as_dict
from facetrainer.reporting import page, plots


def write(path: str, result: Finetuned) -> str:
    """Writes the page.

    Args:
        path: `.html` file.
        result: What came of it.

    Returns:
        The path.
    """
    told = as_dict(result)
    parts = [
        f"<h1>{'Fine-tuned' if result.better else 'Not better: the old model'}</h1><p>{html.escape(result.why)}</p>"
    ]
    parts.append("<h2>Recipe</h2>" + page.table(pd.DataFrame(told["recipe"].items(), columns=["", " "])))
    for name, numbers in told["results"].items():
        parts.append(f"<h2>{html.escape(name.capitalize())}</h2>")
        if name == "new people":
            parts.append(f"<p>{html.escape(result.division.told())}</p>")
        parts.append(page.table(_rows(numbers)))
        both = {when: getattr(result, when)[name] for when in ("before", "after")}
        parts.append(
            page.figure(plots.roc({when: (one.scores, one.same, one.people) for when, one in both.items()}), "ROC")
        )
    if result.old_sets:
        rows = [[name, *map("{:.4f}".format, pair)] for name, pair in result.old_sets.items()]
        parts.append(
            "<h2>Sets, 10-fold accuracy</h2>" + page.table(pd.DataFrame(rows, columns=["set", "before", "after"]))
        )
    if result.left_out:
        rows = pd.DataFrame(result.left_out)[["file", "reason"]].head(200)
        parts.append(f"<h2>Left out, {len(result.left_out)}</h2>" + page.table(rows))
    parts.append("<h2>Written</h2><ul>" + "".join(f"<li>{html.escape(one)}</li>" for one in result.files) + "</ul>")
    with open(path, "w", encoding="utf-8") as file:
        file.write(
            f"<!doctype html><html lang=en><meta charset=utf-8><title>Fine-tuning</title><style>{page.STYLE}</style>{''.join(parts)}</html>"
        )
    return path


def _rows(numbers):
    def shown(value):
        return f"{value[0]:.4f} ({value[1]:.4f}–{value[2]:.4f})"

    rows = [[name, shown(numbers["before"][name]), shown(numbers["after"][name])] for name in numbers["before"]]
    return pd.DataFrame(rows, columns=["", "before (95 % over people)", "after"])
