"""Weights in, weights out: files of other programs → Keras models → files for phones and servers.

python convert.py import ms1mv3_r100.pt -o r100.keras
python convert.py export r100.keras --to litert --quantize int8 --data /datasets/faces_emore --bin lfw.bin
python convert.py bench mobilefacenet ghostnet r50 --forms litert litert-int8 onnx --threads 1 4
python convert.py info r100.keras
python convert.py card r100_int8.tflite
"""

from __future__ import annotations

import argparse
import json
import os
from typing import Any

from facetrainer.cli import run
from facetrainer.utils.lazy import later
from facetrainer.utils.optional import need
from facetrainer.utils.system import cores

cards = later("facetrainer.reporting.card")
backbones, count = later("facetrainer.backbones"), later("facetrainer.backbones.count")
compare, timing = later("facetrainer.evaluation.comparison"), later("facetrainer.evaluation.timing")
exporters, files = later("facetrainer.weights.exporters"), later("facetrainer.utils.files")
keras, np, pairs = later("keras"), later("numpy"), later("facetrainer.evaluation.pairs")
models, opening = later("facetrainer.models"), later("facetrainer.evaluation.interface")
onnx, onnxfile = later("facetrainer.weights.onnx"), later("facetrainer.io.onnxfile")

SUFFIXES = {"litert": ".tflite", "onnx": ".onnx", "savedmodel": "", "keras": ".keras"}
QUANTIZE = ("fp16", "int8", "dynamic")
FORMS = (
    "keras", "litert", "litert-dynamic", "litert-fp16", "litert-int8", "onnx", "onnx-dynamic", "onnx-fp16", "onnx-int8",
)  # fmt: skip
FOREIGN = (".pt", ".pth", ".onnx", ".params", ".json", ".tflite")


def main(argv: list[str] | None = None) -> int:
    """Does what the arguments say; exit codes of `run.call`."""
    return run.call(parser(), lambda a: a.work(a), argv)


def parser() -> argparse.ArgumentParser:
    """The commands and their arguments."""
    whole = run.describe("convert", __doc__)
    commands = whole.add_subparsers(required=True, metavar="command")

    one = commands.add_parser("import", help="file of another program → .keras")
    one.add_argument("file", help=".pt, .pth, .onnx, -symbol.json, .params, .h5, SavedModel folder")
    one.add_argument(
        "-o", "--output", help="default: the file's name with .keras, _basic.keras for a .keras, in this folder"
    )
    one.add_argument("--size", type=int, nargs=2, default=(112, 112), metavar=("H", "W"), help="of the images, 112 112")
    one.set_defaults(work=import_)

    one = commands.add_parser("export", help="model → file for use")
    one.add_argument("model", help=".keras, .h5, or anything that import reads")
    one.add_argument("--to", required=True, choices=SUFFIXES)
    one.add_argument("-o", "--output", help="default: the model's name with the form")
    one.add_argument("-q", "--quantize", choices=QUANTIZE, help="weights of 16 bits, of 8, or all in 8 (int8)")
    one.add_argument("--data", help="training data: 128 images of it calibrate int8, and are compared")
    one.add_argument("--bin", help="pairs: accuracy before and after")
    one.add_argument(
        "--normalised-input", action="store_true", help="takes (x - 127.5) / 128, not pixels 0…255 of uint8"
    )
    one.add_argument("--unit-length", action="store_true", help="divides embeddings by their length")
    one.add_argument("--batch", type=int, help="fixed number of images (default: any; litert 1)")
    one.add_argument("--licence", metavar="TEXT", help="of the weights, for the .json beside the file and its card")
    one.set_defaults(work=export)

    one = commands.add_parser("bench", help="size and milliseconds on this CPU")
    one.add_argument("names", nargs="+", help="backbones, with weights at random, or model files")
    one.add_argument(
        "--forms", nargs="+", default=["keras", "litert", "litert-fp16", "litert-int8", "onnx"], choices=FORMS
    )
    one.add_argument("--threads", type=int, nargs="+", default=[1, cores()])
    one.add_argument("--no-xnnpack", action="store_true", help="time LiteRT without it too")
    one.add_argument("--tail", help="output_layer; default: as the backbone was published")
    one.add_argument("--emb-shape", type=int, default=512)
    one.add_argument("--csv", help="write the table there too")
    one.set_defaults(work=bench)

    one = commands.add_parser("info", help="input, embedding, preprocessing, head, parameters")
    one.add_argument("file")
    one.set_defaults(work=info)

    one = commands.add_parser("card", help="a page of an exported file, from the .json beside it")
    one.add_argument("file", help="what export has written")
    one.add_argument("-o", "--output", help="default: {file}.md")
    one.set_defaults(work=card)
    for one in commands.choices.values():
        run.add_json(one, "what is printed, as numbers")
        run.add_trusted(one)
    return whole


