"""What `import data` had: datasets as `tf.data.Dataset`, image functions, the class rule of folders."""

import fnmatch
import glob
import logging
import os

import cv2
import numpy as np
from matplotlib.figure import Figure

from facetrainer.data import augment, images, sources
from facetrainer.data.pipeline import Faces, open_faces
from facetrainer.data.ready import dataset, normalise
from facetrainer.io import cached
from facetrainer.legacy.augment import cutout
from facetrainer.legacy.refused import refused
from facetrainer.utils.lazy import later

log, tf = logging.getLogger("facetrainer"), later("tensorflow")

MXNetRecordGen = refused(
    "data.MXNetRecordGen", "Use data.open_source(path): it reads train.rec and gives images and labels."
)
partial_fc_split_pick = refused("data.partial_fc_split_pick", "Give Train partial_fc_sample_rate=0.1.")
partial_fc_split_gen = refused("data.partial_fc_split_gen", "Give Train partial_fc_sample_rate=0.1.")
build_basic_dataset_from_tfrecord = refused(
    "data.build_basic_dataset_from_tfrecord", "Use data.prepare_dataset, which reads .tfrecord."
)
build_basic_dataset_from_data_path = refused("data.build_basic_dataset_from_data_path", "Use data.prepare_dataset.")
Triplet_dataset_offline = refused(
    "data.Triplet_dataset_offline",
    "Triplet losses mine in the batch: use data.Triplet_dataset and losses.BatchHardTripletLoss.",
)


class ImageClassesRule_map:
    """Path of an image → number of its person, by the folder below `dir` that it lies in.

    Args:
        dir: The data's folder.
        dir_rule: Pattern of the people's folders. Defaults to `"*"`.
        excludes: Names that are left out.

    Raises:
        ValueError: There is no such folder.
    """

    def __init__(self, dir, dir_rule="*", excludes=()):
        found = [path for path in glob.glob(os.path.join(dir, dir_rule)) if os.path.isdir(path)]
        names = sorted({os.path.basename(path) for path in found} - set(excludes), key=sources.natural)
        if not names:
            raise ValueError(f"ImageClassesRule_map: {dir} has no folder that fits {dir_rule!r}.")
        self.classes = {name: number for number, name in enumerate(names)}

    def __call__(self, image_name):
        return self.classes[os.path.basename(os.path.dirname(image_name))]


def _opened(data_path, image_names_reg=None, image_classes_rule=None):
    """The source, its images chosen by a pattern below `data_path` and its people by a rule."""
    source = sources.open_source(data_path, image_classes_rule and (lambda path: str(image_classes_rule(path))))
    if image_names_reg is None:
        return source
    below = [os.path.relpath(source.name(i), data_path) for i in range(len(source))]
    chosen = [i for i, name in enumerate(below) if fnmatch.fnmatch(name, image_names_reg)]
    if not chosen:
        raise ValueError(
            f"image_names_reg {image_names_reg!r} fits none of the {len(source)} images below {data_path}."
        )
    names = [source.name(i) for i in chosen]
    return sources.ListSource(names, [source.class_names[k] for k in source.labels[chosen]])


def pre_process_folder(data_path, image_names_reg=None, image_classes_rule=None):
    """Reads a folder or list, and writes it as a list.

    Args:
        data_path: Whatever `data_path` of `Train` may be, of files.
        image_names_reg: Pattern of paths below `data_path`.
        image_classes_rule: Function of a path → person.

    Returns:
        Paths (n,), numbers of their people (n,), their embeddings or an empty list, how many people, and the npz in the working folder
        that holds all that, `{name}_shuffle.npz`; it is written anew each time.

    Raises:
        ValueError: The images are not files.
    """
    source = _opened(data_path, image_names_reg, image_classes_rule)
    if not source.are_files:
        raise ValueError(f"{data_path}: its images are not files. prepare_data.py -D … makes a folder of them.")
    dest = os.path.basename(os.path.abspath(os.path.splitext(data_path)[0])) + "_shuffle.npz"
    sources.write_list(dest, source, np.random.default_rng(0).permutation(len(source)), source.embeddings)
    found = cached.read_npz(dest)
    people = found["image_classes"]
    return found["image_names"], people, found.get("embeddings", []), len(source.class_names), dest


def tf_imread(file_path):
    """Path → RGB image, float32 0…255, as a tensor; in a dataset's `map` too."""
    image = tf.io.decode_image(tf.io.read_file(file_path), channels=3, expand_animations=False)
    return tf.cast(image, tf.float32)


