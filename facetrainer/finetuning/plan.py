"""How to train on so many people with so many images: the recipe by counts."""

import dataclasses
import math

import keras
import numpy as np

from facetrainer import losses
from facetrainer.data import augment

BATCH = 32
STEPS = 600  # of training as a whole, about
FEW, MANY = 2_000, 50_000  # images


@dataclasses.dataclass(frozen=True)
class Plan:
    """What fine-tuning does.

    Attributes:
        people: In training.
        images: In training.
        epochs: How many.
        rate: First learning rate; it falls to a hundredth.
        slowest: Factor of the rate for the layers nearest to the image; it rises evenly to 1 at the embedding.
        margin: Of the cosine loss.
        keep: Weight of the distance to the embeddings of the model that it begins with.
    """

    people: int
    images: int
    epochs: int
    rate: float
    slowest: float
    margin: float
    keep: float

    def stage(self, model: keras.Model) -> dict:
        """The stage as `Train` takes it: batch norm frozen, lower rates for deeper layers.

        Args:
            model: Basic model.

        Returns:
            The dict for `sch`.
        """
        layers = list(model._flatten_layers())
        norms = [one.name for one in layers if isinstance(one, keras.layers.BatchNormalization)]
        weighted = [
            one.name for one in layers if one.trainable_variables and one.name not in norms and one is not model
        ]
        depth = np.linspace(1, 0, len(weighted)) if len(weighted) > 1 else [0.0]
        rates = {name: self.slowest ** float(part) for name, part in zip(weighted, depth, strict=True)}
        optimizer = keras.optimizers.SGD(self.rate, momentum=0.9, nesterov=True)
        return {
            "loss": losses.CosFaceLoss(margin=self.margin, scale=32), "epoch": self.epochs, "optimizer": optimizer,
            "freeze": norms or None, "layer_rates": rates, "clip": 5, **({"distill": self.keep} if self.keep else {}),
        }  # fmt: skip

    def keywords(self) -> dict:
        """The rest of it, as `Train` takes it."""
        jitter = [augment.flip, augment.Affine(8, 0.08, 0.04), augment.Colour()]
        return {"batch_size": min(BATCH, self.images), "augmentations": jitter, "lr_base": self.rate, "lr_min": self.rate / 100,
                "lr_decay": self.rate / 100, "lr_decay_steps": self.epochs, "output_weight_decay": 0}  # fmt: skip

    def told(self) -> dict[str, object]:
        """For people."""
        return {"people": self.people, "images": self.images, "epochs": self.epochs, "learning rate": self.rate,
                "rate of the first layers": self.rate * self.slowest, "loss": f"CosFace, margin {self.margin:g}, centers from class means",
                "batch norm": "frozen", "weight of the old embeddings": self.keep}  # fmt: skip


def make_plan(counts: np.ndarray, epochs: int | None = None) -> Plan:
    """The recipe for people with `counts` images each.

    Few images move little: the fewer there are, the lower the rates of the deep layers, and the stronger the pull to the embeddings of the
    model that training begins with. With one image a person the margin is small, since nothing but augmentation tells what a person
    may look like.

    Args:
        counts: Images of each person `(people,)`.
        epochs: Takes the place of as many as make about 600 steps, 3 at least and 40 at most.

    Returns:
        The recipe.

    Raises:
        ValueError: There are fewer than two people.
    """
    people, images = len(counts), int(np.sum(counts))
    if people < 2:
        raise ValueError(f"fine-tuning needs two people or more to tell apart. Received: {people}")
    size = (math.log(min(max(images, FEW), MANY)) - math.log(FEW)) / (math.log(MANY) - math.log(FEW))  # 0 few, 1 many
    steps = math.ceil(images / min(BATCH, images))
    single = float(np.mean(np.asarray(counts) == 1))
    return Plan(
        people=people,
        images=images,
        epochs=epochs or min(max(math.ceil(STEPS / steps), 3), 40),
        rate=round(0.005 * 4**size, 4),
        slowest=0.01 * 30**size,
        margin=round(0.3 - 0.2 * single, 2),
        keep=round(16 * 0.1**size, 1),
    )
