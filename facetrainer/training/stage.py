"""Everything that lives as long as a stage, made in one place and visible in one object."""

import dataclasses
import gc
import math
from typing import Any

import keras

from facetrainer import heads, losses, optimizers
from facetrainer.evaluation.embedder import Embedder
from facetrainer.models import FaceModel, saving
from facetrainer.training.averaging import Averages, TailMeans
from facetrainer.training.callbacks.doctor import Expected
from facetrainer.training.config import TrainConfig
from facetrainer.training.schedule import StageSpec
from facetrainer.training.state import Carried


@dataclasses.dataclass
class Stage:
    """A stage that is ready to train.

    Attributes:
        spec: What it was asked to do.
        model: Compiled `FaceModel`.
        faces: Its data.
        carried: What it took over, in words.
    """

    spec: StageSpec
    model: FaceModel
    faces: Any
    carried: list[str]

    def describe(self, resumed: bool = False) -> str:
        """The stage in a line; of a resumed one not what is new, as everything comes from the stored run."""
        counts = f"{self.faces.classes} classes, {self.faces.steps} steps an epoch"
        return "; ".join(
            [f"sch[{self.spec.index}]: {self.spec.describe()}", counts, *([] if resumed else self.carried)]
        )

    def expected(self) -> Expected:
        """Loss of an untrained model and the like, for the look at the first batches."""
        width, classes = self.model.embedder.output_shape[-1], self.faces.classes
        pairs = zip(self.model.terms, self.model.term_weights, strict=True)
        known = [(term, weight, term.expected(classes, width)) for term, weight in pairs]
        least = sum(weight * (math.log(classes) if v is None else v) for term, weight, v in known if term.head)
        whole = self.spec.head and all(value is not None for *_, value in known)
        alphas = [term.alpha for term in self.model.terms if isinstance(term, losses.TripletLoss)]
        return Expected(sum(w * v for _, w, v in known) if whole else None, least, alphas[0] if alphas else None)

    def remember_in(self, carried: Carried) -> None:
        """Hands head, losses and optimizer on."""
        if self.model.head is not None:
            carried.remember("head", self.model.head, people_of(self.faces))
        for one, term in zip(self.spec.losses, self.model.terms, strict=True):
            if term.weights:
                carried.remember(one.slot, term, people_of(self.faces))
        carried.optimizer = self.model.optimizer

    def close(self) -> None:
        """Lets the compiled steps go; the model itself stays usable."""
        self.model.train_function = self.model.test_function = self.model.predict_function = None
        gc.collect()


def people_of(faces) -> list[str] | None:
    """Names of the classes; a ready dataset has none."""
    source = getattr(faces, "source", None)
    return None if source is None else source.class_names


def build_stage(
    spec: StageSpec, embedder: keras.Model, faces, carried: Carried, template, config: TrainConfig
) -> Stage:
    """Makes head, losses, model and optimizer of a stage, with every weight that fits taken over.

    Args:
        spec: What the stage is.
        embedder: Basic model.
        faces: The opened data.
        carried: What earlier stages left.
        template: Optimizer whose kind and settings the stage's gets.
        config: The run's settings.

    Returns:
        The stage, compiled.

    Raises:
        ValueError: The data or the model cannot serve the stage.
    """
    said = []
    head = _make_head(spec, embedder, faces, carried, config, said) if spec.head else None
    terms = [_make_loss(one, spec, embedder, faces, carried, said) for one in spec.losses]
    model = FaceModel(embedder, head, terms, [one.weight for one in spec.losses])
    if config.pretrained:
        saving.load_weights(model, config.pretrained)
        config.pretrained = None
    _compile(model, spec, carried, template, config, said)
    _average(model, spec, faces)
    return Stage(spec, model, faces, said)


def _make_head(spec, embedder, faces, carried, config, said):
    head = _new_head(spec, faces, config, _head_decay(embedder, config.output_weight_decay))
    head.build((None, embedder.output_shape[-1]))
    head.built = True
    moved, news = carried.give("head", head, people_of(faces))
    said.append(f"head {head.name} {f'{moved} of {len(head.weights)} weights carried over' if moved else 'new'}")
    if spec.options.init_head:
        head.set_centers(_class_means(spec, embedder, faces))
        said.append("its centers at the means of the embeddings")
    if news:
        said.append(news)
        carried.forget = head.name
    return head


def _class_means(spec, embedder, faces):
    """Mean direction of each class's images, without augmentation, `(classes, D)`."""
    source = getattr(faces, "source", None)
    if source is None:
        raise ValueError(
            f"sch[{spec.index}]: 'init_head' needs the images themselves: give a folder or a record file, no dataset."
        )
    return Embedder(embedder).means(source)