def open_model(path: str, size: tuple[int, int] = (112, 112), trusted: bool = False) -> tuple[Any, Any]:
    """Model file → (basic model, head or None)."""
    if path.endswith(FOREIGN) or os.path.isdir(path):
        return models.import_weights(path, (*size, 3), trusted), None
    return models.split(models.load(path, compile=False, trusted=trusted))


def import_(a) -> dict:
    """`import`: write the Keras model, then run its source beside it where that can be run."""
    model, _ = open_model(a.file, a.size, a.trusted)
    stem, suffix = os.path.splitext(os.path.normpath(a.file))
    output = a.output or os.path.basename(stem) + ("_basic.keras" if suffix == ".keras" else ".keras")
    models.save(model, output)
    print(f"{output}: {about(model)}")
    written = {"file": output, "parameters": model.count_params(), "embedding": model.output_shape[-1]}
    try:
        source = running_source(a.file, a.trusted)
    except (ImportError, ValueError) as error:
        print(f"not compared: {error}")
        return {**written, "not compared": str(error)}
    largest, cosine = compare.difference(
        source, opening.interface(output), compare.sample(None, 16, model.input_shape[1:3])
    )
    print(
        f"largest difference from the source on 16 drawn faces: {largest:.1e} (unit length), lowest cosine {cosine:.7f}"
    )
    return {**written, "largest difference": float(largest), "lowest cosine": float(cosine)}


def running_source(path: str, trusted: bool = False):
    """Foreign file → what its own program makes of images (x − 127.5) / 128.  ValueError where it holds no program."""
    if path.endswith(".onnx"):
        run = opening.interface(path)
        if onnx.takes_pixels(onnxfile.read_graph(path)):
            return lambda images: run(images * np.float32(128) + np.float32(127.5))
        return lambda images: run(images * np.float32(128 / 127.5))
    if os.path.isdir(path):
        return opening.interface(path, trusted=trusted)
    if path.endswith((".params", ".json")):
        need("mxnet", "mxnet", "running the source")
    if path.endswith((".h5", ".keras")):
        raise ValueError("the source is a Keras model itself.")
    raise ValueError("the source is weights without a program; the layers' shapes all fit, and none was left over.")


def export(a) -> dict:
    """`export`: write, run what was written, say how far it is from the model; the same as JSON beside it."""
    model, _ = open_model(a.model, trusted=a.trusted)
    output = a.output or _name(a)
    images = compare.sample(a.data, 128, model.input_shape[1:3]) if a.data else None
    options = {"raw": not a.normalised_input, "unit_length": a.unit_length, "batch": a.batch}
    found = compare.export(model, output, a.to, a.quantize, images, **options)
    report = {
        "input": _input_text(model, not a.normalised_input), "embedding": model.output_shape[-1], "unit length": a.unit_length,
        "form": a.to, "quantize": a.quantize, "from": os.path.abspath(a.model),
        "sha256": None if os.path.isdir(a.model) else files.sha256_of(a.model), **_compared(model, output, found, a.bin),
        **cards.sidecar(a.model, tuple(model.input_shape[1:3]), not a.normalised_input, a.licence),
    }  # fmt: skip
    files.write_json(f"{output.rstrip('/')}.json", report, indent=1)
    return {"file": output, **report}


def card(a) -> dict:
    """`card`: write a page of what export has written."""
    path = f"{a.file.rstrip('/')}.json"
    if not os.path.exists(path):
        raise FileNotFoundError(f"{path} does not exist: facetrainer convert export writes it beside the file.")
    try:
        about = json.loads(files.read_bytes(path))
        text = cards.page(about, os.path.basename(a.file.rstrip("/")))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} tells too little ({error}): export the file anew.") from None
    output = a.output or f"{a.file.rstrip('/')}.md"
    with files.replacing(output) as part, open(part, "w", encoding="utf-8") as file:
        file.write(text)
    print(output)
    return {"file": output}


