"""What `import IJB_evals` had as functions."""

from facetrainer.metrics.identification import search


def evaluation_1N(query_feats, gallery_feats, query_ids, reg_ids, fars=(0.01, 0.1)):  # noqa: N802
    """Searches every query in a gallery.

    Args:
        query_feats: Features (Q, D) of length 1.
        gallery_feats: Features (G, D) of length 1.
        query_ids: People of the queries, (Q,).
        reg_ids: People of the gallery, (G,).
        fars: False-accept rates. Defaults to `(0.01, 0.1)`.

    Returns:
        `{"top1": …, "top5": …, "top10": …, "DIR@FAR=0.01": …}`; nan where the queries without a person cannot tell the rate.

    Raises:
        ValueError: All queries are in the gallery, or none.
    """
    found = search(query_feats, gallery_feats, query_ids, reg_ids)
    ranks = {f"top{k}": found.top(k) for k in (1, 5, 10)}
    return {**ranks, **{f"DIR@FAR={far:g}": found.dir_at_far(far)[0] for far in fars}}
