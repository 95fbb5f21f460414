"""One target a format: bytes from a stranger, opened as the commands open them.

A target is a function of the bytes and of a folder to write them to. It may refuse them with REFUSALS; anything else is a fault of ours.
`corpus` gives whole files to begin with, `mutate` makes others of them.
"""

import contextlib
import functools
import io
import json
import os
import pickle
import shutil
import struct
import tarfile
import zipfile

import cv2
import h5py
import hostile
import keras
import numpy as np

from facetrainer import models
from facetrainer.data import sources
from facetrainer.data import synthetic as draw
from facetrainer.data.images import decode
from facetrainer.evaluation import identify
from facetrainer.io import evalbin, lists, mxnetfile, pair_lists, pickled, recordio, torchfile
from facetrainer.metrics import calibration
from facetrainer.preparing.convert import convert
from facetrainer.recognition.stores import Entry
from facetrainer.recognition.stores.local import LocalStore
from facetrainer.training.state_files import read_state
from facetrainer.weights.importers import import_weights

REFUSALS = (ValueError, FileNotFoundError, OSError)
NUMBERS = {np.uint8: 3, np.int64: 6, np.float32: 0}  # MXNet's number of a type


def put(home, name, data):
    path = os.path.join(home, name)
    with open(path, "wb") as file:
        file.write(data)
    return path


def walk(source):
    """Everything that a run would read; single samples may be refused."""
    for i in range(min(len(source), 50)):
        with contextlib.suppress(REFUSALS):
            source.name(i)
            decode(source.read(i), (112, 112))


def rec(data, home):
    idx = os.path.join(home, "a.idx")
    if os.path.exists(idx):
        os.remove(idx)
    walk(sources.open_source(put(home, "a.rec", data)))


def idx(data, home):
    put(home, "b.idx", data)
    walk(sources.open_source(put(home, "b.rec", Corpus.of().files["train.rec"])))


def bin_(data, home):
    for image in evalbin.read_bin(put(home, "a.bin", data))[0]:
        decode(image, (112, 112))


def params(data, home):
    mxnetfile.read_params(put(home, "a.params", data))


def json_(data, home):
    """An MXNet symbol beside good parameters."""
    put(home, "n-symbol.json", data)
    put(home, "n-0000.params", params_of({"arg:w": np.ones((4, 3, 3, 3), np.float32)}))
    import_weights(os.path.join(home, "n-symbol.json"), (16, 16, 3))
    keras.backend.clear_session()


def pt(data, home):
    torchfile.read_state(put(home, "a.pt", data))
    with contextlib.suppress(REFUSALS):
        import_weights(os.path.join(home, "a.pt"), (32, 32, 3))


def onnx(data, home):
    import_weights(put(home, "a.onnx", data), (16, 16, 3))
    keras.backend.clear_session()


def tfrecord(data, home):
    walk(sources.open_source(put(home, "a.tfrecord", data)))


def tar(data, home):
    walk(sources.open_source(put(home, "a.tar", data)))


def image(data, home):
    decode(data, (112, 112))


def npz(data, home):
    walk(sources.open_source(put(home, "a.npz", data)))


def state(data, home):
    read_state(put(home, "a.state.npz", data))


def text(data, home):
    path = put(home, "a.csv", data)
    for read in (lists.read_list, pair_lists.read, lists.read_property, lists.read_names):
        with contextlib.suppress(REFUSALS):
            read(path)


def keras_(data, home):
    models.load(put(home, "a.keras", data), compile=False)
    keras.backend.clear_session()


def h5(data, home):
    models.load(put(home, "a.h5", data), compile=False)
    keras.backend.clear_session()


