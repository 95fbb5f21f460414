"""`sch` → stages → run: the trainer.

    tt = train.Train("/datasets/faces_emore", "run.keras", ["lfw.bin"], basic_model=models.buildin_models("r50"))
    tt.train([{"loss": losses.ArcfaceLoss(scale=32), "epoch": 5, "optimizer": "adam"}])

`python train.py` is the main job on faces that it draws; `python train.py RECIPE.py` runs a recipe.
"""

import dataclasses
import difflib
import hashlib
import json
import logging
import os
import sys

import keras
import numpy as np

import augment
import data
import evals
import losses
import models
import myCallbacks
import optimizers
from runs.checkpoint import Checkpoint, KeepMetrics, Position
from runs.memory import keep_freed_memory

log = logging.getLogger("face")

# ------------------------------------------------------------------------------------------------------- the schedule


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stage:
    """One stretch of training: what is optimised, for how long, with what frozen."""

    loss: losses.FaceLoss
    epoch: int
    optimizer: object = None  # None: go on with the one in use
    weight: float = 1.0
    extras: tuple[tuple[losses.FaceLoss, float], ...] = ()
    bottleneck_only: bool = False
    sub_centers: int = 1

    @property
    def terms(self) -> list[losses.FaceLoss]:
        return [self.loss, *(extra for extra, _ in self.extras)]

    @property
    def weights(self) -> list[float]:
        return [self.weight, *(weight for _, weight in self.extras)]

    @property
    def head(self) -> str | None:
        return next((term.head for term in self.terms if term.head), None)

    @property
    def needs_groups(self) -> bool:
        return any(term.needs_groups for term in self.terms)

    def describe(self) -> str:
        parts = [
            f"{type(term).__name__}{term.get_config()} × {w:g}"
            for term, w in zip(self.terms, self.weights, strict=True)
        ]
        return " + ".join(parts)


KEYS = {
    "loss": None, "epoch": None, "optimizer": None, "bottleneckOnly": False, "lossTopK": 1, "lossWeight": 1, "type": None,
    "embLossTypes": None, "embLossWeights": 1, "tripletAlpha": 0.35, "alpha": None,
    "centerloss": 0, "triplet": 0, "distill": 0,
}  # fmt: skip


def read_plan(train_schedule: dict | list[dict]) -> list[Stage]:
    """A schedule, read whole and copied → stages; ValueError names the entry, the key and the remedy."""
    schedule = [train_schedule] if isinstance(train_schedule, dict) else list(train_schedule)
    if not schedule:
        raise ValueError("sch is empty. A stage is at least {'loss': ..., 'epoch': ...}.")
    return [_read_stage(entry, f"sch[{i}]") for i, entry in enumerate(schedule)]


def _read_stage(entry, where):
    if not isinstance(entry, dict):
        raise ValueError(f"{where}: expected a dict. Received: {entry!r}")
    _check_keys(entry, where)
    try:
        loss = losses.get(entry["loss"])
        extras = _extras(entry)
        loss = _typed(loss, entry.get("type"))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{where}: {error}") from error
    return Stage(
        loss=loss,
        epoch=_number(entry, "epoch", int, 0, where),
        optimizer=_optimizer(entry.get("optimizer"), where),
        weight=_number(entry, "lossWeight", float, 0, where),
        extras=tuple(extras),
        bottleneck_only=bool(entry.get("bottleneckOnly", False)),
        sub_centers=_number(entry, "lossTopK", int, 1, where),
    )


def _check_keys(entry, where):
    for key in entry:
        if key not in KEYS:
            near = difflib.get_close_matches(str(key), KEYS, 1, 0.5)
            hint = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(KEYS)}."
            raise ValueError(f"{where}: unknown key {key!r}. {hint}")
    for key in ("loss", "epoch"):
        if key not in entry:
            raise ValueError(
                f"{where}: {key!r} is missing. A stage is at least {{'loss': ..., 'epoch': ...}}. Received: {list(entry)}"
            )


