"""Texture patterns behind a model's own embedding, for sets too small to learn texture from; a metric learnt on top makes use of them.

Examples:
  facetrainer train lfw_small
  facetrainer patterns -m checkpoints/lfw_small_basic_model_latest.keras -D $FACE_DATA/lfw -o small.keras
  facetrainer evaluate -m small.keras -t $FACE_DATA/lfw/lfw_dev.bin --backend plda --learn-from $FACE_DATA/lfw
"""

from __future__ import annotations

import argparse

from facetrainer.cli import run
from facetrainer.utils.lazy import later

evaluation, models = later("facetrainer.evaluation"), later("facetrainer.models")
sources, np = later("facetrainer.data.sources"), later("numpy")


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    main = run.describe("patterns", __doc__)
    main.add_argument("-m", "--basic_model", required=True, help="model file: .keras or .h5")
    main.add_argument("-D", "--data_path", required=True, help="the data it was trained on")
    main.add_argument("-o", "--output", required=True, help=".keras to write")
    main.add_argument("--width", type=int, default=350, help="principal components (350)")
    main.add_argument("--share", type=float, default=1.2, help="length of the patterns' part, the network's is 1 (1.2)")
    main.add_argument("--images", type=int, default=5000, help="that the components are taken from (5000)")
    run.add_json(main, "file, widths, images")
    run.add_trusted(main)
    return main


def main(argv: list[str] | None = None) -> int:
    """Writes the model; exit codes of `run.call`."""
    return run.call(parser(), _work, argv)


def _work(a):
    if not a.output.endswith(".keras"):
        raise ValueError(f"-o: expected a name ending in .keras. Received: {a.output!r}")
    model, source = models.load(a.basic_model, trusted=a.trusted), sources.open_source(a.data_path)
    chosen = np.random.default_rng(0).permutation(len(source))[: a.images]
    if len(chosen) < a.width:
        raise ValueError(
            f"{a.data_path}: {len(chosen)} images give no {a.width} components. Give --width {len(chosen) // 2}."
        )
    images = evaluation.Embedder(model).decode([source.read(int(i)) for i in chosen])
    models.save(models.with_patterns(model, images, a.width, a.share), a.output)
    print(f"{a.output}: embedding of {model.output_shape[-1]} + {a.width}, components of {len(chosen):,} images")
    return {"file": a.output, "network": model.output_shape[-1], "patterns": a.width, "images": len(chosen)}
