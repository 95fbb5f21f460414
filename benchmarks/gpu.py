"""Images a second of training on one device, JAX and Keras beside torch in arcface_torch's form.

    python -m benchmarks.gpu --csv gpu.csv                                   r50 and mbf, 128 to 1,024 images, 93,431 and 1,000,000 people
    python -m benchmarks.gpu --nets mbf --batches 8 --classes 1000 --steps 3 --warm 1      on a CPU, to see that it runs

Each row is a process of its own. A step is forward, backward, SGD with momentum, of embedder and head, with bf16 where the net computes
and fp32 where weights lie. `share` is the step's counted FLOPs over what the chip does in bf16 (`--peak`, in TFLOP/s; an H100 SXM has 989).
torch's side is written here: channels-last, autocast, torch.compile, nets of arcface_torch's shapes, with the same number of parameters.
Needs JAX, Keras and this project; torch where it is there. TensorFlow is not imported.
"""

import argparse
import json
import os
import subprocess
import sys
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
    parser.add_argument("--peak", type=float, default=989.0, help="TFLOP/s of the chip in bf16, without sparsity")
    parser.add_argument("--data", help="a .rec or folder: images read from it instead of made")
    parser.add_argument("--profile", help="folder for JAX's profile of a few steps")
    parser.add_argument("--csv")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    a = parser.parse_args(argv)
    if a.row:
        print("ROW " + json.dumps(SIDES[json.loads(a.row)["side"]](a, **json.loads(a.row))))
        return 0
    rows = [_apart(a, side, *case) for case in _cases(a) for side in a.sides]
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


def _apart(a, side, net, batch, classes, rate):
    about = {"side": side, "net": net, "batch": batch, "classes": classes, "rate": rate}
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
    call += [
        "--peak",
        str(a.peak),
        *(["--data", a.data] if a.data else []),
        *(["--profile", a.profile] if a.profile else []),
    ]
    done = subprocess.run(call, capture_output=True, text=True, cwd=ROOT)
    found = next((line[4:] for line in done.stdout.splitlines() if line.startswith("ROW ")), None)
    row = {
        **about,
        **(json.loads(found) if found else {"fault": (done.stderr.strip().splitlines() or ["?"])[-1][:120]}),
    }
    print(row, flush=True)
    return row


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
    state, step, flops, memory = _compiled(model, next(batches))
    seconds = []
    for _ in range(a.warm + a.steps):
        begin = time.perf_counter()
        logs, state = step(state, next(batches))
        jax.block_until_ready(logs)
        seconds.append(time.perf_counter() - begin)
    if a.profile:
        with jax.profiler.trace(a.profile):
            for _ in range(3):
                logs, state = step(state, next(batches))
            jax.block_until_ready(logs)
    return _numbers(a, seconds[a.warm :], batch, flops, memory, embedder.count_params())


def _compiled(model, data):
    """State, compiled step, its FLOPs and the memory that it needs."""
    import jax

    model.optimizer.build(model.trainable_variables)
    model._symbolic_build(data_batch=data)
    kinds = ("trainable_variables", "non_trainable_variables", "optimizer_variables", "metrics_variables")
    state = model._get_jax_state(**dict.fromkeys(kinds, True))
    step = jax.jit(model.train_step, donate_argnums=0).lower(state, data).compile()
    memory, cost = step.memory_analysis(), step.cost_analysis()
    return state, step, cost.get("flops", 0.0), memory.argument_size_in_bytes + memory.temp_size_in_bytes


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
        _torch_loss(embedder(images), table, labels, rate).backward()
    seconds, flops = [], counter.get_total_flops()
    for _ in range(a.warm + a.steps):
        begin = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device, torch.bfloat16):
            loss = _torch_loss(compiled(images), table, labels, rate)
        loss.backward()
        optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()
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
