"""What a network's configuration may name: classes by the module that stands in the file. Everything else needs `trusted=True`.

Layers that only compute; no function, no Lambda, no TFSMLayer or TorchModuleWrapper, no layer that reads files or holds another framework.
The operations are those that Keras's and our own backbones are written with.
"""


def _names(text):
    return frozenset(text.split())


LAYERS = _names("""
    Activation Add Average AveragePooling2D BatchNormalization Concatenate Conv1D Conv2D Conv2DTranspose Cropping2D
    Dense DepthwiseConv2D Dot Dropout EinsumDense ELU Flatten GlobalAveragePooling2D GlobalMaxPooling2D
    GroupNormalization Identity InputLayer LayerNormalization LeakyReLU MaxPooling2D Maximum Minimum MultiHeadAttention
    Multiply Normalization PReLU Permute RMSNormalization ReLU Rescaling Reshape SeparableConv2D Softmax
    SpatialDropout2D Subtract UnitNormalization UpSampling2D ZeroPadding2D
""")
OPERATIONS = _names(
    "Add Subtract Multiply Divide TrueDivide Matmul Mean Sum Split Transpose Reshape Squeeze ExpandDims"
)
INITIALIZERS = _names("""
    Constant GlorotNormal GlorotUniform HeNormal HeUniform Identity IdentityInitializer LecunNormal LecunUniform Ones
    Orthogonal OrthogonalInitializer RandomNormal RandomUniform TruncatedNormal VarianceScaling Zeros
""")
REGULARIZERS = _names("L1 L2 L1L2 OrthogonalRegularizer")
CONSTRAINTS = _names("MaxNorm MinMaxNorm NonNeg UnitNorm")
LOSSES = _names("""
    BinaryCrossentropy BinaryFocalCrossentropy CategoricalCrossentropy CategoricalFocalCrossentropy CategoricalHinge
    CosineSimilarity Hinge Huber KLDivergence LogCosh MeanAbsoluteError MeanSquaredError SparseCategoricalCrossentropy
    SquaredHinge
""")
METRICS = _names("""
    Accuracy AUC BinaryAccuracy CategoricalAccuracy Mean SparseCategoricalAccuracy SparseTopKCategoricalAccuracy
    TopKCategoricalAccuracy
""")
OPTIMIZERS = _names(
    "SGD Adam AdamW Adamax Adadelta Adagrad Adafactor Ftrl Lamb Lion LossScaleOptimizer Muon Nadam RMSprop"
)
SCHEDULES = _names(
    "CosineDecay CosineDecayRestarts ExponentialDecay InverseTimeDecay PiecewiseConstantDecay PolynomialDecay"
)
MODELS = _names("Functional Model Sequential")
PLAIN = _names("__keras_tensor__ __ellipsis__ __slice__")
FUNCTIONS = _names("""
    categorical_crossentropy sparse_categorical_crossentropy binary_crossentropy cosine_similarity mean_squared_error
    mean_absolute_error kl_divergence
""")
CLASSES = {
    "keras": _names("Functional Model Sequential DTypePolicy Variable"),
    "keras.layers": LAYERS,
    "keras.initializers": INITIALIZERS,
    "keras.regularizers": REGULARIZERS,
    "keras.constraints": CONSTRAINTS,
    "keras.losses": LOSSES,
    "keras.metrics": METRICS,
    "keras.optimizers": OPTIMIZERS,
    "keras.optimizers.schedules": SCHEDULES,
    "keras.dtype_policies": _names("DTypePolicy"),
    "keras.src.models.functional": _names("Functional"),
    "keras.src.models.model": _names("Model"),
    "keras.src.models.sequential": _names("Sequential"),
    "keras.src.ops.numpy": OPERATIONS,
    "keras.src.applications.convnext": _names("LayerScale"),
    "keras.src.applications.inception_resnet_v2": _names("CustomScaleLayer"),
}
OF_KERAS_2 = (
    LAYERS
    | INITIALIZERS
    | REGULARIZERS
    | CONSTRAINTS
    | OPTIMIZERS
    | SCHEDULES
    | _names("Functional Model Sequential Policy")
)