def _compared(model, output, found, pairs_file):
    """Print and return how far the file is from the model."""
    largest, cosine = found
    distance = {"largest difference": largest, "lowest cosine": cosine}
    text = f"largest difference {largest:.1e} (unit length), lowest cosine {cosine:.7f}"
    print(f"{output}: {_size(output) / 1e6:.2f} MB, {text}")
    if not pairs_file:
        return distance
    embedders = {"before": opening.interface(model), "after": opening.interface(output, trusted=True)}
    results = compare.accuracies(embedders, pairs.read_pairs(pairs_file))
    for when, result in results.items():
        print(f"{when:6} {result}")
    return {**distance, "accuracy": {when: result.accuracy for when, result in results.items()}}


def _name(a):
    stem = os.path.splitext(os.path.normpath(a.model))[0]
    return f"{stem}_{a.quantize or a.to}{SUFFIXES[a.to]}"


def _size(path):
    if os.path.isfile(path):
        return os.path.getsize(path)
    return sum(os.path.getsize(os.path.join(home, file)) for home, _, files in os.walk(path) for file in files)


def bench(a) -> list[dict]:
    """`bench`: print the table, and write it."""
    found = {os.path.basename(name): _bench_model(name, a) for name in a.names}
    table = timing.table(found, a.forms, a.threads, a.no_xnnpack)
    print(table.round(3).to_string(index=False))
    if a.csv:
        table.to_csv(a.csv, index=False)
    return table.to_dict("records")


def _bench_model(name, a):
    if os.path.exists(name):
        return open_model(name, trusted=a.trusted)[0]
    tail = a.tail or backbones.TAILS.get(name.lower(), "GDC")
    return models.buildin_models(name, 0, a.emb_shape, output_layer=tail, use_bias=tail in ("E", "H"))


def info(a) -> dict:
    """`info`: print what a file is."""
    if not os.path.exists(a.file):
        raise FileNotFoundError(f"{a.file} does not exist.")
    found = _file_info(a.file) if a.file.endswith((".tflite", ".onnx")) else _model_info(a.file, a.trusted)
    for name, text in found.items():
        print(f"{name:14} {text}")
    return found


def _model_info(path, trusted):
    model, head = open_model(path, trusted=trusted)
    raw = model.inputs[0].dtype == "uint8"
    return {
        "input": _input_text(model, raw),
        "embedding": model.output_shape[-1],
        "preprocessing": "inside" if raw else "outside: (x - 127.5) / 128, RGB",
        "head": f"{type(head).__name__}, {head.units} people" if head else "none",
        "parameters": about(model),
    }


def _file_info(path):
    """Of a file for use: what its runtime says."""
    kinds = {".tflite": _litert_ends, ".onnx": _onnx_ends}
    try:
        (kind, shape), (given, width) = kinds[os.path.splitext(path)[1]](path)
    except ImportError:
        raise
    except Exception as error:  # each runtime has exceptions of its own for a damaged file
        raise ValueError(f"{path} cannot be opened: {error}") from error
    return {
        "input": f"{kind} {shape}",
        "embedding": f"{given} {width}",
        "preprocessing": "inside" if kind == "uint8" else "outside: see the .json beside it",
        "size": f"{_size(path) / 1e6:.2f} MB",
    }


def _litert_ends(path):
    litert = need("ai_edge_litert.interpreter", "ai-edge-litert", path).Interpreter(path)
    ends = (*litert.get_input_details(), *litert.get_output_details())
    return [(np.dtype(one["dtype"]).name, tuple(map(int, one["shape"]))) for one in ends]


def _onnx_ends(path):
    session = need("onnxruntime", "onnxruntime", path).InferenceSession(path, providers=["CPUExecutionProvider"])
    return [(one.type[7:-1], tuple(one.shape)) for one in (*session.get_inputs(), *session.get_outputs())]


def _input_text(model, raw):
    height, width, channels = model.input_shape[1:]
    return f"{height}×{width}×{channels} RGB, " + ("uint8 0…255" if raw else "float32 (x - 127.5) / 128")


def about(model: Any) -> str:
    """Parameters, multiply-additions, layers."""
    weights = f"{count.parameters(model):,} trainable of {model.count_params():,}"
    return f"{weights}, {count.macs(model) / 1e6:,.1f} M multiply-additions, {len(model.layers)} layers"