def names(data, home):
    """Names that lead elsewhere: every file has to lie below the target."""
    source = sources.open_source(os.path.join(home, "whole", "train.rec"))
    parts = data.decode("utf-8", "replace").split("\x1f")
    source.class_names = [parts[k % len(parts)] for k in range(len(source.class_names))]
    inner = os.path.join(home, f"inner{len(os.listdir(home))}")
    dest = os.path.join(inner, "deep", "dest")
    os.makedirs(os.path.dirname(dest))
    convert(source, dest, "folder", workers=1)
    inside, everywhere = (sum(len(files) for _, _, files in os.walk(top)) for top in (dest, inner))
    assert inside == everywhere == len(source), f"{everywhere - inside} files outside, {inside} inside of {len(source)}"


def header(data, home):
    """A gallery's header beside good photos."""
    folder = _gallery(home)
    put(folder, "gallery.json", data)
    _search(folder)


def photos(data, home):
    """A gallery's photos beside a good header."""
    folder = _gallery(home)
    put(folder, "photos-1.npz", data)
    _search(folder)


def _gallery(home):
    folder = os.path.join(home, "gallery")
    if os.path.exists(folder):
        shutil.rmtree(folder)
    store = LocalStore(folder, {"model": "m.keras"})
    store.add([Entry(name, np.eye(4, dtype=np.float32)[k], 0.5, f"{k}.jpg", "00" * 16) for k, name in enumerate("abc")])
    store.save()
    return folder


def _search(folder):
    store = LocalStore(folder)
    store.search(np.eye(4, dtype=np.float32), 2)
    store.sample(10)


def thresholds(data, home):
    put(home, "m_thresholds.json", data)
    calibration.read(os.path.join(home, "m.keras"))


def pairs(data, home):
    """A list of pairs, of any layout."""
    for name in ("pairs.txt", "bfw.csv"):
        pair_lists.read(put(home, name, data))


def facescrub(data, home):
    """A list of MegaFace's."""
    identify.open_set(put(home, "facescrub_features_list.json", data))


TARGETS = {"rec": rec, "idx": idx, "bin": bin_, "params": params, "json": json_, "pt": pt, "onnx": onnx, "tfrecord": tfrecord, "tar": tar,
           "image": image, "npz": npz,
           "state": state, "text": text, "keras": keras_, "h5": h5, "names": names,
           "header": header, "photos": photos, "thresholds": thresholds, "pairs": pairs, "facescrub": facescrub}  # fmt: skip

# -------------------------------------------------------------------------------------------------------------- corpus


def params_of(arrays):
    """{name: array} as MXNet's `.params`."""
    out = struct.pack("<QQQ", 0x112, 0, len(arrays))
    for array in arrays.values():
        out += struct.pack("<IiI", 0xF993FAC9, 0, array.ndim) + struct.pack(f"<{array.ndim}q", *array.shape)
        out += struct.pack("<iii", 1, 0, NUMBERS[array.dtype.type]) + array.tobytes()
    return (
        out + struct.pack("<Q", len(arrays)) + b"".join(struct.pack("<Q", len(name)) + name.encode() for name in arrays)
    )


