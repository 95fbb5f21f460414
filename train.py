"""`sch` → stages → run: the trainer.

    tt = train.Train("/datasets/faces_emore", "run.keras", ["lfw.bin"], basic_model=models.buildin_models("r50"))
    tt.train([{"loss": losses.ArcfaceLoss(scale=32), "epoch": 5, "optimizer": "adam"}])

`python train.py` is the main job on faces that it draws; `python train.py RECIPE.py` runs a recipe.
"""

import dataclasses
import hashlib
import json
import logging
import math
import os
import sys

import keras

import augment
import data
import evals
import losses
import models
import myCallbacks
import optimizers
from criteria import heads
from faces.interface import interface
from runs.checkpoint import Checkpoint, KeepMetrics, Position
from runs.memory import keep_freed_memory
from runs.stages import KEYS, Stage, read_plan

log = logging.getLogger("face")

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
    compile, custom_objects: for loading a file. pretrained: weights file, loaded once the head is built.
    output_weight_decay: L2 on the head: 0 none, below 1 itself (halved), from 1 on times the L2 found in the basic model.
    batch_size: for each replica of the strategy in whose scope this is made.
    lr_base, lr_decay, lr_decay_steps, lr_min, lr_warmup_steps: see `myCallbacks.read_schedule`. eval_freq: above 1, evaluation
        every so many batches as well.
    random_status, random_cutout_mask_area: see `augment.from_status`; `augmentations`, a list of `(image, rng) → image`, takes
        their place.
    image_per_class: P×K batches in every stage; stages with a triplet loss use 4 where it is 0.
    teacher_model_interf: what gives the embeddings to `distill`: a model, a model file, or a callable, see `faces.interface`.
    partial_fc_sample_rate: part of the classes that a step trains on, see `models.PartialNormDense`; 1 all.
    vpl_start_iters, vpl_allowed_delta: see `models.NormDenseVPL`; −1 off. mixup_alpha, sam_rho: defaults of the stage keys
        `mixup` (in stages of softmax and margin losses alone) and `sam_rho`.
    checkpoint_freq: state written every so many batches, besides each epoch. seed: of the order of samples,
        augmentation and heads. tensorboard: directory for its logs. steps_per_execution, verbose: as in Keras.
    samples_per_mining, partial_fc_split: refused, with what to use instead.

    A loss that stops being finite sends the run back to the last state, with half the learning rate; the second time it
    raises `myCallbacks.NanError`.
    """

    def __init__(
        self, data_path, save_path, eval_paths=(), basic_model=None, model=None, compile=True, output_weight_decay=1,
        custom_objects=None, pretrained=None, batch_size=128, lr_base=0.001, lr_decay=0.05, lr_decay_steps=0, lr_min=1e-6,
        lr_warmup_steps=0, eval_freq=1, random_status=0, random_cutout_mask_area=0.0, image_per_class=0, samples_per_mining=0,
        mixup_alpha=0, partial_fc_split=0, teacher_model_interf=None, sam_rho=0, vpl_start_iters=-1, vpl_allowed_delta=200,
        steps_per_execution=None, *, augmentations=None, seed=0, resume=True, checkpoint_freq=0, tensorboard=None, verbose="auto",
        partial_fc_sample_rate=1.0,
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
        self.lr_factor = 1.0  # halved once, when a loss is not finite
        self.eval_freq, self.image_per_class = eval_freq, image_per_class
        self.teacher = None if teacher_model_interf is None else interface(teacher_model_interf)
        self.augmentations = augmentations
        if augmentations is None:
            self.augmentations = augment.from_status(random_status, random_cutout_mask_area=random_cutout_mask_area)
        self.mixup_alpha, self.sam_rho, self.partial = mixup_alpha, sam_rho, partial_fc_sample_rate
        self.vpl = (
            {"start_iters": vpl_start_iters, "allowed_delta": vpl_allowed_delta} if vpl_start_iters >= 0 else None
        )
        self.seed, self.checkpoint_freq, self.tensorboard = seed, checkpoint_freq, tensorboard
        self.verbose = verbose if verbose != "auto" else 1 if sys.stdout.isatty() or "ipykernel" in sys.modules else 2
        self.output_weight_decay, self.pretrained = output_weight_decay, pretrained
        self.steps_per_execution = steps_per_execution or 1
        with self.strategy.scope():
            self._open_model(basic_model, model, compile)
        self.input_shape = self.basic_model.input_shape[1:]
        self.source = self.faces = self.schedule = None
        self.terms, self.custom_callbacks, self.optimizer, self._about = {}, [], None, None
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
            self.data_path, self.batch_size, self.input_shape, self.augmentations, groups, self.seed, self.teacher, self.source,
            stage.balanced, stage.mixup or 0.0,
        )  # fmt: skip
        self.source = getattr(self.faces, "source", None)
        self.schedule = self.schedule or myCallbacks.read_schedule(**self.lr, steps_per_epoch=self.faces.steps)
        return self.faces

    # ---------------------------------------------------------------------------------------------------------- walk

    def train(self, train_schedule, initial_epoch=0) -> int:
        """Run a schedule (dict or list of dicts) from `initial_epoch` of the learning rate → next epoch's number."""
        with self.strategy.scope():
            for number, stage in enumerate(self.plan(train_schedule)):
                initial_epoch = self._run(self._with_teacher(stage), number, initial_epoch)
                if self.model is not None and self.model.stop_training:
                    break
        return initial_epoch

    def plan(self, train_schedule) -> list[Stage]:
        """A schedule, read whole, with this trainer's defaults; no image is read."""
        return [self._with_defaults(stage, f"sch[{i}]") for i, stage in enumerate(read_plan(train_schedule))]

    def _with_defaults(self, stage, where):
        """Train's own `mixup_alpha` and `sam_rho`, where the stage can take them; ValueError for what cannot work here."""
        mixes = all(term.head for term in stage.terms) and not stage.needs_groups
        mixup = stage.mixup if stage.mixup is not None else self.mixup_alpha * mixes
        rho = stage.sam_rho if stage.sam_rho is not None else self.sam_rho
        if mixup and self.vpl:
            raise ValueError(
                f"{where}: 'mixup' gives an image two people, VPL remembers images of one. Leave one of them out."
            )
        if self.vpl and (stage.sub_centers > 1 or self.partial < 1):
            raise ValueError(
                f"{where}: VPL remembers one center a class: leave lossTopK and partial_fc_sample_rate at 1."
            )
        if rho and self.strategy.num_replicas_in_sync > 1:
            raise ValueError(f"{where}: 'sam_rho' works on one device. Received: {self.strategy.num_replicas_in_sync}")
        return dataclasses.replace(stage, mixup=float(mixup), sam_rho=float(rho))

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
        if stage.distills and not has_teacher:
            raise ValueError(
                "distill: the data bring no embeddings. Give teacher_model_interf=, or an npz with embeddings."
            )
        if has_teacher and not stage.distills:
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
        frozen = self._freeze(stage)
        self._build(stage, number)
        self._begin_history(start)
        keep = self._restore() if stored else KeepMetrics()
        if start.epoch >= last:
            log.info("sch[%d]: done already, %d epochs (%s)", number, stage.epoch, self.checkpoint.path)
        elif not stored:
            self._save_state(start.epoch, start.step)
        self._about = (number, stage, first_epoch)
        reached = self._fit(start, last, keep)
        _unfreeze(frozen)
        self.model.leave_average()
        models.save(self.basic_model, f"{self.stem}_basic_model_latest{self.suffix}")
        return reached

    def _fit(self, start, last, keep):
        while start.epoch < last:
            try:
                start = self._fit_some(start, last, keep)
                keep = KeepMetrics()
            except myCallbacks.NanError as error:
                start, keep = self._roll_back(error)
            if self.model.stop_training:
                break
        return start.epoch

    def _fit_some(self, start, last, keep):
        """To the end of a begun epoch, or of the stage."""
        self.train_ds = self.faces.batches(start.epoch, start.step)
        fitted = self.model.fit(
            self.train_ds,
            epochs=start.epoch + 1 if start.step else last,
            initial_epoch=start.epoch,
            steps_per_epoch=self.faces.steps - start.step,
            callbacks=[keep, *self._callbacks(start.step)],
            shuffle=False,
            verbose=self.verbose,
        )
        return Position(fitted.epoch[-1] + 1)

    def _roll_back(self, error):
        """The last good state with half the learning rate, once a run."""
        if self.lr_factor < 1:
            raise error
        keep = self._restore()
        self.lr_factor = 0.5
        start = Position(self.checkpoint.stored["epoch"], self.checkpoint.stored["step"])
        log.warning(
            "%s. Back to epoch %d, batch %d, with half the learning rate.", error.where, start.epoch + 1, start.step
        )
        return start, keep

    # --------------------------------------------------------------------------------------------------------- stage

    def _fingerprint(self, stage, first_epoch):
        shapes = json.dumps([list(w.shape) for w in self.basic_model.weights]).encode()
        return {
            "losses": stage.describe(),
            "options": {**stage.options(), "sample_rate": self.partial, "vpl": self.vpl},
            "optimizer": _optimizer_mark(stage.optimizer),
            "lossTopK": stage.sub_centers,
            "first epoch": first_epoch,
            "batch_size": self.batch_size,
            "data": self.faces.fingerprint,
            "seed": self.seed,
            "model": hashlib.sha256(shapes).hexdigest()[:16],
        }

    def _freeze(self, stage):
        """Freeze what the stage asks for → flags of every layer before, to put back exactly these."""
        flags = [(layer, layer.trainable) for layer in self.basic_model._flatten_layers()]
        if stage.bottleneck_only:
            self.basic_model.trainable = False
        names = stage.frozen([layer.name for layer, _ in flags])
        for layer, _ in flags:
            if layer.name in names:
                layer.trainable = False
        return flags if stage.bottleneck_only or names else []

    def _build(self, stage, number):
        """Head, losses, model and optimizer of the stage, with every weight that fits carried over."""
        carried = []
        if stage.head:
            self.head = self._make_head(stage, carried)
        self._attach(stage, carried)
        self.model = models.FaceModel(self.basic_model, self.head if stage.head else None, stage.terms, stage.weights)
        if self.pretrained:
            self.model.load_weights(self.pretrained)
            self.pretrained = None
        self._compile(stage, carried)
        self.cur_loss, self.loss_weights = stage.loss, stage.weights
        log.info(
            "sch[%d]: %s; %d classes, %d steps an epoch; %s", number, stage.describe(), self.faces.classes, self.faces.steps,
            "; ".join(carried),
        )  # fmt: skip

    def _attach(self, stage, carried):
        """Give the losses their memory, that of their predecessors of the same kind where there are any."""
        for term in stage.terms:
            ramps = tuple(name for name, *_ in stage.ramps) if term is stage.loss else ()
            teacher = self.faces.teacher_width if "teacher" in term.reads else 0
            term.attach(self.faces.classes, self.basic_model.output_shape[-1], teacher, ramps)
            if term.weights:
                moved = heads.carry(self.terms.get(type(term).__name__), term)
                carried.append(f"{type(term).__name__} {'carried over' if moved else 'new'}")
        for name, first, _ in stage.ramps:
            stage.loss.ramps[name].assign(first)
        self.terms = {**self.terms, **{type(term).__name__: term for term in stage.terms}}

    def _compile(self, stage, carried):
        options = {"gradient_accumulation_steps": stage.accumulate if stage.accumulate > 1 else None,
                   "global_clipnorm": stage.clip or None}  # fmt: skip
        options = {name: value for name, value in options.items() if value is not None}
        before = None if stage.optimizer is not None else self.optimizer or self.default_optimizer
        self.default_optimizer = stage.optimizer or self.default_optimizer
        template = keras.optimizers.get(self.default_optimizer)
        new, moved = optimizers.successor(template, self.model.trainable_variables, before, **options)
        carried.append(
            f"{type(new).__name__} {f'{moved} of {len(new.variables)} slots carried over' if moved else 'new'}"
        )
        self.model.compile(new, steps_per_execution=self.steps_per_execution)
        self.model.sam_rho = stage.sam_rho
        self.model.average(stage.ema)
        self.optimizer = self.model.optimizer

    def _make_head(self, stage, carried):
        new = self._new_head(stage)
        if type(self.head) is type(new) and _same(self.head.get_config(), new.get_config()):
            carried.append(f"head {new.name} kept")
            return self.head
        new.build((None, self.basic_model.output_shape[-1]))
        new.built = True
        moved = heads.carry(self.head, new)
        carried.append(f"head {new.name} {f'{moved} of {len(new.weights)} weights carried over' if moved else 'new'}")
        return new

    def _new_head(self, stage):
        options = {"kernel_regularizer": self._head_decay(), "seed": self.seed}
        if stage.head == "softmax":
            return models.SoftmaxHead(self.faces.classes, **options)
        if self.vpl:
            return models.NormDenseVPL(None, self.faces.classes, **self.vpl, **options)
        if self.partial < 1:
            return models.PartialNormDense(
                self.faces.classes, loss_top_k=stage.sub_centers, sample_rate=self.partial, **options
            )
        return models.NormDense(self.faces.classes, loss_top_k=stage.sub_centers, **options)

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
        """Callbacks of the stage from its first batch on; none before the first stage."""
        return self._callbacks(0) if self._about else []

    def _callbacks(self, first_step):
        number, stage, first_epoch = self._about
        steps = self.faces.steps
        self.lr_scheduler = myCallbacks.LearningRate(self.schedule, steps, first_step, self.lr_factor)
        self.gently_stop = self.gently_stop or myCallbacks.Gently_stop_callback(stop_file=f"{self.stem}.stop")
        self.model_checkpoint = myCallbacks.Every(lambda *_: models.save(self.model, self.stem + self.suffix), 0)
        state = myCallbacks.Every(self._save_state, self.checkpoint_freq, first_step)
        board = [keras.callbacks.TensorBoard(self.tensorboard)] if self.tensorboard else []
        nan = myCallbacks.ExitOnNaN(number, first_step)
        ramps = [
            myCallbacks.Ramp(stage.loss.ramps[name], first, last, first_epoch, stage.epoch, steps, first_step)
            for name, first, last in stage.ramps
        ]
        swap = myCallbacks.Every(lambda *_: self.model.swap_average())
        doctor = myCallbacks.Doctor(number, *self._expected(stage), first_epoch, steps, first_step)
        return [
            self.lr_scheduler, *ramps, nan, doctor, swap, *self.my_evals, *board, *self.custom_callbacks, self.my_history,
            self.model_checkpoint, swap, state, self.gently_stop,
        ]  # fmt: skip

    def _expected(self, stage):
        """→ loss of an untrained model, or None; the least it has; margin of a triplet loss, or None."""
        classes, width = self.faces.classes, self.basic_model.output_shape[-1]
        terms = list(zip(stage.terms, stage.weights, strict=True))
        known = [(term.expected(classes, width), weight) for term, weight in terms]
        least = sum(
            w * (math.log(classes) if v is None else v) for (v, w), (t, _) in zip(known, terms, strict=True) if t.head
        )
        whole = stage.head and all(value is not None for value, _ in known)
        triplets = [term for term in stage.terms if isinstance(term, losses.TripletLoss)]
        return sum(v * w for v, w in known) if whole else None, least, triplets[0].alpha if triplets else None

    def _begin_history(self, start):
        if self.my_history is None:
            self.my_history = myCallbacks.My_history(f"{self.stem}_hist.json", initial_epoch=start.epoch)

    def _save_state(self, epoch, step):
        about = {"history": self.my_history.history, "evals": [e.get_state() for e in self.my_evals],
                 "lr_factor": self.lr_factor}  # fmt: skip
        self.checkpoint.save(self.model, Position(epoch, step), about)

    def _restore(self):
        keep = self.checkpoint.restore(self.model)
        stored = self.checkpoint.stored
        self.my_history.history, self.lr_factor = stored["history"], stored.get("lr_factor", 1.0)
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
        "partial_fc_split": (0, "splitting classes in rounds is gone: use partial_fc_sample_rate=0.1"),
    }
    for name, (off, text) in instead.items():
        if arguments[name] not in (off, None):
            raise ValueError(f"Train: {name}={arguments[name]}: {text}. Leave it at {off}.")
    if not 0 < arguments["partial_fc_sample_rate"] <= 1:
        raise ValueError(
            "Train: partial_fc_sample_rate must be above 0 and at most 1 (all classes). Received: "
            f"{arguments['partial_fc_sample_rate']!r}"
        )


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


if __name__ == "__main__":
    from runs.command import main

    raise SystemExit(main())
