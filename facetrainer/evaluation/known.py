"""Verification sets that papers quote: how many pairs they have, so that another set of the same name is noticed."""

import re

# pairs, and how many of them are of one person
KNOWN = {
    "lfw": (6000, 3000), "cfp_ff": (7000, 3500), "cfp_fp": (7000, 3500), "agedb_30": (6000, 3000), "calfw": (6000, 3000),
    "cplfw": (6000, 3000), "vgg2_fp": (5000, 2500), "xqlfw": (6000, 3000), "sllfw": (6000, 3000), "mlfw": (6000, 3000),
    "rfw_african": (6000, 3000), "rfw_asian": (6000, 3000), "rfw_caucasian": (6000, 3000), "rfw_indian": (6000, 3000),
    "rfw": (24000, 12000),
}  # fmt: skip


def name_of(name: str) -> str | None:
    """The published set that is called so, whatever the case; "-" and "_" do not matter."""
    return {re.sub("[^a-z0-9]", "", one): one for one in KNOWN}.get(re.sub("[^a-z0-9]", "", name.lower()))


def odd(name: str, same) -> str:
    """A sentence where a set has the name of a published one and not its pairs; else nothing.

    Args:
        name: What the set is called; case, "-" and "_" do not matter.
        same: Whether each pair is of one person, `(n,)`.

    Returns:
        The sentence, or an empty string.
    """
    known = name_of(name)
    found = (len(same), int(sum(same)))
    if known is None or found == KNOWN[known]:
        return ""
    pairs, mine = KNOWN[known]
    theirs = f"the published {known} has {pairs:,} and {mine:,}"
    return f"{name} has {found[0]:,} pairs, {found[1]:,} of one person; {theirs}: numbers do not compare."


def two_of_a_name(results: list[dict]) -> list[str]:
    """Names under which results were found on different sets, by the hashes of their files.

    Args:
        results: With "name" and "sha256".

    Returns:
        The names.
    """
    hashes: dict[str, set] = {}
    for one in results:
        hashes.setdefault(one["name"], set()).add(one.get("sha256") or "")
    return [name for name, found in hashes.items() if len(found) > 1]
