"""facenet: Inception-ResNet v1 on CASIA-WebFace by triplets alone, as its wiki starts `train_tripletloss.py`.

Crops are 160×160: `facetrainer prepare align CASIA-WebFace FOLDER --layout facenet --size 160 --margin 32`. There triplets are searched
among 45 people with 40 images each, and a step takes 30 of them, 90 images; here they are searched among the 90 of a step. With the
memory for 1,800: `--set people_per_batch=45 images_per_person=40`. Its margin 0.2 of squared distances, 2 − 2 cos θ each, is 0.1 of
cosines, with weight 2. There each image is brought to mean 0 and variance 1. No result is published; those who followed the wiki
report 88 and 89 % on LFW (issue 403).
"""

import keras

from facetrainer import losses, models
from facetrainer.recipes.published import Published, setting

published = Published(
    source="davidsandberg/facenet, wiki: Triplet loss training; src/train_tripletloss.py, README",
    data="casia_maxpy_mtcnnalign_182_160",
    images=453_453,
    identities=10_575,
    batch=90,
    results={},
)  # fmt: skip
globals().update(setting(published, "casia_inception_triplet_facenet"))
people_per_batch, images_per_person, epoch_size = 15, 6, 1000
basic_model = models.buildin_models(
    "inception_resnet_v1", dropout=0, emb_shape=128, input_shape=(160, 160, 3), output_layer="GAP"
)
basic_model = models.add_l2_regularizer_2_model(basic_model, 1e-4)
lr_base, lr_decay, lr_decay_steps, random_status = 0.01, 1, [500], -1
optimizer = keras.optimizers.RMSprop(0.01, rho=0.9, momentum=0.9, epsilon=1.0)
sch = [{"loss": losses.SemiHardTripletLoss(alpha=0.1), "lossWeight": 2, "epoch": 500, "optimizer": optimizer}]