class RandomProcessImage:
    """Resize and augmentation of one image.

    Args:
        img_shape: Height and width. Defaults to `(112, 112)`.
        random_status: See `augment.from_status`. Defaults to `2`.
        random_crop: Height and width of the crop of `random_status` 3 and more.
        random_cutout_mask_area: Part of the face that a mask covers. Defaults to `0`.
    """

    def __init__(self, img_shape=(112, 112), random_status=2, random_crop=None, random_cutout_mask_area=0):
        self.shape = tuple(img_shape[:2])
        self.changes = augment.from_status(random_status, random_crop, random_cutout_mask_area)

    def process(self, img):
        """RGB image 0…255 (H, W, 3) → float32, as a tensor; in a dataset's `map` too."""
        found = tf.numpy_function(self._changed, [tf.cast(img, tf.float32)], tf.float32)
        found.set_shape((*self.shape, 3))
        return found

    def _changed(self, img):
        rng = np.random.default_rng()
        image = cv2.resize(np.clip(np.rint(img), 0, 255).astype(np.uint8), self.shape[::-1])
        for change in self.changes:
            image = change(image, rng)
        return image.astype(np.float32)


def random_cutout_or_cutout_mask(
    image, image_shape, random_cutout_mask_area=0.3, random_cutout=0, pad_size=20, replace=128
):
    """Covers the lower part of a face, as a mask does, or a square of it.

    Args:
        image: RGB uint8 (H, W, 3).
        image_shape: Its height and width; read from the image.
        random_cutout_mask_area: Largest part that the mask covers; 0 for a square. Defaults to `0.3`.
        random_cutout: Probability of a square where there is no mask. Defaults to `0`.
        pad_size: Half the side of the square, in pixels. Defaults to `20`.
        replace: Grey of the square. Defaults to `128`.

    Returns:
        The image, a copy.
    """
    image, rng = np.array(image), np.random.default_rng()
    if random_cutout_mask_area > 0:
        return augment.LowerMask(random_cutout_mask_area)(image, rng)
    return cutout(image, pad_size, replace) if rng.random() < random_cutout else image


def sample_beta_distribution(size, concentration_0=0.4, concentration_1=0.4):
    """`size` draws of a Beta distribution, float32."""
    return np.random.default_rng().beta(concentration_1, concentration_0, size).astype(np.float32)


def mixup(image, label, alpha=0.4):
    """Mixes each image of a batch with another (Zhang et al., arXiv:1710.09412).

    Args:
        image: Batch (B, H, W, C).
        label: One-hot (B, classes).
        alpha: Parameter of the Beta distribution. Defaults to `0.4`.

    Returns:
        Mixed images and labels, float32.
    """
    order = np.random.default_rng().permutation(len(image))
    share = sample_beta_distribution(len(image), alpha, alpha)
    return _mixed(np.asarray(image), order, share), _mixed(np.asarray(label), order, share)


def _mixed(values, order, share):
    share = share.reshape(-1, *[1] * (values.ndim - 1))
    return (values * share + values[order] * (1 - share)).astype(np.float32)


def pick_by_image_per_class(image_classes, image_per_class):
    """Which samples belong to people with `image_per_class` images or more, bool (n,)."""
    people = np.asarray(image_classes)
    return np.bincount(people)[people] >= image_per_class


def prepare_dataset(
    data_path, image_names_reg=None, image_classes_rule=None, batch_size=128, img_shape=(112, 112), random_status=0,
    random_crop=(100, 100, 3), random_cutout_mask_area=0.0, mixup_alpha=0, image_per_class=0, partial_fc_split=0, cache=False,
    shuffle_buffer_size=None, is_train=True, teacher_model_interf=None, seed=0,
):  # fmt: skip
    """Batches for `fit` without `Train`.

    Args:
        data_path: As `Train` takes it.
        image_names_reg: Pattern of paths below `data_path`.
        image_classes_rule: Function of a path → person.
        batch_size: Images of a batch. Defaults to `128`.
        img_shape: Height and width. Defaults to `(112, 112)`.
        random_status: See `augment.from_status`. Defaults to `0`.
        random_crop: Of `random_status` 3 and more.
        random_cutout_mask_area: Part of the face that a mask covers. Defaults to `0`.
        mixup_alpha: Parameter of the Beta distribution by which images are mixed; 0 is off.
        image_per_class: Images of an identity in a batch; 0 draws images one by one.
        partial_fc_split: Refused; `Train` has `partial_fc_sample_rate`.
        cache: Not needed, and says so: files are cached by the system, what is augmented cannot be.
        shuffle_buffer_size: Not needed, and says so: the whole set is shuffled.
        is_train: `False` gives every image once, in order and as it is. Defaults to `True`.
        teacher_model_interf: What gives embeddings beside the labels, see `Train`.
        seed: Of order and augmentation. Defaults to `0`.

    Returns:
        Dataset of normalised float32 images and integer labels (B,) — or (embeddings, labels), or with `mixup_alpha` shares of all
        people (B, classes) — endless in training; and the batches of an epoch.

    Raises:
        ValueError: `partial_fc_split` is asked for; the data are refused by `open_faces`.
    """
    if partial_fc_split:
        raise ValueError("partial_fc_split is not kept. Give Train partial_fc_sample_rate.")
    if cache or shuffle_buffer_size:
        log.info("cache and shuffle_buffer_size are not needed: the whole set is shuffled, and read as it is needed")
    source = _opened(data_path, image_names_reg, image_classes_rule)
    if not is_train:
        return _in_order(Faces(source, None, (*img_shape[:2], 3)), batch_size)
    changes = augment.from_status(random_status, random_crop, random_cutout_mask_area)
    faces = open_faces(
        data_path, batch_size, (*img_shape[:2], 3), changes, image_per_class, seed, teacher_model_interf, source,
        mixup=mixup_alpha,
    )  # fmt: skip
    batches = dataset(faces.batches, faces.specification())
    return batches.map(lambda x, y: (normalise(x), _labels(y, faces.classes))), faces.steps