class Corpus:
    """Whole files of every kind, and the hostile ones."""

    _one = None

    @classmethod
    def of(cls, home=None):
        if cls._one is None:
            cls._one = cls(home)
        return cls._one

    def __init__(self, home):
        self.home = os.path.join(home, "whole")
        os.makedirs(self.home, exist_ok=True)
        os.environ.setdefault(hostile.FLAG, os.path.join(home, "flag"))
        os.environ["FACE_CACHE"] = os.path.join(home, "cache")
        people = draw.people(3, 3, seed=0)
        self.flat = [image for images in people for image in images]
        recordio.write_faces(os.path.join(self.home, "train"), people)
        sources.write_shard(
            os.path.join(self.home, "s.tfrecord"),
            [(i, k % 3, np.ones(4, np.float32), "p") for k, i in enumerate(self.flat)],
        )
        self.files = {name: self.bytes(name) for name in ("train.rec", "train.idx", "s.tfrecord")}
        self.seeds = {name: getattr(self, name)() for name in TARGETS if name not in ("names",)}
        self.seeds["names"] = [
            "\x1f".join(NAMES[k : k + 3]).encode("utf-8", "surrogatepass") for k in range(len(NAMES) - 2)
        ]
        for name, (make, _) in hostile.FILES.items():
            kind = {"jpg": "image", "png": "image"}.get(name.rpartition(".")[2], name.rpartition(".")[2])
            kind = kind if kind in TARGETS else "image"
            make(os.path.join(self.home, name))
            if os.path.getsize(os.path.join(self.home, name)) < 200_000:
                self.seeds[kind].append(self.bytes(name))

    def bytes(self, name):
        with open(os.path.join(self.home, name), "rb") as file:
            return file.read()

    def made(self, name, make):
        make(os.path.join(self.home, name))
        return self.bytes(name)

    def rec(self):
        return [self.files["train.rec"]]

    def idx(self):
        return [self.files["train.idx"]]

    def tfrecord(self):
        return [self.files["s.tfrecord"]]

    def tar(self):
        whole = io.BytesIO()
        with tarfile.open(fileobj=whole, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for k, one in enumerate(self.flat[:4]):
                label = json.dumps({"label": k}).encode() if k % 2 else str(k).encode()
                for name, data in ((f"p/é{k:0150d}.jpg", one), (f"p/é{k:0150d}.{'json' if k % 2 else 'cls'}", label)):
                    about = tarfile.TarInfo(name)
                    about.size = len(data)
                    archive.addfile(about, io.BytesIO(data))
        return [whole.getvalue()]

    def bin(self):
        flat = self.flat[:4]
        forms = [
            flat,
            [np.frombuffer(i, np.uint8) for i in flat],
            [np.zeros((4, 4, 3), np.uint8)] * 4,
            [bytearray(i) for i in flat],
        ]
        sames = [[True, False], np.array([True, False]), [np.bool_(True), np.bool_(False)]]
        return [pickle.dumps((form, same), p) for form in forms for same in sames for p in range(6)]

    def params(self):
        return [params_of({f"arg:{kind.__name__}": np.arange(6).reshape(2, 3).astype(kind) for kind in NUMBERS})]

    def json(self):
        return [json.dumps(hostile.graphs.SYMBOL).encode()]

    def header(self):
        with open(os.path.join(_gallery(self.home), "gallery.json"), "rb") as file:
            return [file.read()]

    def photos(self):
        with open(os.path.join(_gallery(self.home), "photos-1.npz"), "rb") as file:
            return [file.read()]

    def pairs(self):
        texts = ("a/1.jpg b/2.jpg 1\nc 1 2\nc 1 d 2\n", "A_0001.jpg 1\nA_0002.jpg 1\n", "a/1.jpg\na/2.jpg\n",
                 'p1,p2,label,att1,att2\na.jpg,"b,c.jpg",1.0,x,y\n', "10 300\nA\t1\t2\n")  # fmt: skip
        return [text.encode() for text in texts]

    def facescrub(self):
        return [b'{"path": ["a/1.jpg", "b/2.jpg"], "id": ["a", "b"]}', b'{"path": ["1/1.jpg"]}']

    def thresholds(self):
        scores = np.random.default_rng(0).normal(size=400)
        found = calibration.calibrate(scores, np.arange(400) < 200, length=2.0, mirrored="sum")
        return [json.dumps(found).encode(), b"[" * 100_000]

    def pt(self):
        pickled = hostile.torches.tensor(0, [2, 4], [4, 1], 8)
        whole = functools.partial(hostile.torches.torch_file, pickled=pickled, storages={"0": bytes(32)})
        return [self.made("whole.pt", whole)]

    def onnx(self):
        nodes = [
            hostile.graphs.onnx_node("Conv", ["x", "w"], ["a"]),
            hostile.graphs.onnx_node("Relu", ["a"], ["b"]),
            hostile.graphs.onnx_node("Flatten", ["b"], ["y"]),
        ]
        return [self.made("whole.onnx", lambda path: hostile.graphs.onnx_file(path, nodes, [hostile.graphs.KERNEL]))]

    def image(self):
        picture = decode(self.flat[0])
        kinds = (".jpg", ".png", ".bmp", ".webp", ".tif", ".ppm", ".jp2", ".gif")
        found = [cv2.imencode(kind, picture[:40, :40])[1].tobytes() for kind in kinds]
        found.append(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes())
        exif = b"\xff\xe1\x00\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
        return [self.flat[0], *found, self.flat[0][:2] + exif + self.flat[0][2:]]

    def npz(self):
        found = []
        for arrays in (
            {
                "image_names": np.array(["a", "b"]),
                "image_classes": np.array([0, 1]),
                "embeddings": np.ones((2, 4), np.float32),
            },
            {"data_path": np.array(os.path.join(self.home, "train.rec")), "indices": np.arange(3)},
        ):
            for save in (np.savez, np.savez_compressed):
                file = io.BytesIO()
                save(file, **arrays)
                found.append(file.getvalue())
        return found

    def state(self):
        file = io.BytesIO()
        about = {
            "format": 2,
            "journal": {"run": {}, "stages": []},
            "states": {"model": {"weights": [{"array": "array_0"}]}, "progress": {"stage": 0}},
        }
        np.savez(file, about=json.dumps(about), array_0=np.ones(5, np.float32))
        return [file.getvalue()]

    def text(self):
        return [b"image,person\na.jpg,ann\nb.jpg,bob\n", b"0\t1.0\ta.jpg\n1\t2.0\tb.jpg\n", b"1 2\nann 1 2\nann 1 bob 2\n", b"3,112,112",
                "\ufeffimage,person\na\u2028.jpg,\"x\ny\"\n".encode()]  # fmt: skip

    def keras(self):
        inputs = keras.Input((8, 8, 3))
        x = keras.layers.BatchNormalization()(keras.layers.Conv2D(2, 3, activation="relu")(inputs))
        x = keras.layers.Dense(4, name="embedding")(keras.layers.Flatten()(x))
        model = keras.Model(inputs, x)
        full = models.FaceModel(model, models.NormDense(3))
        return [
            self.made("whole.keras", lambda path: models.save(model, path)),
            self.made("full.keras", lambda path: models.save(full, path)),
        ]

    def h5(self):
        model = keras.models.load_model(os.path.join(self.home, "whole.keras"), compile=False)
        return [self.made("whole.h5", lambda path: models.save(model, path))]


NAMES = ["../out", "..", "/etc/x", "a/../../b", "C:\\x", "..\\..\\x", "a\0b", "", ".", "con", "x" * 5000, "a:b", "ü" * 300, "~/x", "\n",
         "a", "A", "A_2", "a$b$", "_x", "\u2028", " ", "a/b", "a/b/c", "人" * 90]  # fmt: skip

# ------------------------------------------------------------------------------------------------------------- mutation


def mutate(target: str, data: bytes, rng: np.random.Generator) -> bytes:
    """Another file of one: by what the format is made of where that tells more, else by its bytes."""
    if target == "bin" and rng.random() < 0.5:
        return pickle_of(rng)
    if target in ("keras", "pt", "npz", "state") and rng.random() < 0.7 and zipfile.is_zipfile(io.BytesIO(data)):
        return inside_zip(data, rng)
    if target == "json" and rng.random() < 0.8:
        return changed_json(data, rng)
    if target == "h5" and rng.random() < 0.5:
        return inside_h5(data, rng)
    return damage(data, rng)


HUGE = [
    b"\xff\xff\xff\xff",
    b"\x00\x00\x00\x40",
    b"\xff\xff\xff\x7f",
    b"\x00\xca\x9a\x3b",
    b"\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\x00\x00\x00\x80",
]


def damage(data: bytes, rng: np.random.Generator) -> bytes:
    """One to three of: cut off, bits flipped, zeros, a huge length, a wrong beginning, a piece doubled or taken out, another number."""
    data = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(max(len(data), 1)))
        match rng.integers(9):
            case 0:
                del data[at:]
            case 1:
                for place in rng.integers(max(len(data), 1), size=rng.integers(1, 20)):
                    if data:
                        data[place] ^= 1 << int(rng.integers(8))
            case 2:
                data[at : at + 64] = bytes(len(data[at : at + 64]))
            case 3:
                huge = HUGE[rng.integers(len(HUGE))]
                data[at : at + len(huge)] = huge
            case 4:
                data[:4] = rng.bytes(4)
            case 5:
                data[at:at] = data[at : at + int(rng.integers(1, 200))]
            case 6:
                del data[at : at + int(rng.integers(1, 200))]
            case 7:
                data[: min(at, 64)] = rng.bytes(min(at, 64))
            case 8:
                data[at : at + 1] = bytes([int(rng.integers(256))])
    return bytes(data)