def _number(entry, key, kind, least, where):
    value = entry.get(key, KEYS[key])
    whole = isinstance(value, (int, float, np.number)) and not isinstance(value, bool) and value == kind(value)
    if not whole or value < least:
        name = "a whole number" if kind is int else "a number"
        raise ValueError(f"{where}: {key!r} must be {name} of at least {least}. Received: {value!r}")
    return kind(value)


def _optimizer(value, where):
    try:
        return None if value is None else keras.optimizers.get(value)
    except ValueError as error:
        raise ValueError(f"{where}: 'optimizer': {error}") from error


def _extras(entry):
    """Short forms and `embLossTypes` → (loss, weight); a weight of 0 attaches nothing."""
    alpha = entry.get("alpha")
    alpha = entry.get("tripletAlpha", KEYS["tripletAlpha"]) if alpha is None else alpha
    named = [(name, entry.get(name, 0)) for name in ("centerloss", "triplet", "distill")]
    types = entry.get("embLossTypes") or []
    types = types if isinstance(types, (list, tuple)) else [types]
    weights = entry.get("embLossWeights", 1)
    weights = weights if isinstance(weights, (list, tuple)) else [weights] * len(types)
    if len(weights) != len(types):
        raise ValueError(f"'embLossWeights' has {len(weights)} values, 'embLossTypes' {len(types)}: give one each.")
    found = []
    for name, weight in [*named, *zip(types, weights, strict=True)]:
        if weight:
            loss = losses.get(name)
            found.append(
                (
                    type(loss)(alpha) if isinstance(name, str) and isinstance(loss, losses.TripletLoss) else loss,
                    float(weight),
                )
            )
    return found


def _typed(loss, kind):
    """`type` chooses the head of a foreign loss; for ours it can only repeat what the loss says itself."""
    if kind is None:
        return loss
    if isinstance(loss, losses.KerasLoss) and kind == "arcface":
        loss.head, loss.reads = "arcface", ("cosine",)
    elif kind not in (loss.head, loss.short):
        raise ValueError(
            f"'type' {kind!r} does not fit {type(loss).__name__}, which is {loss.head or loss.short!r}. Leave it out."
        )
    return loss


# --------------------------------------------------------------------------------------------------------- the trainer


