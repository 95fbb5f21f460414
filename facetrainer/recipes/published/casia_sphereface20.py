"""SphereFace: SphereFace-20 on CASIA-WebFace, 28,000 steps of A-Softmax, λ from 1000 to 5.

Crops are 112×96: `facetrainer prepare align CASIA-WebFace CASIA-WebFace-112X96 --layout sphereface`. Here the gradient is the loss's
own, there it is brought to length 1 for each image and class; and biases learn at the rate of all else, there at twice that.
"""

import keras

from facetrainer import losses, models
from facetrainer.recipes.published import Published, setting

published = Published(
    source="wy1iu/sphereface 7f9acb15, train/code/sphereface_model.prototxt and sphereface_solver.prototxt, README",
    data="CASIA-WebFace-112X96",
    images=494_414,
    identities=10_572,
    batch=512,
    results={"LFW": 99.30},
)  # fmt: skip
globals().update(setting(published, "casia_sphereface20"))
basic_model = models.buildin_models(
    "sphereface20", emb_shape=512, input_shape=(112, 96, 3), output_layer="H", use_bias=True
)
basic_model = models.add_l2_regularizer_2_model(basic_model, 5e-4, apply_to_batch_normal=True)
epoch_size, lr_base, lr_decay, lr_decay_steps, random_status = 1000, 0.1, 0.1, [16, 24], 0
sch = [{"loss": losses.SphereFaceLoss(), "epoch": 28, "optimizer": keras.optimizers.SGD(0.1, momentum=0.9)}]