def inside_zip(data, rng):
    """One member damaged, or its configuration changed as JSON; the zip whole again."""
    source, out = zipfile.ZipFile(io.BytesIO(data)), io.BytesIO()
    try:
        members = {name: source.read(name) for name in source.namelist()}
    except Exception:  # a seed that is a hostile zip
        return damage(data, rng)
    name = list(members)[rng.integers(len(members))] if members else None
    if "config.json" in members and rng.random() < 0.6:
        name = "config.json"
    if name is not None and name.endswith("config.json"):
        members[name] = changed_json(members[name], rng)
    elif name is not None and name.endswith(".h5") and rng.random() < 0.3 or name is not None:
        members[name] = damage(members[name], rng)
    kind = zipfile.ZIP_DEFLATED if rng.random() < 0.2 else zipfile.ZIP_STORED
    with zipfile.ZipFile(out, "w", kind) as archive:
        for key, value in members.items():
            archive.writestr(key, value)
    return out.getvalue()


def inside_h5(data, rng):
    """The configuration of an .h5 changed as JSON."""
    file = io.BytesIO(data)
    try:
        with h5py.File(file, "r+") as root:
            config = root.attrs["model_config"]
            root.attrs["model_config"] = changed_json(
                config.encode() if isinstance(config, str) else bytes(config), rng
            ).decode("utf-8", "replace")
    except Exception:  # a seed without
        return damage(data, rng)
    return file.getvalue()


