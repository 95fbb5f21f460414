"""`Train`, as notebooks of Keras_insightface know it: its arguments, its attributes, over a `Trainer`."""

import dataclasses
import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import keras

from facetrainer import distributed
from facetrainer.data import augment
from facetrainer.data.augment import Augmentation
from facetrainer.data.sampling import PeopleByImages
from facetrainer.evaluation.callback import eval_callback
from facetrainer.evaluation.interface import interface
from facetrainer.heads import Head
from facetrainer.models import FaceModel, saving
from facetrainer.training.callbacks import read_listed
from facetrainer.training.config import TrainConfig
from facetrainer.training.schedule import KEYS, StageOptions, parse_schedule
from facetrainer.training.state import Origin
from facetrainer.training.state_files import Directory, OneFile, read_state
from facetrainer.training.store import RunStore
from facetrainer.training.trainer import Trainer
from facetrainer.utils import logs
from facetrainer.utils.memory import keep_freed_memory

log = logging.getLogger("facetrainer")


def _of(path, doc):
    """A property that reads and sets an attribute of a part, "trainer.progress"."""
    *way, name = path.split(".")

    def home(self):
        for step in way:
            self = getattr(self, step)
        return self

    return property(
        lambda self: getattr(home(self), name), lambda self, value: setattr(home(self), name, value), None, doc
    )