def _labels(named, classes):
    """What a batch's names hold → labels as Keras_insightface's datasets had them."""
    labels = named["labels"]
    if "mix" in named:
        share = named["mix"][:, None]
        labels = tf.one_hot(labels, classes) * share + tf.one_hot(named["labels2"], classes) * (1 - share)
    return (named["teacher"], labels) if "teacher" in named else labels


def _in_order(faces, batch_size):
    def load(rows):
        found, named = faces.load(0, 0, rows)
        return found, named["labels"]

    def tensors(rows):
        found, labels = tf.numpy_function(load, [rows], [tf.uint8, tf.int32])
        found.set_shape((None, *faces.shape))
        labels.set_shape((None,))
        return normalise(found), labels

    rows = tf.data.Dataset.range(len(faces.source)).batch(batch_size)
    return rows.map(tensors, num_parallel_calls=tf.data.AUTOTUNE).prefetch(2), int(rows.cardinality())


def prepare_distill_dataset_tfrecord(
    data_path, batch_size=128, img_shape=(112, 112), random_status=2, random_crop=(100, 100, 3), **kwargs
):
    """`prepare_dataset` of a file that holds embeddings: images, (embeddings, labels).

    Args:
        data_path: `.tfrecord` or `.npz` of `Data_distiller`.
        batch_size: Images of a batch. Defaults to `128`.
        img_shape: Height and width. Defaults to `(112, 112)`.
        random_status: See `augment.from_status`. Defaults to `2`.
        random_crop: Of `random_status` 3 and more.
        **kwargs: Others of `prepare_dataset`.

    Returns:
        Endless dataset, and the batches of an epoch.

    Raises:
        ValueError: The file has no embeddings.
    """
    if sources.open_source(data_path).embeddings is None:
        raise ValueError(f"{data_path} has no embeddings: data_distiller.py -M teacher.keras -D … writes them.")
    return prepare_dataset(
        data_path,
        batch_size=batch_size,
        img_shape=img_shape,
        random_status=random_status,
        random_crop=random_crop,
        **kwargs,
    )


class Triplet_dataset:
    """P×K batches: several images of each of several people.

    Args:
        data_path: As `Train` takes it.
        image_names_reg: Pattern of paths below `data_path`.
        image_classes_rule: Function of a path → person.
        batch_size: Images of a batch. Defaults to `48`.
        image_per_class: Images of a person in it. Defaults to `4`.
        img_shape: Height and width. Defaults to `(112, 112, 3)`.
        random_status: See `augment.from_status`. Defaults to `3`.
        random_crop: Of `random_status` 3 and more.
        teacher_model_interf: What gives embeddings beside the labels, see `Train`.
        **kwargs: Others of `prepare_dataset`.

    Attributes:
        ds: The endless dataset, as `prepare_dataset` gives it.
        steps_per_epoch: Batches of an epoch.
        total: Images.
        classes: People.
    """

    def __init__(
        self, data_path, image_names_reg=None, image_classes_rule=None, batch_size=48, image_per_class=4, img_shape=(112, 112, 3),
        random_status=3, random_crop=(100, 100, 3), teacher_model_interf=None, **kwargs,
    ):  # fmt: skip
        self.ds, self.steps_per_epoch = prepare_dataset(
            data_path, image_names_reg, image_classes_rule, batch_size // image_per_class * image_per_class, img_shape,
            random_status, random_crop, image_per_class=image_per_class, teacher_model_interf=teacher_model_interf, **kwargs,
        )  # fmt: skip
        source = _opened(data_path, image_names_reg, image_classes_rule)
        self.total, self.classes = len(source), len(source.class_names)


def show_batch_sample(ds, rows=8, basic_size=1, path=None):
    """First batch of a dataset as one picture.

    Args:
        ds: Dataset whose elements begin with images.
        rows: Images below one another. Defaults to `8`.
        basic_size: Inches of an image. Defaults to `1`.
        path: PNG to write.

    Returns:
        The figure.
    """
    batch = next(iter(ds))[0].numpy()
    batch = batch if batch.dtype == np.uint8 else images.pixels(batch)
    columns = -(-len(batch) // rows)
    figure = Figure((columns * basic_size, rows * basic_size))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(images.sheet(list(batch), columns, batch.shape[1:3]))
    axes.axis("off")
    if path:
        figure.savefig(path)
    return figure