CLASSES = ["Lambda", "Dense", "TFSMLayer", "TorchModuleWrapper", "Functional", "Sequential", "function", "__lambda__",
           "__tensor__", "__numpy__", "Switch", "Map", "Bidirectional", "StringLookup", "Embedding", "Conv2D", "ZeroPadding2D",
           "UpSampling2D", "face>CenterLoss", "face>FaceModel", "FaceModel", "NormDense",
           "__typespec__", "__bytes__", "Variable", "DTypePolicyMap"]  # fmt: skip
MODULES = [
    "keras",
    "keras.layers",
    "keras.src.ops.core",
    "keras.utils",
    "os",
    "builtins",
    "keras.config",
    "subprocess",
    None,
    "keras.src.legacy.saving",
]
VALUES = [
    None,
    0,
    -1,
    1 << 31,
    1 << 62,
    1e300,
    "x",
    "relu",
    [],
    {},
    [[]],
    True,
    "float16",
    [None, 4],
    3_000_000_000,
    2.5,
]


def changed_json(raw, rng):
    """A node or two of a JSON text: another value, class, module; gone, doubled, or that of another place."""
    try:
        config = json.loads(raw)
    except (ValueError, RecursionError):
        return damage(raw, rng)
    for _ in range(rng.integers(1, 3)):
        places = list(_places(config))
        if not places:
            break
        holder, key = places[rng.integers(len(places))]
        match rng.integers(6):
            case 0:
                holder[key] = VALUES[rng.integers(len(VALUES))]
            case 1:
                other, place = places[rng.integers(len(places))]
                holder[key] = json.loads(json.dumps(other[place]))
            case 2 if isinstance(holder, dict):
                del holder[key]
            case 3 if isinstance(holder, list):
                holder.append(holder[key])
            case 4:
                classes = [(h, k) for h, k in places if k == "class_name"]
                if classes:
                    classes[rng.integers(len(classes))][0]["class_name"] = CLASSES[rng.integers(len(CLASSES))]
            case 5:
                modules = [(h, k) for h, k in places if k in ("module", "registered_name")]
                if modules:
                    found, place = modules[rng.integers(len(modules))]
                    found[place] = (
                        MODULES[rng.integers(len(MODULES))]
                        if place == "module"
                        else CLASSES[rng.integers(len(CLASSES))]
                    )
    return json.dumps(config).encode()