class Train:
    """Walks a schedule over data: builds each stage's head and losses, fits, evaluates, saves, and resumes.

    Args:
        data_path: Folder of people, InsightFace directory or `.rec`, list, CelebA's root, arrays (images uint8, labels), or a batched
            `tf.data.Dataset`.
        save_path: `x.keras` or `x.h5`, written to `checkpoints/x.*` after every epoch; beside it the best basic model of the last
            evaluation set, the latest basic model, the history and the run's state.
        eval_paths: `.bin` files or folders with pairs.txt. Defaults to none.
        basic_model: A model or file to begin with; or the index of the embedding's layer in `model`.
        model: A full model with its head, or its file. Without `basic_model` and `model`, `checkpoints/{save_path}`.
        compile: Load the optimizer of `model` too. Defaults to `True`.
        output_weight_decay: L2 on the head: 0 none, below 1 itself (halved), from 1 on times the L2 found in the basic model.
            Defaults to `1`.
        custom_objects: For loading a file.
        pretrained: Weights file, loaded once the head is built.
        batch_size: For each device of `facetrainer.devices`, or replica of the strategy, in whose scope this is made. Defaults to `128`.
        lr_base: First learning rate. Defaults to `0.001`.
        lr_batch: Images a step, of all devices together, that `lr_base` and `lr_min` are meant for: with another batch they grow and shrink
            with it (Goyal et al., arXiv:1706.02677, section 2.1). Defaults to `0`, they are taken as they are.
        lr_decay: See `callbacks.read_schedule`. Defaults to `0.05`.
        lr_decay_steps: See `callbacks.read_schedule`. Defaults to `0`.
        lr_min: Lowest rate, and where a warmup begins. Defaults to `1e-6`.
        lr_warmup_steps: Length of the warmup, in the unit of `lr_decay_steps`. Defaults to `0`.
        eval_freq: Above 1, evaluation every so many batches as well. Defaults to `1`.
        random_status: Augmentation by number, see `augment.from_status`. Defaults to `0`, mirroring.
        random_cutout_mask_area: Part of the face that a mask covers. Defaults to `0`.
        image_per_class: Images of an identity in a batch, in every stage; stages with a pair loss use 4 where it is 0.
        samples_per_mining: Refused; pair losses mine in the batch.
        mixup_alpha: Default of the stage key `mixup`, in stages of softmax and margin losses alone.
        partial_fc_split: Refused; use `partial_fc_sample_rate`.
        teacher_model_interf: What gives the embeddings to `distill`: a model, a model file, or a callable.
        sam_rho: Default of the stage key `sam_rho`.
        vpl_start_iters: First step at which remembered embeddings are mixed into the centers; -1 never. Defaults to `-1`.
        vpl_allowed_delta: Steps that an embedding is remembered. Defaults to `200`.
        steps_per_execution: As in Keras. An epoch keeps its number of steps. Defaults to `1`.
        augmentations: List of `(image, rng) -> image`, in the place of `random_status`.
        seed: Of the order of samples, augmentation, heads and losses. Defaults to `0`.
        resume: Go on from the run's state. `False` starts anew, the state is kept as `.old`. Defaults to `True`.
        checkpoint_freq: Write the state every so many batches, besides each epoch. Defaults to `0`.
        tensorboard: Folder for its logs: numbers by step and epoch, images as the network sees them, ROC, embeddings of the last
            evaluation set, the schedule. Needs the extra `board`.
        stop_after: Default of the stage key `stop_after`.
        verbose: As in Keras.
        partial_fc_sample_rate: Part of the classes that a step trains on, see `PartialNormDense`. Defaults to `1`, all.
        trusted: Whether the model files given here may run code of their own, see `models.load`. Defaults to `False`.
        report: Write `checkpoints/x_report.html`, the run on one page, at the end of `train`. Defaults to `True`.
        people_per_batch: facenet's words for `image_per_class` and `batch_size`: people in a batch of the pair losses, which is
            `people_per_batch * images_per_person` images.
        images_per_person: Images of each.
        epoch_size: Batches of an epoch; 0 for as many as show every image. Defaults to `0`.
        lr_schedule_file: Rates by epoch, lines `epoch: rate`, −1 ends the training; in the place of all `lr_...`.
        logit_blocks: Parts of a step's images whose scores are computed one after the other, and once more for the gradient: less memory
            where there are very many people, a third more work in the head. On JAX. Defaults to `1`.
        worst_pairs: After every so many epochs, a picture of the pairs of each evaluation set that go most wrong, with names and cosines:
            `checkpoints/x_worst_{set}_epoch_{n}.jpg`. Defaults to `0`, none.
        output_wd_multiply: An older name of `output_weight_decay`.

    A loss or weight that stops being finite sends the run back to the last state, with half the learning rate; the second time it
    raises `NanError`, with the last state in place.

    Raises:
        ValueError: An argument is refused, or the run's state cannot be read.
        FileNotFoundError: There is no model to begin with.
    """

    def __init__(
        self,
        data_path: Any,
        save_path: str,
        eval_paths: str | Sequence[str] = (),
        basic_model: keras.Model | str | int | None = None,
        model: keras.Model | str | None = None,
        compile: bool = True,
        output_weight_decay: float = 1,
        custom_objects: dict[str, Any] | None = None,
        pretrained: str | None = None,
        batch_size: int = 128,
        lr_base: float = 0.001,
        lr_decay: float | str = 0.05,
        lr_decay_steps: int | Sequence[int] = 0,
        lr_min: float = 1e-6,
        lr_warmup_steps: int = 0,
        eval_freq: int = 1,
        random_status: int = 0,
        random_cutout_mask_area: float = 0.0,
        image_per_class: int = 0,
        samples_per_mining: int = 0,
        mixup_alpha: float = 0,
        partial_fc_split: int = 0,
        teacher_model_interf: keras.Model | str | Callable | None = None,
        sam_rho: float = 0,
        vpl_start_iters: int = -1,
        vpl_allowed_delta: int = 200,
        steps_per_execution: int | None = None,
        *,
        augmentations: Sequence[Augmentation] | None = None,
        seed: int = 0,
        resume: bool = True,
        checkpoint_freq: int = 0,
        tensorboard: str | None = None,
        verbose: int | str = "auto",
        partial_fc_sample_rate: float = 1.0,
        trusted: bool = False,
        stop_after: int = 0,
        report: bool = True,
        people_per_batch: int = 0,
        images_per_person: int = 0,
        epoch_size: int = 0,
        lr_schedule_file: str | None = None,
        output_wd_multiply: float | None = None,
        logit_blocks: int = 1,
        lr_batch: int = 0,
        worst_pairs: int = 0,
    ):
        _refuse(locals())
        self.report = report
        if people_per_batch or images_per_person:
            batch_size, image_per_class = _groups(people_per_batch, images_per_person)
        output_weight_decay = output_weight_decay if output_wd_multiply is None else output_wd_multiply
        logs.show_messages()
        keep_freed_memory()
        stem, suffix = os.path.splitext(os.path.join("checkpoints", save_path))
        if (suffix or ".keras") not in (".keras", ".h5"):
            raise ValueError(f"save_path: expected a name ending in .keras or .h5. Received: {save_path!r}")
        self.strategy, self.custom_objects = distributed.strategy(), dict(custom_objects or {})
        devices = self.strategy.num_replicas_in_sync
        replicas = (
            devices if keras.backend.backend() == "tensorflow" else 1
        )  # JAX computes the gradient of the whole batch
        if augmentations is None:
            augmentations = augment.from_status(random_status, random_cutout_mask_area=random_cutout_mask_area)
        vpl = {"start_iters": vpl_start_iters, "allowed_delta": vpl_allowed_delta} if vpl_start_iters >= 0 else None
        shown = 1 if sys.stdout.isatty() or "ipykernel" in sys.modules else 2
        if lr_batch and lr_schedule_file:
            raise ValueError(
                "lr_batch scales lr_base, and lr_schedule_file lists the rates themselves. Leave one of them out."
            )
        times = batch_size * devices / lr_batch if lr_batch else 1.0
        if times != 1:
            log.info(
                "lr_base %g for %d images a step: %g for %d", lr_base, lr_batch, lr_base * times, batch_size * devices
            )
        self.config = TrainConfig(
            data_path=data_path, stem=stem, suffix=suffix or ".keras", batch_size=batch_size * devices, replicas=replicas,
            lr={"lr_base": lr_base * times, "lr_decay": lr_decay, "lr_decay_steps": lr_decay_steps, "lr_min": lr_min * times,
                "lr_warmup_steps": lr_warmup_steps, **_listed(lr_schedule_file)},
            options=StageOptions(mixup=float(mixup_alpha), sam_rho=float(sam_rho), image_per_class=image_per_class,
                                 sample_rate=partial_fc_sample_rate, stop_after=stop_after, vpl=vpl),
            augmentations=list(augmentations), eval_freq=eval_freq, teacher_given=teacher_model_interf,
            teacher=None if teacher_model_interf is None else interface(teacher_model_interf, trusted=trusted),
            seed=seed, checkpoint_freq=checkpoint_freq, verbose=(shown if verbose == "auto" else verbose) if distributed.is_first() else 0,
            epoch_size=epoch_size, output_weight_decay=output_weight_decay, pretrained=pretrained,
            steps_per_execution=steps_per_execution or 1, logit_blocks=logit_blocks,
        )  # fmt: skip
        store = RunStore(f"{stem}.state.npz", resume)
        with self.strategy.scope():
            embedder, self._loaded, template = self._open_model(basic_model, model, compile, trusted)
        evaluations = [
            eval_callback(
                embedder, path, batch_size=self.config.batch_size, eval_freq=eval_freq,
                worst=f"{stem}_worst" if worst_pairs else None, worst_every=worst_pairs,
            )
            for path in eval_paths
        ]  # fmt: skip
        if evaluations:
            evaluations[-1].save_model = stem + self.config.suffix
        self.eval_paths = list(eval_paths)
        self.trainer = Trainer(embedder, self.config, evaluations, store, template)
        if tensorboard:
            self._add_board(tensorboard)
        self._hand_on()

    def _add_board(self, folder):
        """Now, so that a missing package is told before the first epoch."""
        from facetrainer.reporting.board import Board

        self.trainer.board = Board(folder)
        self.trainer.board.trainer = self.trainer

    def _open_model(self, basic_model, model, compile, trusted):
        """→ basic model, full model or None, optimizer to begin with."""
        if basic_model is None and model is None:
            model = self.stem + self.suffix
            if not os.path.exists(model):
                raise FileNotFoundError(
                    f"neither basic_model nor model is given, and {model} does not exist to go on from."
                )
        if model is not None:
            self._origin, without = _origin(model), None if isinstance(model, str) else "adam"
            model = saving.load(model, self.custom_objects, compile, trusted) if isinstance(model, str) else model
            embedder, _ = saving.split(model, basic_model if isinstance(basic_model, int) else None)
            return embedder, model, getattr(model, "optimizer", None) or without
        if isinstance(basic_model, str):
            return saving.split(saving.load(basic_model, self.custom_objects, False, trusted))[0], None, "adam"
        if isinstance(basic_model, keras.Model):
            return basic_model, None, "adam"
        raise ValueError(
            f"basic_model: expected a model, a file, or a layer index beside model=. Received: {basic_model!r}"
        )

    def _hand_on(self):
        """Head, losses and optimizer of a full model, to the first stage."""
        if self._loaded is None:
            return
        carried, people = self.trainer.carried, self._origin and self._origin.people
        head = next((one for one in reversed(self._loaded.layers) if isinstance(one, Head)), None)
        if head is not None:
            carried.remember("head", head, people)
        if isinstance(self._loaded, FaceModel):
            for slot, term in zip(self._loaded.slots, self._loaded.terms, strict=True):
                carried.remember(slot, term, people)
        carried.optimizer = getattr(self._loaded, "optimizer", None)
        if self.trainer.template is None and self._origin:
            self.trainer.template = self._origin.optimizer
            log.info("optimizer of the run that the model is of: %s, without its memory", self.trainer.template.name)

    # --------------------------------------------------------------------------------------------------------- doing

    def train(self, train_schedule: dict | Sequence[dict], initial_epoch: int = 0) -> int:
        """Runs a schedule.

        Args:
            train_schedule: A stage or a list of stages, see the README.
            initial_epoch: Number of the first epoch, for the learning rate.

        Returns:
            Number of the next epoch.

        Raises:
            ValueError: The schedule is wrong, or the run of this name was asked for something else.
            NanError: A loss or weight stopped being finite twice.
        """
        with self.strategy.scope():
            epoch = self.trainer.fit(self.plan(train_schedule), initial_epoch)
        if self.report and self.trainer.stage is not None:
            self._write_report()
        return epoch

    def _write_report(self):
        """A page that fails costs no run."""
        from facetrainer.reporting import page

        try:
            log.info("%s", page.write(self))
        except Exception as error:
            log.warning("the report could not be written: %s: %s", type(error).__name__, error)

    def plan(self, train_schedule: dict | Sequence[dict]) -> list:
        """A schedule, read whole, with this trainer's defaults; no image is read."""
        return parse_schedule(train_schedule, self.config.options, self.config.replicas)

    def train_single_scheduler(
        self,
        epoch: int,
        loss: Any = None,
        initial_epoch: int = 0,
        lossWeight: float = 1,
        optimizer: keras.optimizers.Optimizer | str | None = None,
        bottleneckOnly: bool = False,
        lossTopK: int = 1,
        type: str | None = None,
        embLossTypes: Any = None,
        embLossWeights: Any = 1,
        tripletAlpha: float = 0.35,
    ) -> int:
        """One stage by keywords; `loss=None` goes on with the loss in use."""
        loss = loss if loss is not None else self.cur_loss
        given = {k: v for k, v in locals().items() if k in KEYS}
        if loss is None:
            raise ValueError("train_single_scheduler: no loss given and none in use yet. Give loss=.")
        return self.train(given, initial_epoch)

    def reset_dataset(self, data_path: Any = None) -> None:
        """Forgets the indexed data; goes on with `data_path` where it is given."""
        self.trainer.data.reset(data_path)

    # ---------------------------------------------------------------------------------------------------- attributes

    data_path = _of("config.data_path", "What the data are read from; `reset_dataset` changes it.")
    batch_size = _of("config.batch_size", "Over all replicas.")
    output_weight_decay = _of("config.output_weight_decay", "See the arguments.")
    stem = _of("config.stem", "Path below which all files of the run begin.")
    suffix = _of("config.suffix", "Of model files.")
    basic_model = _of("trainer.embedder", "Image → embedding.")
    callbacks = _of("trainer.callbacks", "Callbacks of the stage in work; what is appended stays for all stages.")
    custom_callbacks = _of("trainer.custom_callbacks", "Further callbacks.")
    my_evals = _of("trainer.evaluations", "Evaluation callbacks.")
    my_history = _of("trainer.history", "`.history` holds every number of every epoch.")
    model_checkpoint = _of("trainer.model_checkpoint", "Saves the full model after every epoch; None before the first.")
    lr_scheduler = _of("trainer.rate", "Sets the learning rate; None before the first stage.")
    gently_stop = _of("trainer.stopper", "Stops when asked to; None never stops.")
    default_optimizer = _of("trainer.template", "Optimizer of stages that bring none.")
    train_ds = _of("trainer.train_ds", "The dataset in use; None before the first stage.")

    @property
    def model(self):
        """The `FaceModel` of the stage in work; before the first the full model that was given, or None."""
        return self.trainer.stage.model if self.trainer.stage else self._loaded

    @property
    def head(self):
        """The head of the model in use, or None."""
        return getattr(self.model, "head", None)

    @property
    def optimizer(self):
        """The optimizer in use, or None."""
        return getattr(self.model, "optimizer", None)

    @property
    def metrics(self):
        """Metrics of the model in use."""
        return self.model.metrics if self.model is not None else []

    @property
    def cur_loss(self):
        """Main loss of the stage in work, or None."""
        return self.trainer.stage.model.terms[0] if self.trainer.stage else None

    @property
    def loss_weights(self):
        """Weights of the losses of the stage in work."""
        return self.trainer.stage.model.term_weights if self.trainer.stage else []

    @property
    def faces(self):
        """The opened data, or None."""
        return self.trainer.data.faces

    @property
    def source(self):
        """The index of the data, or None."""
        return self.trainer.data.source

    @property
    def input_shape(self):
        """`(height, width, channels)`."""
        return self.basic_model.input_shape[1:]

    @property
    def classes(self):
        """Number of identities; 0 before the data are opened."""
        return self.faces.classes if self.faces else 0

    @property
    def steps_per_epoch(self):
        """Batches of an epoch; 0 before the data are opened."""
        return self.faces.steps if self.faces else 0

    @property
    def is_triplet_dataset(self):
        """Whether batches hold groups of one identity."""
        return isinstance(getattr(self.faces, "order", None), PeopleByImages)

    @property
    def is_distill_ds(self):
        """Whether the data bring a teacher's embeddings."""
        return bool(self.faces and self.faces.has_teacher)


def _groups(people, images):
    """facenet's words → batch_size, image_per_class."""
    if people < 2 or images < 2:
        raise ValueError(f"people_per_batch and images_per_person are 2 or more, both. Received: {people}, {images}")
    return people * images, images


def _listed(path):
    return {} if path is None else {"listed": dataclasses.asdict(read_listed(path))}


def _origin(model):
    """What the run that a model file is of has written beside it, or None."""
    stem = os.path.splitext(model)[0] if isinstance(model, str) else ""
    path = next((form.path for form in (OneFile(stem), Directory(stem)) if os.path.isfile(form.path)), None)
    if path is None:
        return None
    try:
        state = read_state(path)["states"].get("origin")
        return state and Origin.from_state(state)
    except ValueError as error:
        log.warning("%s: going on from the model alone, without names of people and optimizer", error)
        return None


def _refuse(arguments):
    """Arguments of Keras_insightface that never worked well, and what to use now."""
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
