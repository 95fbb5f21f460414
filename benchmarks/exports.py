"""Every backbone to ONNX and LiteRT, whole, in 16 and in 8 bits: exported, run, compared with the model.

python -m benchmarks.exports --csv benchmarks/exports.csv      those that are not there yet, hours
python -m benchmarks.exports mobilefacenet vargface r50

Weights are at random, images drawn. The difference is the lowest cosine between the model's embedding and the file's over 16 images;
what an export's own check refuses, or cannot be written, stands there with its reason. Rows that the csv has already are passed over.
vargface is refused in 16 and 8 bits for its weights, not for its operations: at random it answers noise of 1e-3 in the image with a
cosine of 0.80 to what it was (mobilefacenet: 1.0).
"""

import argparse
import os
import tempfile
import time

import keras
import pandas as pd

from facetrainer import backbones
from facetrainer.backbones.table import TABLE
from facetrainer.data.images import normalised
from facetrainer.evaluation import comparison
from facetrainer.models import buildin_models

FORMS = ("onnx", "onnx-fp16", "onnx-int8", "litert", "litert-fp16", "litert-int8")


def settle(model, images):
    """Statistics of batch normalisation as after training: with those of a new model activations die away from layer to layer."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.5
    for _ in range(8):
        model(images, training=True)


def row(model, name, form, images):
    """One form of one backbone."""
    to, _, quantize = form.partition("-")
    begin, about = time.process_time(), {"backbone": name, "form": form}
    with tempfile.TemporaryDirectory() as home:
        path = os.path.join(home, f"model.{'tflite' if to == 'litert' else to}")
        try:
            largest, cosine = comparison.export(model, path, to, quantize or None, images)
            about |= {
                "MB": os.path.getsize(path) / 1e6,
                "largest difference": largest,
                "lowest cosine": cosine,
                "failed": "",
            }
        except Exception as error:  # whatever a converter raises is the row's result
            about |= {"failed": f"{type(error).__name__}: {error}".split("\n")[0][:300]}
    return {**about, "CPU-s": time.process_time() - begin}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--forms", nargs="+", default=FORMS, choices=FORMS)
    parser.add_argument("--csv", default="exports.csv")
    a = parser.parse_args()
    rows = pd.read_csv(a.csv).to_dict("records") if os.path.exists(a.csv) else []
    done = {(one["backbone"], one["form"]) for one in rows}
    for name in a.names or sorted(backbones.names(), key=lambda name: TABLE[name][1]):
        left = [form for form in a.forms if (name, form) not in done]
        if not left:
            continue
        model = buildin_models(name, output_layer=TABLE[name][0])
        images = comparison.sample(None, 32, model.input_shape[1:3])
        settle(model, normalised(images))
        for form in left:
            rows.append(row(model, name, form, images))
            pd.DataFrame(rows).to_csv(a.csv, index=False)
            print({key: value for key, value in rows[-1].items() if key != "failed" or value}, flush=True)
        keras.backend.clear_session()


if __name__ == "__main__":
    main()