def _places(value):
    """(holder, key) of every node, without recursion into more than a few thousand."""
    todo, count = [value], 0
    while todo and count < 5000:
        holder = todo.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder)) if isinstance(holder, list) else ()
        for key in keys:
            count += 1
            yield holder, key
            if isinstance(holder[key], (dict, list)):
                todo.append(holder[key])


TEXTS = [b"u1", b"O", b"O8", b"i8", b"<f8", b"V8", b"handle", b"b", b"|", b">", b"C", b"F", b"latin1"]
GLOBALS = [
    *evalbin.KNOWN,
    ("os", "system"),
    ("builtins", "getattr"),
    ("builtins", "eval"),
    ("numpy", "load"),
    ("torch._utils", "_rebuild_tensor_v2"),
]


def pickle_of(rng) -> bytes:
    """A pickle drawn by a grammar: every opcode, calls of every stand-in with arguments of every kind."""
    value = _value(rng, 0)
    pair = (
        b"](" + b"".join(_value(rng, 3) for _ in range(2)) + b"e](\x88e\x86."
        if rng.random() < 0.3
        else value + _value(rng, 0) + b"\x86."
    )
    return (b"\x80\x04" if rng.random() < 0.5 else b"") + pair


def _value(rng, depth):
    def several(count):
        return b"".join(_value(rng, depth + 1) for _ in range(rng.integers(count)))

    def named():
        return b"c%s\n%s\n" % tuple(one.encode() for one in GLOBALS[rng.integers(len(GLOBALS))])

    match rng.integers(22 if depth < 5 else 9):
        case 0:
            return b"N"
        case 1:
            return b"\x88"
        case 2:
            return b"K" + rng.bytes(1)
        case 3:
            data = rng.bytes(int(rng.integers(30)))
            return b"C" + bytes([len(data)]) + data
        case 4:
            one = TEXTS[rng.integers(len(TEXTS))]
            return b"\x8c" + bytes([len(one)]) + one
        case 5:
            return b"J" + struct.pack("<i", int(rng.choice([0, 1, -1, 2**31 - 1, 100])))
        case 6:
            return b"h" + bytes([int(rng.integers(8))])
        case 7:
            return b"\x8a\x08" + struct.pack("<q", int(rng.choice([2**62, 3 * 10**9, -1, 5])))
        case 8:
            return named()
        case 9:
            return b"](" + several(4) + b"e"
        case 10 | 11:
            return b"(" + several(6) + b"t"
        case 12:
            return b"}(" + several(3) + several(3) + b"u"
        case 13 | 14 | 15:
            return (
                named()
                + b"("
                + several(5)
                + b"tR"
                + (b"q" + bytes([int(rng.integers(8))]) if rng.random() < 0.3 else b"")
            )
        case 16 | 17:
            return _value(rng, depth + 1) + _value(rng, depth + 1) + b"b"
        case 18:
            return _value(rng, depth + 1) + b"q" + bytes([int(rng.integers(8))])
        case 19:
            return bytes([list(pickled.STEPS)[rng.integers(len(pickled.STEPS))]])
        case 20:
            return bytes([int(rng.integers(256))])
        case _:
            return b"\x96" + struct.pack("<Q", int(rng.choice([3, 10**10, 2**62]))) + b"abc"
