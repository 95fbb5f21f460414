"""What `import losses` had besides losses."""

import keras
import numpy as np

from facetrainer.losses import SoftmaxLoss

scale_softmax = SoftmaxLoss  # README's name, which was never written: the cross-entropy of the softmax head


class Save_Numpy_Callback(keras.callbacks.Callback):
    """Writes a tensor to a file at the end of every epoch.

    Args:
        save_file: Path of the `.npy`; the suffix is added where it is missing.
        save_tensor: Variable or tensor.
    """

    def __init__(self, save_file: str, save_tensor):
        super().__init__()
        self.save_file, self.save_tensor = save_file, save_tensor

    def on_epoch_end(self, epoch, logs=None):
        np.save(self.save_file, keras.ops.convert_to_numpy(self.save_tensor))
