"""Images a second of training on one device, JAX and Keras beside torch in arcface_torch's form.

    python -m benchmarks.gpu --csv gpu.csv                                   r50 and mbf, 128 to 1,024 images, 93,431 and 1,000,000 people
    python -m benchmarks.gpu --nets mbf --batches 8 --classes 1000 --steps 3 --warm 1      on a CPU, to see that it runs

Each row is a process of its own; both sides of `--together` cases compile side by side and are timed one by one. A step is forward,
backward, SGD with momentum, of embedder and head, with bf16 where the net computes and fp32 where weights lie. `share` is the step's
counted FLOPs over what the chip does in bf16 (`--peak`, in TFLOP/s; an H100 SXM has 989).
torch's side is written here: channels-last, autocast, torch.compile, nets of arcface_torch's shapes, with the same number of parameters.
Needs JAX, Keras and this project; torch where it is there. TensorFlow is not imported.
"""

import argparse
import collections
import glob
import gzip
import json
import math
import os
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DEPTHS = {"r50": (3, 4, 14, 3), "r100": (3, 13, 30, 3), "r18": (2, 2, 2, 2)}
TAILS = {"mbf": "GDC"}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("gpu", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--nets", nargs="+", default=["r50", "mbf"])
    parser.add_argument("--batches", nargs="+", type=int, default=[128, 512, 1024])
    parser.add_argument("--classes", nargs="+", type=int, default=[93_431, 1_000_000])
    parser.add_argument(
        "--rates", nargs="+", type=float, default=[1.0, 0.1], help="1 is the full head, below 1 the sampled one"
    )
    parser.add_argument("--sides", nargs="+", default=["jax", "torch"])
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--warm", type=int, default=5)
    parser.add_argument("--together", type=int, default=1, help="cases that lie on the device at once")
    parser.add_argument("--peak", type=float, default=989.0, help="TFLOP/s of the chip in bf16, without sparsity")
    parser.add_argument("--data", help="a .rec or folder: images read from it instead of made")
    parser.add_argument("--profile", action="store_true", help="also the kernels that take longest, of JAX's side")
    parser.add_argument("--csv")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    a = parser.parse_args(argv)
    if a.row:
        print("ROW " + json.dumps(SIDES[json.loads(a.row)["side"]](a, **json.loads(a.row))))
        return 0
    cases = _cases(a)
    rows = [row for k in range(0, len(cases), a.together) for row in _rows(a, cases[k : k + a.together])]
    _show(rows, a.csv)
    return 0


def _cases(a):
    return [
        (net, batch, classes, rate)
        for net in a.nets
        for classes in a.classes
        for rate in a.rates
        for batch in a.batches
    ]


def _rows(a, cases):
    """Rows of all sides of some cases: all compile at once, each is timed alone."""
    names = ("side", "net", "batch", "classes", "rate")
    begun = [_begin(a, dict(zip(names, (side, *case), strict=True))) for case in cases for side in a.sides]
    for _, process in begun:
        _until(process, "READY")
    return [_timed(about, process) for about, process in begun]


def _begin(a, about):
    call = [
        sys.executable,
        "-m",
        "benchmarks.gpu",
        "--row",
        json.dumps(about),
        "--steps",
        str(a.steps),
        "--warm",
        str(a.warm),
    ]
    call += ["--peak", str(a.peak), *(["--data", a.data] if a.data else []), *(["--profile"] if a.profile else [])]
    faults = tempfile.TemporaryFile("w+")  # noqa: SIM115
    process = subprocess.Popen(call, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=faults, text=True, cwd=ROOT)
    process.faults = faults
    return about, process


def _until(process, word):
    """The rest of the first line that begins with the word; other lines are shown; None at the end of the output."""
    for line in process.stdout:
        if line.startswith(word):
            return line[len(word) :]
        print(line, end="", flush=True)
    return None


def _timed(about, process):
    if process.poll() is None:
        process.stdin.write("go\n")
        process.stdin.flush()
    found = _until(process, "ROW ")
    process.wait()
    process.faults.seek(0)
    fault = {"fault": (process.faults.read().strip().splitlines() or ["?"])[-1][:160]}
    row = {**about, **(json.loads(found) if found else fault)}
    print(row, flush=True)
    return row


def _wait():
    """Tells that compiling is done, until it is this row's turn."""
    print("READY", flush=True)
    sys.stdin.readline()


def _show(rows, path):
    import pandas as pd

    table = pd.DataFrame(rows)
    print(table.to_string(index=False))
    if path:
        table.to_csv(path, index=False)


def _numbers(a, seconds, batch, flops, memory, parameters):
    """A row's figures; the median step counts."""
    seconds = sorted(seconds)[len(seconds) // 2]
    return {"images/s": round(batch / seconds, 1), "step ms": round(1e3 * seconds, 2), "parameters": parameters,
            "GFLOP a step": round(flops / 1e9, 1), "share": round(flops / seconds / (a.peak * 1e12), 4),
            "memory GB": round(memory / 1e9, 3)}  # fmt: skip


# ----------------------------------------------------------------------------------------------------------------- jax


def of_jax(a, side, net, batch, classes, rate):
    os.environ["KERAS_BACKEND"] = "jax"
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    import jax
    import keras

    from facetrainer import heads, losses, models

    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    embedder = models.buildin_models(
        net, output_layer=TAILS.get(net, "E"), dropout=0, bn_momentum=0.9, use_bias=net not in TAILS
    )
    head = heads.NormDense(classes) if rate == 1 else heads.PartialNormDense(classes, sample_rate=rate)
    model = models.FaceModel(embedder, head, [losses.ArcfaceLoss()])
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9))
    batches = _batches(a, batch, classes)
    state, step, memory = _compiled(model, next(batches))
    flops = _flops(embedder, batch, int(classes * rate))

    def once(state):
        logs, state = step(state, next(batches))
        jax.block_until_ready(logs)
        return state

    state = once(state)
    _wait()
    seconds = []
    for _ in range(a.warm + a.steps):
        begin = time.perf_counter()
        state = once(state)
        seconds.append(time.perf_counter() - begin)
    if a.profile:
        with tempfile.TemporaryDirectory() as folder:
            with jax.profiler.trace(folder, create_perfetto_trace=False):
                for _ in range(3):
                    state = once(state)
            _show_kernels(folder)
    return _numbers(a, seconds[a.warm :], batch, flops, memory, embedder.count_params())


