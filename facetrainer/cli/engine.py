"""Parts of a preparing task by Ray, on one machine or on a cluster, for people without Slurm."""

from __future__ import annotations

from facetrainer.utils.lazy import later
from facetrainer.utils.optional import need

shards = later("facetrainer.preparing.shards")


def run(target: str, argv: list[str], parts: int = 0, workers: int = 1):
    """Runs a command of `prepare` in parts, each as if it had been called with `--shard`, and merges them.

    Args:
        target: Where the parts meet.
        argv: Arguments of `facetrainer prepare`, without those of the engine.
        parts: How many. Defaults to `0`, as many as there are processors.
        workers: Processors of each part. Defaults to `1`.

    Returns:
        The report of the whole.

    Raises:
        ValueError: A part has failed; those that are done stay, and the same command goes on.
    """
    ray = need("ray", "ray", "--engine ray")
    if not ray.is_initialized():
        ray.init(log_to_driver=True)
    parts = parts or max(int(ray.cluster_resources().get("CPU", 1)) // workers, 1)
    work = ray.remote(num_cpus=workers, max_retries=2)(_part)
    codes = ray.get([work.remote([*argv, "--shard", f"{k}/{parts}", "--workers", str(workers)]) for k in range(parts)])
    failed = [k for k, code in enumerate(codes) if code]
    if failed:
        raise ValueError(f"parts {failed} of {parts} have failed, see above. The same command goes on with them.")
    return shards.merge(target, workers)


def _part(argv):
    from facetrainer.cli import prepare

    return prepare.main(argv)


def without(argv: list[str], *flags: str) -> list[str]:
    """Arguments without some flags and their values."""
    found, skip = [], False
    for one in argv:
        name, equals, _ = one.partition("=")
        if not skip and name not in flags:
            found.append(one)
        skip = name in flags and not equals
    return found
