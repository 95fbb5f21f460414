"""Everything that `Train` was asked for, as data."""

import dataclasses
from collections.abc import Callable
from typing import Any

from facetrainer.data import pipeline, ready
from facetrainer.training.schedule import StageOptions, StageSpec


@dataclasses.dataclass(kw_only=True)
class TrainConfig:
    """Settings of a run; `Train` explains each.

    Attributes:
        stem: Path below which all files of the run begin, without a suffix.
        suffix: Of model files, ".keras" or ".h5".
        batch_size: Over all replicas.
        lr: Arguments of `callbacks.read_schedule`.
        options: Defaults of all stages.
        teacher_given: What the user gave as a teacher.
        teacher: Function of normalised images that comes of it, or None.
    """

    data_path: Any
    stem: str
    suffix: str
    batch_size: int
    lr: dict
    options: StageOptions
    augmentations: list
    eval_freq: int = 1
    teacher_given: Any = None
    teacher: Callable | None = None
    seed: int = 0
    checkpoint_freq: int = 0
    verbose: int | str = 1
    output_weight_decay: float = 1.0
    pretrained: str | None = None
    steps_per_execution: int = 1
    logit_blocks: int = 1
    replicas: int = 1
    epoch_size: int = 0


class TrainingData:
    """The data of a run: indexed once, opened for each stage.

    Args:
        config: The run's settings.
        shape: `(height, width, channels)` of the images; None where the model takes any.
    """

    def __init__(self, config: TrainConfig, shape: tuple[int | None, ...]):
        self.config, self.shape, self.source = config, shape, None
        self.faces: pipeline.Faces | ready.ReadyFaces | None = None

    def open(self, spec: StageSpec):
        """Batches of a stage, in groups of one identity where one of its losses needs them.

        Args:
            spec: The stage.

        Returns:
            `data.Faces` or `data.ReadyFaces`.

        Raises:
            ValueError: The data cannot serve the stage.
        """
        c, options, shape = self.config, spec.options, self._shape(spec)
        self.faces = pipeline.open_faces(
            c.data_path, c.batch_size, shape, c.augmentations, options.image_per_class, c.seed, c.teacher, self.source,
            options.balanced, options.mixup, c.epoch_size, options.repeats,
        )  # fmt: skip
        self.source = getattr(self.faces, "source", None)
        return self.faces

    def _shape(self, spec):
        """Of a stage's images: what it asks for, else what the model takes, else 112×112."""
        asked, channels = spec.options.image_size, self.shape[-1]
        fixed = [side for side in self.shape[:2] if side]
        if asked and any(side != asked for side in fixed):
            raise ValueError(
                f"sch[{spec.index}]: 'image_size' {asked}: the model takes images of {self.shape[0]}×{self.shape[1]} alone. Make it with "
                'input_shape=(None, None, 3) and output_layer="GAP", or leave image_size out.'
            )
        return (asked, asked, channels) if asked else tuple(side or 112 for side in self.shape[:2]) + (channels,)

    def reset(self, data_path=None) -> None:
        """Forgets the index; goes on with `data_path` where it is given."""
        self.config.data_path = self.config.data_path if data_path is None else data_path
        self.source = self.faces = None