def _show_kernels(folder, lines=25):
    """Milliseconds of three steps by kernel, of the device's streams, the longest first."""
    spent = collections.Counter()
    for path in glob.glob(os.path.join(folder, "**", "*.trace.json.gz"), recursive=True):
        with gzip.open(path) as file:
            events = json.load(file)["traceEvents"]
        devices = {
            e["pid"] for e in events if e.get("name") == "process_name" and "/device:" in e["args"].get("name", "")
        }
        streams = {
            (e["pid"], e["tid"])
            for e in events
            if e.get("name") == "thread_name" and e["pid"] in devices and e["args"]["name"].startswith("Stream")
        }
        for e in events:
            if e.get("ph") == "X" and (e["pid"], e["tid"]) in streams:
                spent[e["name"]] += e.get("dur", 0) / 1e3
    print(f"kernels of three steps: {sum(spent.values()):.1f} ms, {len(spent)} names")
    for name, milliseconds in spent.most_common(lines):
        print(f"{milliseconds:9.2f} ms  {name[:110]}", flush=True)


def _compiled(model, data):
    """State, compiled step and the memory that it needs."""
    import jax

    model.optimizer.build(model.trainable_variables)
    model._symbolic_build(data_batch=data)
    kinds = ("trainable_variables", "non_trainable_variables", "optimizer_variables", "metrics_variables")
    state = model._get_jax_state(**dict.fromkeys(kinds, True))
    step = jax.jit(model.train_step, donate_argnums=0).lower(state, data).compile()
    memory = step.memory_analysis()
    return state, step, memory.argument_size_in_bytes + memory.temp_size_in_bytes


def _flops(embedder, batch, classes):
    """Of a step's convolutions and matrix products, as is usual three times those of the way forward; XLA counts none of cuDNN's."""
    import jax

    images = jax.ShapeDtypeStruct((batch, 112, 112, 3), "float32")
    return 3 * (_forward(jax.make_jaxpr(embedder)(images).jaxpr) + 2 * batch * 512 * classes)


def _forward(jaxpr):
    from jax.extend.core import jaxprs_in_params

    total = 0
    for eqn in jaxpr.eqns:
        total += sum(_forward(inner) for inner in jaxprs_in_params(eqn.params))
        if eqn.primitive.name == "conv_general_dilated":
            kernel, outputs = eqn.invars[1].aval, eqn.params["dimension_numbers"].rhs_spec[0]
            total += 2 * eqn.outvars[0].aval.size * kernel.size // kernel.shape[outputs]
        elif eqn.primitive.name == "dot_general":
            ((summed, _), _), left = eqn.params["dimension_numbers"], eqn.invars[0].aval.shape
            total += 2 * eqn.outvars[0].aval.size * math.prod(left[k] for k in summed)
    return total


def _batches(a, batch, classes):
    """Made images that lie on the device already, or images of a dataset, read by threads and brought there one batch ahead."""
    import jax
    import numpy as np

    rng = np.random.default_rng(0)
    if not a.data:
        images = rng.integers(0, 255, (batch, 112, 112, 3)).astype("uint8")
        made = jax.device_put((images, {"labels": rng.integers(0, classes, batch).astype("int32")}))
        while True:
            yield made
    from facetrainer import data

    ready = None
    for batch_of_data in data.open_faces(a.data, batch).batches():
        ready, now = jax.device_put(batch_of_data), ready
        if now is not None:
            yield now


# --------------------------------------------------------------------------------------------------------------- torch