def _new_head(spec, faces, config, decay):
    options, settings = {"kernel_regularizer": decay, "seed": config.seed}, spec.options
    if spec.head == "softmax":
        return heads.SoftmaxHead(faces.classes, **options)
    if (settings.vpl or settings.sample_rate < 1) and faces.batch_size is None:
        raise ValueError(
            f"sch[{spec.index}]: sampled and VPL heads need batches of one size, and the dataset's may differ: "
            "use dataset.batch(size, drop_remainder=True)."
        )
    if settings.vpl:
        return heads.NormDenseVPL(None, faces.classes, **settings.vpl, **options)
    if settings.sample_rate < 1:
        return heads.PartialNormDense(
            faces.classes, loss_top_k=settings.sub_centers, sample_rate=settings.sample_rate, **options
        )
    return heads.NormDense(faces.classes, loss_top_k=settings.sub_centers, **options)


def _head_decay(embedder, decay):
    """`output_weight_decay`: below 1 itself, halved; from 1 on times the L2 found in the basic model."""
    if decay < 1:
        return keras.regularizers.L2(decay / 2) if decay else None
    for layer in embedder._flatten_layers():
        found = getattr(getattr(layer, "kernel_regularizer", None), "l2", None)
        if found is not None:
            return keras.regularizers.L2(decay * float(found))
    return None


def _make_loss(one, spec, embedder, faces, carried, said):
    """A loss of its own, with the weights of its predecessor in the slot where there is one."""
    term = one.loss.fresh()
    ramps = tuple(name for name, *_ in spec.options.ramps) if one is spec.losses[0] else ()
    teacher = faces.teacher_width if "teacher" in term.reads else 0
    term.attach(faces.classes, embedder.output_shape[-1], teacher, ramps, one.slot)
    if term.weights:
        moved, _ = carried.give(one.slot, term, people_of(faces))
        said.append(f"{type(term).__name__} {'carried over' if moved else 'new'}")
    for name, first, _ in spec.options.ramps if ramps else ():
        term.ramps[name].assign(first)
    return term


def _compile(model, spec, carried, template, config, said):
    options = {
        "gradient_accumulation_steps": spec.options.accumulate if spec.options.accumulate > 1 else None,
        "global_clipnorm": spec.options.clip if spec.options.clip and config.replicas == 1 else None,
    }
    before = carried.optimizer if spec.optimizer is None else None
    new, moved = optimizers.successor(
        keras.optimizers.get(template), model.trainable_variables, before, optimizers.needs_loss_scale(model), carried.forget,
        **{name: value for name, value in options.items() if value is not None},
    )  # fmt: skip
    embedders = {id(v) for v in model.embedder.trainable_variables}
    if spec.options.clip and config.replicas > 1:
        optimizers.clip_over_replicas(new, spec.options.clip)
    if spec.options.clip_embedder:
        mine = [id(v) in embedders for v in model.trainable_variables]
        optimizers.clip_part(new, spec.options.clip_embedder, mine, config.replicas)
    carried.forget = None
    if spec.options.layer_rates:
        optimizers.set_layer_rates(new, _factors(spec, model))
    optimizers.warn_of_rates(new, config.lr["lr_base"])
    optimizers.warn_of_penalty(new, model.embedder)
    said.append(f"{type(new).__name__} {f'{moved} of {len(new.variables)} slots carried over' if moved else 'new'}")
    model.compile(new, steps_per_execution=config.steps_per_execution, auto_scale_loss=False)
    model.split_logits(config.logit_blocks)
    model.sam_rho = spec.options.sam_rho


def _average(model, spec, faces):
    """Means of the weights, where the stage keeps some."""
    weights = [*model.embedder.weights, *(model.head.weights if model.head else [])]
    if spec.options.ema:
        model.keep_averages(Averages(weights, spec.options.ema))
    elif spec.options.swa:
        model.keep_averages(TailMeans(weights, max(spec.epochs - spec.options.swa, 0) * faces.steps))


def _factors(spec, model):
    """Factor of the learning rate of each variable that the stage trains; the head's is 1."""
    layers = list(model.embedder._flatten_layers())
    known = {}
    for layer, factor in zip(layers, spec.layer_factors([layer.name for layer in layers]), strict=True):
        known |= {id(v): factor for v in getattr(layer, "_trainable_variables", ())}
    return [known.get(id(v), 1.0) for v in model.trainable_variables]
