"""The first minutes of five people, as commands and code, timed: what each types, how long it takes, and whether it worked.

python -m benchmarks.first_minutes                   all five, in a folder of their own
python -m benchmarks.first_minutes newcomer shipper
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

OLD_NOTEBOOK = """
import facetrainer
facetrainer.use_flat_names()
import keras
import losses, train, models
from facetrainer.data import synthetic
data_path, held_out = synthetic.dataset(60, 20, 8)
basic_model = models.buildin_models("MobileNet", dropout=0, emb_shape=64, output_layer="GDC", input_shape=(64, 64, 3))
tt = train.Train(data_path, save_path="old.h5", eval_paths=[held_out], basic_model=basic_model, model=None, lr_base=0.001, lr_decay=0.5,
                 lr_decay_steps=16, lr_min=1e-5, batch_size=32, random_status=0)
sch = [
  {"loss": keras.losses.CategoricalCrossentropy(label_smoothing=0.1), "centerloss": 0.01, "optimizer": "adam", "epoch": 1},
  {"loss": losses.ArcfaceLoss(scale=16), "epoch": 1},
  {"loss": losses.ArcfaceLoss(scale=32), "epoch": 1, "triplet": 64, "alpha": 0.3},
]
tt.train(sch, 0)
"""
PLAIN_RUNTIME = """
import numpy as np
from ai_edge_litert.interpreter import Interpreter
interpreter = Interpreter("face.tflite")
interpreter.allocate_tensors()
interpreter.set_tensor(interpreter.get_input_details()[0]["index"], np.zeros((1, 112, 112, 3), np.uint8))
interpreter.invoke()
print(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).shape)
"""
OWN_FACES = """
import os
from facetrainer.data import synthetic
for number, faces in enumerate(synthetic.people(30, 4, seed=3)):
    os.makedirs(f"photos/person_{number}", exist_ok=True)
    for i, face in enumerate(faces):
        open(f"photos/person_{number}/{i}.jpg", "wb").write(face)
"""
BEST = "checkpoints/drawn_faces_basic_model_latest.keras"
TRIES = {
    "newcomer": ["facetrainer doctor", "facetrainer train"],
    "notebook": [OLD_NOTEBOOK],
    "researcher": [
        "facetrainer train lfw_small --dry-run",
        "facetrainer evaluate -m BEST -t HELD_OUT --page study.html --bootstrap 200",
        "facetrainer report --help",
    ],
    "student": ["facetrainer recipes", "facetrainer train digits_softmax"],
    "shipper": [
        OWN_FACES,
        "facetrainer convert export BEST --to litert -q fp16 -o face.tflite --bin HELD_OUT",
        "facetrainer convert card face.tflite",
        PLAIN_RUNTIME,
        "facetrainer recognize enrol people photos --model BEST --detector aligned",
        "facetrainer recognize identify people photos/person_3/1.jpg --detector aligned",
    ],
}


def attempt(step, folder):
    """→ seconds, exit code, last line."""
    environment = {**os.environ, "PYTHONPATH": ROOT, "FACE_CACHE": os.path.join(folder, "cache"), "COLUMNS": "160"}
    words = [sys.executable, "-c", step] if "\n" in step else [sys.executable, "-m", *step.split()]
    walk = os.walk(environment["FACE_CACHE"])
    held_out = next((os.path.join(home, "held_out") for home, names, _ in walk if "held_out" in names), "none")
    words = [{"BEST": BEST, "HELD_OUT": held_out}.get(word, word) for word in words]
    begin = time.time()
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
    return time.time() - begin, done.returncode, (lines or [""])[-1][:90], len(done.stderr.splitlines())


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        "first_minutes", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("who", nargs="*", help=", ".join(TRIES))
    a, failed = parser.parse_args(argv), 0
    with tempfile.TemporaryDirectory() as folder:
        for who in dict.fromkeys(["newcomer", *(a.who or TRIES)]):  # the others use what is trained there
            for step in TRIES[who]:
                seconds, code, last, noise = attempt(step, folder)
                failed += code != 0
                name = (
                    step.strip().splitlines()[0]
                    if "\n" not in step
                    else f"{len(step.strip().splitlines())} lines of Python"
                )
                print(
                    f"{who:10} {seconds:6.1f} s  exit {code}  {noise:2} lines on stderr  {name:72.72}  {last}",
                    flush=True,
                )
    return int(failed > 0)


if __name__ == "__main__":
    raise SystemExit(main())