def of_torch(a, side, net, batch, classes, rate):
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    device = "cuda" if torch.cuda.is_available() else "cpu"
    embedder = torch_net(net).to(device, memory_format=torch.channels_last)
    table = torch.nn.Parameter(torch.randn(classes, 512, device=device) * 0.01)
    optimizer = torch.optim.SGD([*embedder.parameters(), table], 0.1, momentum=0.9)
    images = torch.rand(batch, 3, 112, 112, device=device).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, classes, (batch,), device=device)
    compiled = torch.compile(embedder) if device == "cuda" else embedder
    with FlopCounterMode(display=False) as counter, torch.autocast(device, torch.bfloat16):
        _torch_loss(embedder(images), table, labels, rate)
    seconds, flops = [], 3 * counter.get_total_flops()

    def once():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device, torch.bfloat16):
            loss = _torch_loss(compiled(images), table, labels, rate)
        loss.backward()
        optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()

    once()
    _wait()
    for _ in range(a.warm + a.steps):
        begin = time.perf_counter()
        once()
        seconds.append(time.perf_counter() - begin)
    memory = torch.cuda.max_memory_allocated() if device == "cuda" else 0
    parameters = sum(p.numel() for p in embedder.parameters()) + sum(
        b.numel() for name, b in embedder.named_buffers() if "num_batches" not in name
    )
    return _numbers(a, seconds[a.warm :], batch, flops, memory, parameters)


def _torch_loss(embedding, table, labels, rate):
    """ArcFace over all classes, or over the labels and others drawn at random."""
    import torch
    from torch.nn import functional as f

    if rate < 1:
        luck = torch.rand(len(table), device=table.device)
        luck[labels] = 2.0
        drawn = torch.topk(luck, max(int(rate * len(table)), len(labels))).indices.sort().values
        table, labels = table[drawn], torch.searchsorted(drawn, labels)
    cosine = f.linear(f.normalize(embedding), f.normalize(table)).float().clamp(-1 + 1e-7, 1 - 1e-7)
    target = cosine.gather(1, labels[:, None])
    moved = target * 0.8775825619 - (1 - target * target).sqrt() * 0.4794255386
    return f.cross_entropy(64 * cosine.scatter(1, labels[:, None], moved), labels)


def torch_net(name: str):
    """r50 and the like, or mbf, with arcface_torch's layers."""
    import torch
    from torch import nn

    def conv(i, o, kernel, stride=1, groups=1, padding=None):
        return nn.Conv2d(i, o, kernel, stride, kernel // 2 if padding is None else padding, groups=groups, bias=False)

    def act(i, o, kernel, stride=1, groups=1):
        return nn.Sequential(conv(i, o, kernel, stride, groups), nn.BatchNorm2d(o), nn.PReLU(o))

    class Sum(nn.Module):
        def __init__(self, inner, short=None):
            super().__init__()
            self.inner, self.short = inner, short or nn.Identity()

        def forward(self, x):
            return self.inner(x) + self.short(x)

    def unit(i, o, stride):
        inner = nn.Sequential(
            nn.BatchNorm2d(i), conv(i, o, 3), nn.BatchNorm2d(o), nn.PReLU(o), conv(o, o, 3, stride), nn.BatchNorm2d(o)
        )
        return Sum(inner, nn.Sequential(conv(i, o, 1, stride), nn.BatchNorm2d(o)) if stride > 1 or i != o else None)

    def narrow(i, o, stride, wide):
        inner = nn.Sequential(act(i, wide, 1), act(wide, wide, 3, stride, wide), conv(wide, o, 1), nn.BatchNorm2d(o))
        return inner if stride > 1 else Sum(inner)

    layers = []
    if name == "mbf":
        layers += [act(3, 128, 3, 2), act(128, 128, 3, 1, 64)]
        for units, i, o, first, wide in ((4, 128, 128, 128, 128), (6, 128, 256, 256, 256), (2, 256, 256, 512, 256)):
            layers += [narrow(i, o, 2, first), *(narrow(o, o, 1, wide) for _ in range(units))]
        layers += [act(256, 512, 1), conv(512, 512, 7, 1, 512, 0), nn.BatchNorm2d(512), nn.Flatten()]
        layers += [nn.Linear(512, 512, bias=False)]
    else:
        layers, width = [act(3, 64, 3)], 64
        for depth, o in zip(DEPTHS[name], (64, 128, 256, 512), strict=True):
            layers += [unit(width if k == 0 else o, o, 2 if k == 0 else 1) for k in range(depth)]
            width = o
        layers += [nn.BatchNorm2d(512), nn.Flatten(), nn.Linear(512 * 49, 512)]
    net = nn.Sequential(*layers, nn.BatchNorm1d(512))
    assert net.eval()(torch.zeros(1, 3, 112, 112)).shape == (1, 512)
    return net.train()


SIDES = {"jax": of_jax, "torch": of_torch}

if __name__ == "__main__":
    raise SystemExit(main())
