"""SphereFace on 112×96 crops: A-Softmax with its λ falling from 1000 to 5, which the log shows.

    FACE_PHOTOS=CASIA_WebFace FACE_LFW=lfw python train.py sphereface
    SPHEREFACE=sphereface64 python train.py sphereface

`FACE_PHOTOS` is a folder of photos or a list of `path label` lines of crops, `FACE_LFW` a folder with pairs.txt in it. Photos are aligned
once, into `…_112x96` beside them: pip install mtcnn. Without them faces are drawn. `SPHEREFACE` names the network: sphereface4, 20 (unless
given), 36, 64, mobilenet_sphereface. Afterwards `python evals.py -m checkpoints/sphereface_basic_model_latest.keras -t lfw_112x96 --centre
--flip concat --folds` prints the ten folds as the authors measure them.
"""

import os
import shutil

import keras

from facetrainer import losses, models
from facetrainer.data import augment
from facetrainer.data import synthetic as draw
from facetrainer.data.alignment import LAYOUTS
from facetrainer.preparing.align import align

keras.utils.set_random_seed(0)


def aligned(photos):
    """The folder's crops, made unless they are there; a list as it is."""
    home = os.path.normpath(photos) + "_112x96"
    if os.path.isfile(photos):
        return photos
    if not os.path.exists(home):
        align(photos, home, LAYOUTS["sphereface"], workers=os.cpu_count() or 1)
    if os.path.exists(os.path.join(photos, "pairs.txt")):
        shutil.copy(os.path.join(photos, "pairs.txt"), home)
    return home


is_drawn = "FACE_PHOTOS" not in os.environ
if is_drawn:
    data_path, held_out = draw.dataset(train_people=60, held_out_people=40, images=7)
    eval_paths, batch_size, epochs = [held_out], 32, 3
else:
    data_path, batch_size, epochs = aligned(os.environ["FACE_PHOTOS"]), 256, 29
    eval_paths = [aligned(os.environ["FACE_LFW"])] if "FACE_LFW" in os.environ else []

save_path = "sphereface.keras"
name = os.environ.get("SPHEREFACE", "sphereface4" if is_drawn else "sphereface20")
basic_model = models.buildin_models(name, emb_shape=512, input_shape=(112, 96, 3), output_layer="H", use_bias=True)
basic_model = models.add_l2_regularizer_2_model(basic_model, 5e-4)
augmentations = [augment.flip]
lr_base, lr_decay, lr_decay_steps = (0.01, 0.1, [2]) if is_drawn else (0.1, 0.1, [16, 24])

sch = [{"loss": losses.SphereFaceLoss(), "epoch": epochs, "optimizer": keras.optimizers.SGD(lr_base, momentum=0.9)}]
