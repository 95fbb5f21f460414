"""Walks the stages of a schedule: builds each, restores it where it was begun, runs it, hands on."""

import contextlib
import logging
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from facetrainer import distributed, losses
from facetrainer.models import saving
from facetrainer.training import asked, callbacks
from facetrainer.training.config import TrainConfig, TrainingData
from facetrainer.training.freezing import frozen_layers
from facetrainer.training.goodput import Goodput
from facetrainer.training.schedule import StageSpec
from facetrainer.training.stage import Stage, build_stage, people_of
from facetrainer.training.state import Carried, ModelState, Named, Origin, Progress, Stateful
from facetrainer.training.store import RunStore
from facetrainer.utils.finite import NotFiniteError

log = logging.getLogger("facetrainer")


class Trainer:
    """A run: its parts, each the only home of its state, and the walk over the stages.

    Args:
        embedder: Basic model.
        config: Settings.
        evaluations: Evaluation callbacks, measured in order.
        store: The run's file.
        template: Optimizer to begin with where no stage brings one.

    Attributes:
        progress: The clock.
        stage: The stage in work, or the last one; None before the first.
        carried: What stages hand on.
        history, rate, stopper, checkpoint, board: Callbacks that live as long as the run; each may be replaced, or set to None.
        patience: Ends the stage in work early; None where it may not.
        goodput: Where the time of the stage in work goes.
        callbacks: Callbacks of the stage in work; what is appended here stays for all stages.
        custom_callbacks: Further callbacks of the user's.
    """

    def __init__(
        self, embedder: keras.Model, config: TrainConfig, evaluations: list, store: RunStore, template: Any = "adam"
    ):
        distributed.spread(embedder)
        self.embedder, self.config, self.evaluations, self.store = embedder, config, evaluations, store
        self.data = TrainingData(config, embedder.input_shape[1:])
        self.progress, self.carried, self.template = Progress(), Carried(), template
        self.stage: Stage | None = None
        self.history = callbacks.My_history(f"{config.stem}_hist.json")
        self.stopper = callbacks.Gently_stop_callback(time_out=0, stop_file=f"{config.stem}.stop")
        self.rate, self.metrics, self.train_ds, self.model_checkpoint = None, None, None, None
        self.custom_callbacks, self.callbacks, self._own = [], [], []
        self._frozen: Any = None
        self._unfinished: int | None = None
        self._has_rate = False
        self.board, self.patience, self.goodput = None, None, None

    # ------------------------------------------------------------------------------------------------------ states

    def states(self) -> Mapping[str, Stateful]:
        """Everything that survives a kill, by name."""
        named = Named({self._name(one): one for one in self.evaluations})
        users = Named(
            {f"{i} {type(one).__name__}": one for i, one in enumerate(self.users_callbacks()) if _is_stateful(one)}
        )
        found = {"progress": self.progress, "model": ModelState(self.stage.model), "carried": self.carried,
                 "origin": Origin(people_of(self.stage.faces), self.stage.model.optimizer), "patience": self.patience,
                 "board": self.board, "history": self.history, "evaluations": named, "learning rate": self.rate,
                 "callbacks": users}  # fmt: skip
        return {name: thing for name, thing in found.items() if _is_stateful(thing)}

    def _name(self, evaluation):
        """Of an evaluation set; a second one of the same name has its number."""
        names = [getattr(one, "test_names", type(one).__name__) for one in self.evaluations]
        place = next(i for i, one in enumerate(self.evaluations) if one is evaluation)
        count = names[: place + 1].count(names[place])
        return names[place] if count == 1 else f"{names[place]} {count}"

    def save(self) -> None:
        """Writes the run's state."""
        self.store.save(self.states())

    # -------------------------------------------------------------------------------------------------------- walk

    def fit(self, specs: list[StageSpec], initial_epoch: int = 0) -> int:
        """Runs stages, from where an earlier process left them.

        Args:
            specs: Stages in order.
            initial_epoch: Number of the first epoch.

        Returns:
            Number of the next epoch.

        Raises:
            NanError: A loss or weight stopped being finite twice; the last good state is in memory and on disk.
            ValueError: The stored run was asked for something else.
        """
        with self.store.locked():
            self._go_on(specs[0], initial_epoch)
            begun, epoch, ended = len(self.store.journal["stages"]), initial_epoch, False
            try:
                for spec in specs:
                    epoch = self._run(self._with_teacher(spec), epoch, spec is specs[-1])
                    if self.stage is not None and self.stage.model.stop_training and not self._is_over():
                        break
                else:
                    ended = True
            finally:
                self._unfinished = None if ended else begun
        return epoch

    def _go_on(self, spec, epoch):
        """A call that was stopped or broken off, made again, goes on where its state stands; another call follows it."""
        stages, begun = self.store.journal["stages"], self._unfinished
        if begun is not None and begun < len(stages):
            wanted = asked.of_stage(self._with_teacher(spec), self.data.faces, epoch)
            if not asked.differences({**stages[begun], "epochs": None}, {**wanted, "epochs": None}):
                self.store.rewind(begun)

    def _with_teacher(self, spec):
        """Opens the data. Those with embeddings distill with weight 7 unless the stage says otherwise, as Keras_insightface did."""
        has_teacher = self.data.open(spec).has_teacher
        if spec.distills and not has_teacher:
            raise ValueError(
                f"sch[{spec.index}]: distill: the data bring no embeddings. Give teacher_model_interf=, or an npz with embeddings."
            )
        if has_teacher and not spec.distills:
            log.info("the data bring a teacher's embeddings: distill 7 added to the stage")
            return spec.with_loss(losses.DistillCosineLoss(), 7.0)
        return spec

    def _run(self, spec, first_epoch, is_last):
        """One stage → number of the next epoch."""
        self._make_rate()
        named = {self._name(one): one for one in self.evaluations}
        run = asked.of_run(self.embedder, self.config, named)
        begin = self.store.enter(run, asked.of_stage(spec, self.data.faces, first_epoch), is_last)
        self.template = spec.optimizer or self.template
        if self.template is None:
            raise ValueError(
                f"sch[{spec.index}]: the model file holds no optimizer to go on with. Give the stage an 'optimizer'."
            )
        if begin is None:
            return first_epoch + spec.epochs
        names = spec.frozen([layer.name for layer in self.embedder._flatten_layers()])
        with frozen_layers(self.embedder, names, spec.options.bottleneck_only) as self._frozen:
            self._begin(spec, begin, first_epoch)
            with contextlib.nullcontext() if self.stopper is None else self.stopper.listening():
                self._fit(first_epoch, self._last(first_epoch + spec.epochs))
            self._end()
            log.info("sch[%d]: %s", spec.index, self.goodput.describe())
        return first_epoch + spec.epochs if self._is_over() else self.progress.epoch

    def _is_over(self):
        """Whether the stage has ended early, as it was asked to; the next one begins with the epoch that it was planned for."""
        return self.progress.ended or (self.patience is not None and self.patience.is_over)

    def _last(self, epoch):
        """A stage's last epoch, or the end of a listed schedule."""
        return int(min(epoch, getattr(getattr(self.rate, "schedule", None), "end", epoch)))

    def _make_rate(self):
        """Once; lengths in batches are counted by the first stage, also where that is passed over."""
        if not self._has_rate:
            steps = self.data.faces.steps
            schedule = callbacks.read_schedule(**self.config.lr, steps_per_epoch=steps)
            self.rate, self._has_rate = self.rate or callbacks.LearningRate(schedule, steps, self.progress), True

    def _begin(self, spec, begin, first_epoch):
        """Builds the stage, and puts it where the stored run stands."""
        if self.stage is not None:
            self.stage.close()
        self.goodput = Goodput(self.data.faces)
        self.stage, stored = None, self.store.load()["states"] if self.store.is_stored(begin.stage) else None
        self.patience = self._patience(spec)
        self.stage = build_stage(spec, self.embedder, self.data.faces, self.carried, self.template, self.config)
        log.info("%s", self.stage.describe(resumed=bool(stored)))
        self._check_parts()
        if stored:
            self._put_back(stored)
            self._say_resumed(first_epoch, first_epoch + spec.epochs)
        else:
            self.metrics = None
            self.progress.load_state_dict(begin.state_dict())
            self.save()

    def _check_parts(self):
        """Of several processes each has to read its own part of a batch."""
        if distributed.process()[1] > 1:
            faces = self.stage.faces
            order = faces.order(self.config.seed, 0)[0] if hasattr(faces, "order") else np.zeros(0)
            distributed.check_parts(order, np.asarray(next(iter(faces.batches()))[0]))

    def _patience(self, spec):
        """Of a stage that ends when its accuracy no longer rises."""
        if not spec.options.stop_after:
            return None
        if not self.evaluations:
            raise ValueError(
                f"sch[{spec.index}]: 'stop_after' looks at the last evaluation set. Give Train eval_paths."
            )
        return callbacks.Patience(spec.options.stop_after, self.evaluations[-1].test_names)

    def _say_resumed(self, first, last):
        at = self.progress
        if at.epoch >= last or self._is_over():
            log.info("sch[%d]: done already, %d epochs (%s)", at.stage, last - first, self.store.path)
        else:
            log.info(
                "resumed from %s: sch[%d], epoch %d, %d batches done", self.store.path, at.stage, at.epoch + 1, at.step
            )

    def _put_back(self, stored):
        """Puts a state back into everything; of an epoch that is begun the metrics are kept for `fit`."""
        for name, thing in self.states().items():
            if name in stored:
                thing.load_state_dict(stored[name])
        self.metrics = stored["model"]["metrics"] if self.progress.step else None

    def _fit(self, first_epoch, last):
        while self.progress.epoch < last and not self._is_over():
            try:
                self._fit_some(first_epoch, last)
            except NotFiniteError as error:
                self._roll_back(error)
                continue
            if self.stage.model.stop_training:
                break

    def _fit_some(self, first_epoch, last):
        """To the end of a begun epoch, or of the stage."""
        at, faces = self.progress, self.stage.faces
        self.train_ds = faces.epochs(at, faces.steps - at.step)
        metrics, self.metrics = self.metrics, None
        try:
            self.stage.model.fit(
                self.train_ds,
                epochs=at.epoch + 1 if at.step else last,
                initial_epoch=at.epoch,
                callbacks=[
                    self.goodput,
                    callbacks.Clock(at, faces.steps, metrics),
                    *self._stage_callbacks(first_epoch),
                ],
                shuffle=False,
                verbose=self.config.verbose,
            )
        except Exception:
            if getattr(faces, "failure", None) is None:
                raise
            raise faces.failure from None  # which TensorFlow has wrapped into an error of its own

    def _roll_back(self, error):
        """The last good state with half the learning rate, once a run; the second time the error, with the good state in place."""
        where = getattr(error, "where", f"sch[{self.progress.stage}], epoch {self.progress.epoch + 1}: {error}")
        again = self.rate is None or getattr(self.rate, "factor", 0) < 1
        self._put_back(self.store.load()["states"])
        if again:
            raise callbacks.NanError(where) from error
        self.rate.factor = 0.5
        at = self.progress
        log.warning("%s. Back to epoch %d, batch %d, with half the learning rate.", where, at.epoch + 1, at.step)

    def _end(self):
        """Hands on what the next stage takes over."""
        model = self.stage.model
        if model.averages:
            model.averages.keep()
            model.keep_averages(None)
        self.stage.remember_in(self.carried)
        with self._frozen.lifted():
            saving.save(self.embedder, f"{self.config.stem}_basic_model_latest{self.config.suffix}")

    # --------------------------------------------------------------------------------------------------- callbacks

    def users_callbacks(self) -> list:
        """What the user added, in either list."""
        own = {id(one) for one in self._own}
        return [*self.custom_callbacks, *(one for one in self.callbacks if id(one) not in own)]

    def _stage_callbacks(self, first_epoch):
        """Callbacks of the stage in order; those at an epoch's end see the running means where there are any."""
        users, steps, spec = self.users_callbacks(), self.stage.faces.steps, self.stage.spec
        self._set_up(steps)
        ramps = [
            callbacks.Ramp(
                self.stage.model.terms[0].ramps[name], first, last, self.progress, first_epoch, spec.epochs, steps
            )
            for name, first, last in spec.options.ramps
        ]
        begin = [self.rate, *ramps, callbacks.ExitOnNaN(self.progress)]
        begin.append(callbacks.Doctor(self.stage.expected(), self.progress, first_epoch, steps))
        measured = callbacks.Within(
            self._evaluating, [*self.evaluations, *_there(self.patience, self.board), *users, *_there(self.history)]
        )
        state = callbacks.Every(self._keeping(self.save), self.progress, steps, self.config.checkpoint_freq)
        self.model_checkpoint = callbacks.Every(self._keeping(self.save_model), self.progress, steps)
        own = [
            *_there(*begin),
            measured,
            self.model_checkpoint,
            callbacks.NextEpoch(self.progress, users, self._is_over),
            state,
            *_there(self.stopper),
        ]
        self._own = own
        self.callbacks[:] = [*own, *(one for one in users if one not in self.custom_callbacks)]
        return own

    def _set_up(self, steps):
        if isinstance(self.rate, callbacks.LearningRate):
            self.rate.steps_per_epoch = steps
        for one in self.evaluations:
            one.clock, one.measuring = self.progress, self._evaluating

    @contextlib.contextmanager
    def _evaluating(self):
        with self.goodput.span("evaluation"), self.averaged():
            yield

    def _keeping(self, action):
        """A function that writes, whose time is counted."""

        def kept():
            with self.goodput.span("checkpoint"):
                action()

        return kept

    def averaged(self) -> contextlib.AbstractContextManager:
        """Running means in the place of the weights, where the stage keeps any."""
        averages = self.stage.model.averages if self.stage else None
        return averages.applied() if averages else contextlib.nullcontext()

    def save_model(self) -> None:
        """Writes the full model, all of it as trainable as outside the stage.

        Where the classes are split over several processes it may be larger than one's memory: the state has it, and no file is written.
        """
        if distributed.sharding() and distributed.process()[1] > 1:
            return
        with self.averaged(), self._frozen.lifted():
            saving.save(self.stage.model, self.config.stem + self.config.suffix)


def _is_stateful(thing):
    return all(callable(getattr(thing, name, None)) for name in ("state_dict", "load_state_dict"))


def _there(*things):
    return [one for one in things if one is not None]