class Train:
    """Walks a schedule over data: builds each stage's head and losses, fits, evaluates, saves, and resumes.

    data_path: folder of people, InsightFace directory or `.rec`, `.npz` list, or a batched `tf.data.Dataset`.
    save_path: `x.keras` or `x.h5`, written to `checkpoints/x.…` after every epoch; beside it the best basic model of the
        last evaluation set, the latest basic model, the history and the run's state. Running the same script again
        continues from the state; `resume=False` starts anew.
    eval_paths: `.bin` files or folders with pairs.txt.
    basic_model, model: (model, None) from scratch; (file, None) from a basic model; (None or layer index, file or model) a full
        model with its head; (None, None) `checkpoints/{save_path}`.
    output_weight_decay: L2 on the head: 0 none, below 1 itself (halved), from 1 on times the L2 found in the basic model.
    batch_size: for each replica of the strategy in whose scope this is made.
    lr_*: see `myCallbacks.read_schedule`. random_status: see `augment.from_status`; `augmentations`, a list of
        `(image, rng) → image`, takes its place.
    image_per_class: P×K batches in every stage; stages with a triplet loss use 4 where it is 0.
    teacher_model_interf: callable, normalised float images (B, H, W, 3) → embeddings, for `distill`.
    checkpoint_freq: state written every so many batches, besides each epoch. seed: of the order of samples,
        augmentation and heads. tensorboard: directory for its logs.
    """

    def __init__(
        self, data_path, save_path, eval_paths=(), basic_model=None, model=None, compile=True, output_weight_decay=1,
        custom_objects=None, pretrained=None, batch_size=128, lr_base=0.001, lr_decay=0.05, lr_decay_steps=0, lr_min=1e-6,
        lr_warmup_steps=0, eval_freq=1, random_status=0, random_cutout_mask_area=0.0, image_per_class=0, samples_per_mining=0,
        mixup_alpha=0, partial_fc_split=0, teacher_model_interf=None, sam_rho=0, vpl_start_iters=-1, vpl_allowed_delta=200,
        steps_per_execution=None, *, augmentations=None, seed=0, resume=True, checkpoint_freq=0, tensorboard=None, verbose="auto",
    ):  # fmt: skip
        _refuse(locals())
        keep_freed_memory()
        self.data_path, self.eval_paths, self.custom_objects = data_path, list(eval_paths), dict(custom_objects or {})
        self.stem, self.suffix = os.path.splitext(os.path.join("checkpoints", save_path))
        self.suffix = self.suffix or ".keras"
        if self.suffix not in (".keras", ".h5"):
            raise ValueError(f"save_path: expected a name ending in .keras or .h5. Received: {save_path!r}")
        self.strategy = data.strategy()
        self.batch_size = batch_size * self.strategy.num_replicas_in_sync
        self.lr = {
            "lr_base": lr_base, "lr_decay": lr_decay, "lr_decay_steps": lr_decay_steps, "lr_min": lr_min,
            "lr_warmup_steps": lr_warmup_steps,
        }  # fmt: skip
        self.eval_freq, self.image_per_class, self.teacher = eval_freq, image_per_class, teacher_model_interf
        self.augmentations = augmentations
        if augmentations is None:
            self.augmentations = augment.from_status(random_status, random_cutout_mask_area=random_cutout_mask_area)
        self.seed, self.checkpoint_freq, self.tensorboard = seed, checkpoint_freq, tensorboard
        self.verbose = verbose if verbose != "auto" else 1 if sys.stdout.isatty() or "ipykernel" in sys.modules else 2
        self.output_weight_decay, self.pretrained = output_weight_decay, pretrained
        self.steps_per_execution = steps_per_execution or 1
        with self.strategy.scope():
            self._open_model(basic_model, model, compile)
        self.input_shape = self.basic_model.input_shape[1:]
        self.source = self.faces = self.schedule = None
        self.terms, self.custom_callbacks, self.optimizer = {}, [], None
        self.my_evals = [self._evaluation(path) for path in self.eval_paths]
        if self.my_evals:
            self.my_evals[-1].save_model = self.stem + self.suffix
        self.my_history, self.gently_stop, self.lr_scheduler = None, None, None
        self.checkpoint = Checkpoint(f"{self.stem}.state.npz", resume)

    # ---------------------------------------------------------------------------------------------------- beginnings

    def _open_model(self, basic_model, model, compile):
        self.model, self.head, self.default_optimizer = None, None, "adam"
        if basic_model is None and model is None:
            model = self.stem + self.suffix
            if not os.path.exists(model):
                raise FileNotFoundError(
                    f"neither basic_model nor model is given, and {model} does not exist to go on from."
                )
        if model is not None:
            model = models.load(model, self.custom_objects, compile) if isinstance(model, str) else model
            self.basic_model, self.head = models.split(model, basic_model if isinstance(basic_model, int) else None)
            if isinstance(model, models.FaceModel):
                self.terms = {type(term).__name__: term for term in model.terms}
            self.default_optimizer = getattr(model, "optimizer", None) or "adam"
        elif isinstance(basic_model, str):
            self.basic_model, _ = models.split(models.load(basic_model, self.custom_objects, False))
        elif isinstance(basic_model, keras.Model):
            self.basic_model = basic_model
        else:
            raise ValueError(
                f"basic_model: expected a model, a file, or a layer index beside model=. Received: {basic_model!r}"
            )

    def _evaluation(self, path):
        return evals.eval_callback(self.basic_model, path, batch_size=self.batch_size, eval_freq=self.eval_freq)

    def reset_dataset(self, data_path=None):
        """Forget the indexed data; go on with `data_path` where it is given."""
        self.data_path = self.data_path if data_path is None else data_path
        self.source = self.faces = None

    def open_data(self, stage: Stage):
        """The stage's batches, in P×K groups where one of its losses needs them."""
        groups = self.image_per_class or (4 if stage.needs_groups else 0)
        self.faces = data.open_faces(
            self.data_path,
            self.batch_size,
            self.input_shape,
            self.augmentations,
            groups,
            self.seed,
            self.teacher,
            self.source,
        )
        self.source = getattr(self.faces, "source", None)
        self.schedule = self.schedule or myCallbacks.read_schedule(**self.lr, steps_per_epoch=self.faces.steps)
        return self.faces

    # ---------------------------------------------------------------------------------------------------------- walk

    def train(self, train_schedule, initial_epoch=0) -> int:
        """Run a schedule (dict or list of dicts) from `initial_epoch` of the learning rate → next epoch's number."""
        stages = read_plan(train_schedule)
        with self.strategy.scope():
            for number, stage in enumerate(stages):
                initial_epoch = self._run(self._with_teacher(stage), number, initial_epoch)
                if self.model is not None and self.model.stop_training:
                    break
        return initial_epoch

    def train_single_scheduler(
        self, epoch, loss=None, initial_epoch=0, lossWeight=1, optimizer=None, bottleneckOnly=False, lossTopK=1, type=None,
        embLossTypes=None, embLossWeights=1, tripletAlpha=0.35,
    ) -> int:  # fmt: skip
        """One stage by keywords; `loss=None` goes on with the loss in use."""
        loss = loss if loss is not None else getattr(self, "cur_loss", None)
        given = {k: v for k, v in locals().items() if k in KEYS}
        if loss is None:
            raise ValueError("train_single_scheduler: no loss given and none in use yet. Give loss=.")
        return self.train(given, initial_epoch)

    def _with_teacher(self, stage):
        """Data with embeddings distill with weight 7 unless the stage says otherwise, as the seed did."""
        has_teacher = self.open_data(stage).has_teacher
        distills = any("teacher" in term.reads for term in stage.terms)
        if distills and not has_teacher:
            raise ValueError(
                "distill: the data bring no embeddings. Give teacher_model_interf=, or an npz with embeddings."
            )
        if has_teacher and not distills:
            log.info("the data bring a teacher's embeddings: distill 7 added to the stage")
            return dataclasses.replace(stage, extras=(*stage.extras, (losses.DistillCosineLoss(), 7.0)))
        return stage

    def _run(self, stage, number, first_epoch):
        last = first_epoch + stage.epoch
        entered = self.checkpoint.enter(self._fingerprint(stage, first_epoch), first_epoch)
        if entered is None:
            self.default_optimizer = stage.optimizer or self.default_optimizer
            return last
        start, stored = entered
        frozen = self._freeze(stage.bottleneck_only)
        self._build(stage)
        self._begin_history(start)
        keep = self._restore() if stored else KeepMetrics()
        if start.epoch >= last:
            log.info("sch[%d]: done already, %d epochs (%s)", number, stage.epoch, self.checkpoint.path)
        elif not stored:
            self._save_state(start.epoch, start.step)
        reached = self._fit(number, start, last, keep)
        _unfreeze(frozen)
        models.save(self.basic_model, f"{self.stem}_basic_model_latest{self.suffix}")
        return reached

    def _fit(self, number, start, last, keep):
        while start.epoch < last:
            until = start.epoch + 1 if start.step else last
            self.train_ds = self.faces.batches(start.epoch, start.step)
            fitted = self.model.fit(
                self.train_ds,
                epochs=until,
                initial_epoch=start.epoch,
                steps_per_epoch=self.faces.steps - start.step,
                callbacks=[keep, *self._callbacks(number, start.step)],
                shuffle=False,
                verbose=self.verbose,
            )
            start = Position(fitted.epoch[-1] + 1)
            if self.model.stop_training:
                break
        return start.epoch

    # --------------------------------------------------------------------------------------------------------- stage

    def _fingerprint(self, stage, first_epoch):
        shapes = json.dumps([list(w.shape) for w in self.basic_model.weights]).encode()
        return {
            "losses": stage.describe(),
            "optimizer": _optimizer_mark(stage.optimizer),
            "bottleneckOnly": stage.bottleneck_only,
            "lossTopK": stage.sub_centers,
            "first epoch": first_epoch,
            "batch_size": self.batch_size,
            "data": self.faces.fingerprint,
            "seed": self.seed,
            "model": hashlib.sha256(shapes).hexdigest()[:16],
        }

    def _freeze(self, bottleneck_only):
        """Flags of every layer before the embedder is frozen, to put back exactly these."""
        flags = [(layer, layer.trainable) for layer in self.basic_model._flatten_layers()]
        if bottleneck_only:
            self.basic_model.trainable = False
        return flags if bottleneck_only else []

    def _build(self, stage):
        before = self.optimizer
        if stage.head:
            self.head = self._make_head(stage)
        head = self.head if stage.head else None
        for term in stage.terms:
            term.attach(self.faces.classes, self.basic_model.output_shape[-1])
            _carry(self.terms.get(type(term).__name__), term)
        self.terms = {**self.terms, **{type(term).__name__: term for term in stage.terms}}
        self.model = models.FaceModel(self.basic_model, head, stage.terms, stage.weights)
        if self.pretrained:
            self.model.load_weights(self.pretrained)
            self.pretrained = None
        self.default_optimizer = stage.optimizer or self.default_optimizer
        self.optimizer = self._make_optimizer(before if stage.optimizer is None else None)
        self.model.compile(self.optimizer, steps_per_execution=self.steps_per_execution)
        self.optimizer = self.model.optimizer
        self.cur_loss, self.loss_weights = stage.loss, stage.weights
        log.info("stage: %s, %d classes, %d steps an epoch", stage.describe(), self.faces.classes, self.faces.steps)

    def _make_optimizer(self, in_use):
        """`in_use` where no other is asked for: its memory of the variables that stay is kept."""
        variables = self.model.trainable_variables
        if in_use is not None:
            return optimizers.successor(in_use, variables)
        optimizer = keras.optimizers.get(self.default_optimizer)
        return optimizers.successor(optimizer, variables)

    def _make_head(self, stage):
        options = {"loss_top_k": stage.sub_centers} if stage.head == "arcface" else {}
        if stage.head == "softmax" and stage.sub_centers > 1:
            raise ValueError(
                "lossTopK needs a loss over cosines, such as losses.ArcfaceLoss(). Received: a softmax loss."
            )
        new = models.HEADS[stage.head](
            self.faces.classes, kernel_regularizer=self._head_decay(), seed=self.seed, **options
        )
        if type(self.head) is type(new) and _same(self.head.get_config(), new.get_config()):
            return self.head
        new.build((None, self.basic_model.output_shape[-1]))
        new.built = True
        carried = _carry(self.head, new)
        log.info(
            "head: %s, %s",
            new.name,
            f"{carried} of {len(new.weights)} weights carried over" if carried else "built anew",
        )
        return new

    def _head_decay(self):
        if self.output_weight_decay < 1:
            return keras.regularizers.L2(self.output_weight_decay / 2) if self.output_weight_decay else None
        for layer in self.basic_model._flatten_layers():
            found = getattr(getattr(layer, "kernel_regularizer", None), "l2", None)
            if found is not None:
                return keras.regularizers.L2(self.output_weight_decay * float(found))
        return None

    # ----------------------------------------------------------------------------------------------------- callbacks

    @property
    def callbacks(self):
        """Callbacks of a stage from its first batch on."""
        return self._callbacks(0, 0)

    def _callbacks(self, number, first_step):
        self.lr_scheduler = myCallbacks.LearningRate(self.schedule, self.faces.steps, first_step)
        self.gently_stop = self.gently_stop or myCallbacks.Gently_stop_callback(stop_file=f"{self.stem}.stop")
        self.model_checkpoint = myCallbacks.Every(lambda *_: models.save(self.model, self.stem + self.suffix), 0)
        state = myCallbacks.Every(self._save_state, self.checkpoint_freq, first_step)
        board = [keras.callbacks.TensorBoard(self.tensorboard)] if self.tensorboard else []
        nan = myCallbacks.ExitOnNaN(number, first_step)
        return [
            self.lr_scheduler, nan, *self.my_evals, *board, *self.custom_callbacks, self.my_history, self.model_checkpoint,
            state, self.gently_stop,
        ]  # fmt: skip

    def _begin_history(self, start):
        if self.my_history is None:
            self.my_history = myCallbacks.My_history(f"{self.stem}_hist.json", initial_epoch=start.epoch)

    def _save_state(self, epoch, step):
        about = {"history": self.my_history.history, "evals": [e.get_state() for e in self.my_evals]}
        self.checkpoint.save(self.model, Position(epoch, step), about)

    def _restore(self):
        keep = self.checkpoint.restore(self.model)
        stored = self.checkpoint.stored
        self.my_history.history = stored["history"]
        for callback, state in zip(self.my_evals, stored["evals"], strict=False):
            callback.set_state(state)
        log.info("resumed from %s: epoch %d, %d batches done", self.checkpoint.path, stored["epoch"], stored["step"])
        return keep

    @property
    def metrics(self):
        return self.model.metrics if self.model else []

    @property
    def classes(self):
        return self.faces.classes if self.faces else 0

    @property
    def steps_per_epoch(self):
        return self.faces.steps if self.faces else 0

    @property
    def is_triplet_dataset(self):
        return isinstance(getattr(self.faces, "order", None), data.PeopleByImages)

    @property
    def is_distill_ds(self):
        return bool(self.faces and self.faces.has_teacher)


