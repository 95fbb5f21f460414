"""The file of a run's state, and the journal of what its stages were asked to do."""

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping
from typing import Any

import filelock

from facetrainer import distributed
from facetrainer.training.asked import differences
from facetrainer.training.state import Progress, Stateful
from facetrainer.training.state_files import Directory, OneFile, read_state

log = logging.getLogger("facetrainer")

ADJUSTABLE = ("learning rate", "augmentations")  # may change while a run goes on
AGAIN = "Use another save_path, or resume=False to start anew."


class RunStore:
    """State of one run, in the last two versions, and the stages that it has entered.

    A run is a journal of stages. The same calls in a new process walk the journal: stages that are behind are passed over, the one
    that was broken off goes on where its last state stands.

    Args:
        path: `x.state.npz`, see `state_files` for the other names.
        resume: Whether to go on from what is there.

    Raises:
        ValueError: Neither version can be read.
    """

    def __init__(self, path: str, resume: bool = True):
        self.path, stem = path, path.removesuffix(".state.npz")
        self.forms = OneFile(stem), Directory(stem)
        self.resume, self.begun, self.changed = resume, False, []
        self.journal: dict[str, Any] = {"run": {}, "stages": []}
        self.stored: dict | None = None
        if resume:
            self.stored = self._without_arrays(self.load())

    # ------------------------------------------------------------------------------------------------------ files

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other processes off the run inside the block. The lock is the operating system's: a crash leaves none behind.

        Raises:
            ValueError: Another process works on the same run.
        """
        os.makedirs(os.path.dirname(self.path) or ".", exist_ok=True)
        lock = filelock.FileLock(self.path.removesuffix(".state.npz") + ".lock", timeout=0, is_singleton=True)
        try:
            if distributed.is_first():
                lock.acquire()
        except filelock.Timeout:
            raise ValueError(
                f"another process is training {self.path.removesuffix('.state.npz')}: wait for it, or use another save_path."
            ) from None
        try:
            self._open()
            yield
        finally:
            lock.release()

    def _open(self):
        """Once the run is ours: the state as it is now, not as it was when the object was made."""
        if self.begun:
            return
        self.begun = True
        if self.resume:
            self.stored = self._without_arrays(self.load())
        else:
            self._set_aside()

    @staticmethod
    def _without_arrays(found):
        """What the journal needs of a state; the arrays are read again when they are put back."""
        return found and {"journal": found["journal"], "progress": found["states"]["progress"]}

    def _set_aside(self):
        distributed.wait_for_all()
        for form in self.forms:
            form.set_aside()
        distributed.wait_for_all()

    def save(self, states: Mapping[str, Stateful]) -> None:
        """Writes the states of everything; a crash leaves the version before whole.

        Args:
            states: `{name: thing}`.

        Raises:
            NotFiniteError: A weight is not finite; nothing is written.
        """
        self.form.write(self.journal, {name: thing.state_dict() for name, thing in states.items()})
        for other in self.forms:
            if other is not self.form:
                other.set_aside()

    @property
    def form(self):
        """How the state is written now: as one file, or by several devices together where classes are split or processes are several."""
        return self.forms[int(distributed.sharding() is not None or distributed.process()[1] > 1)]

    def load(self) -> dict | None:
        """The last state that can be read: `{"journal": ..., "states": {name: state}}`, or None where there is none.

        Returns:
            Journal and states, or None.

        Raises:
            ValueError: There is a file, but none that can be read.
        """
        faults = {}
        for path in (path for form in self.forms for path in form.paths if os.path.exists(path)):
            try:
                found = read_state(path)
            except ValueError as error:
                faults[path] = str(error)
                continue
            for damaged in faults:
                with contextlib.suppress(FileNotFoundError):  # another process was first
                    os.replace(damaged, damaged + ".damaged")
                log.warning("%s; going on from the state before, %s", faults[damaged], path)
            return found
        if faults:
            raise ValueError(
                f"{'; '.join(faults.values())}. Move the run's state away, or use resume=False, to start it anew."
            )
        return None

    # ---------------------------------------------------------------------------------------------------- journal

    def enter(self, run: dict, stage: dict, is_last: bool) -> Progress | None:
        """Notes the next stage of this process.

        Args:
            run: What the whole run was asked to do, see `asked.of_run`.
            stage: What the stage was asked to do, see `asked.of_stage`.
            is_last: Whether no stage follows in this call.

        Returns:
            Where the stage begins: `stage`, `epoch`, `step`; None where it is behind the stored state.

        Raises:
            ValueError: The stored run was asked for something else; the message says what differs and what to do.
        """
        number = len(self.journal["stages"])
        if self.stored and number == 0:
            self._compare_run(run, stage)
        elif self.stored and number < len(self._before):
            self._compare_stage(number, stage)
        begin = Progress(number, stage["first epoch"], 0)
        if self.is_stored(number):
            begin.load_state_dict(self.stored["progress"])
            self._check_changed(begin, stage, is_last)
        self.journal["run"] = run
        self.journal["stages"].append(stage)
        is_behind = self.stored and number < len(self._before) - 1
        return None if is_behind else begin

    @property
    def _before(self):
        return self.stored["journal"]["stages"]

    def is_stored(self, number: int) -> bool:
        """Whether the stored state is of this stage."""
        return bool(self.stored) and number == len(self._before) - 1

    def rewind(self, stages: int) -> None:
        """After a call that did not end: the same call walks the journal again from `stages` on, as a new process would."""
        self.journal["stages"] = self.journal["stages"][:stages]
        self.stored = self._without_arrays(self.load())

    def _compare_run(self, run, stage):
        before = self.stored["journal"]["run"]
        if not before:
            log.info("%s is of version 0.5: it goes on; what it was asked to do is not compared", self.path)
            return
        fixed = [{k: v for k, v in one.items() if k not in (*ADJUSTABLE, "evaluation sets")} for one in (before, run)]
        changed = differences(*fixed) + differences(_without_epochs(self._before[0]), _without_epochs(stage))
        if changed:
            self._start_anew(changed)
            return
        self._check_epochs(0, stage)
        self.changed = [text for key in ADJUSTABLE for text in differences(before.get(key), run.get(key), key)]
        sets = differences(before.get("evaluation sets", {}), run.get("evaluation sets", {}), "evaluation set")
        if sets:
            log.warning("%s; training is the same, a new set begins with no best accuracy", shown(sets))

    def _compare_stage(self, number, stage):
        before = self._before[number]
        changed = [] if before.get("version") == "0.5" else differences(_without_epochs(before), _without_epochs(stage))
        if changed:
            raise ValueError(
                f"{self.path} holds a run that began the same, but sch[{number}] differs: {shown(changed)}. {AGAIN}"
            )
        self._check_epochs(number, stage)

    def _check_epochs(self, number, stage):
        before = self._before[number].get("epochs")
        if before not in (None, stage["epochs"]) and number < len(self._before) - 1:
            raise ValueError(
                f"sch[{number}]: 'epoch' was {before} and is {stage['epochs']} now, but the run in {self.path} stands in "
                f"sch[{len(self._before) - 1}] already: only its last stage can be made longer. {AGAIN}"
            )

    def _check_changed(self, begin, stage, is_last):
        """Settings that may change while a run goes on do not change one that is finished."""
        if not self.changed:
            return
        if begin.epoch >= stage["first epoch"] + stage["epochs"] and is_last:
            raise ValueError(
                f"{self.path} holds a finished run, but {shown(self.changed)}. Nothing was trained. {AGAIN}"
            )
        log.warning("the run goes on from epoch %d with another setting: %s", begin.epoch + 1, shown(self.changed))

    def _start_anew(self, changed):
        self._set_aside()
        log.warning(
            "starting anew: the run in %s differs: %s. Its state is kept as %s.old",
            self.path,
            shown(changed),
            self.path,
        )
        self.stored = None


def shown(changed: list[str], most: int = 4) -> str:
    """Differences in a line, the first few of them."""
    rest = f" and {len(changed) - most} more" if len(changed) > most else ""
    return ", ".join(changed[:most]) + rest


def _without_epochs(stage):
    return {key: value for key, value in stage.items() if key not in ("epochs", "first epoch")}