def _refuse(arguments):
    """Arguments of the seed that never worked well, and what to use now."""
    instead = {
        "samples_per_mining": (0, "offline mining is gone: use losses.BatchHardTripletLoss, which mines in the batch"),
        "partial_fc_split": (0, "splitting classes in rounds is gone: train the full head"),
        "mixup_alpha": (0, "mixup is not there yet: use random_status or augmentations"),
        "sam_rho": (0, "sharpness-aware minimisation is not there yet: use optimizers.SGDW"),
        "vpl_start_iters": (-1, "prototype injection (VPL) is not there yet: use losses.ArcfaceLoss"),
    }
    for name, (off, text) in instead.items():
        if arguments[name] not in (off, None):
            raise ValueError(f"Train: {name}={arguments[name]}: {text}. Leave it at {off}.")


def _optimizer_mark(optimizer):
    """Kind and settings; not the name, which counts up in a notebook, nor the rate, which Train sets."""
    if optimizer is None:
        return None
    config = {k: v for k, v in optimizer.get_config().items() if k not in ("name", "learning_rate")}
    return type(optimizer).__name__ + json.dumps(config, sort_keys=True, default=str)


def _unfreeze(flags):
    for layer, trainable in flags:  # parents come first: what they spread is overwritten by their children's own
        layer.trainable = trainable


def _same(first, second):
    return json.dumps(first, sort_keys=True, default=str) == json.dumps(second, sort_keys=True, default=str)


def _carry(old, new):
    """Copy weights of equal shape, in order, from one head or loss to its successor → how many."""
    if old is None or old is new:
        return 0
    pairs = [(a, b) for a, b in zip(old.weights, new.weights, strict=False) if a.shape == b.shape]
    for a, b in pairs:
        b.assign(a)
    return len(pairs)


if __name__ == "__main__":
    from runs.command import main

    raise SystemExit(main())
