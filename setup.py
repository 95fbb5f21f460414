"""Install: `pip install .[test]`; extras carry what only some jobs need."""

from setuptools import find_packages, setup

EXPORT = ["onnx>=1.17", "tf2onnx>=1.16", "onnxruntime>=1.20", "ai-edge-litert>=1.0"]
EXTRAS = {
    "test": [
        *EXPORT,
        "pytest>=8",
        "pytest-timeout>=2.3",
        "nbclient>=0.10",
        "nbformat>=5.10",
        "ipykernel>=6.29",
        "jax>=0.4.38",
        "mtcnn>=1.0.0",
    ],
    "dev": ["ruff>=0.8"],
    "jax": ["jax>=0.4.38"],
    "detect": ["mtcnn>=1.0.0"],
    "export": EXPORT,
    "notebook": ["notebook>=7"],
    "board": ["tensorboard>=2.18"],
    "gpu": ["tensorflow[and-cuda]>=2.18"],
}

setup(
    name="face-trainer",
    version="0.5.0",
    description="A Keras 3 trainer for face recognition: schedules of losses, evaluation, exact resume",
    license="MIT",
    python_requires=">=3.11",
    packages=find_packages(
        include=[
            "backbones",
            "criteria",
            "deploy",
            "faces",
            "foreign",
            "formats",
            "measures",
            "prepare",
            "recipes",
            "runs",
        ]
    ),
    py_modules=[
        "IJB_evals",
        "augment",
        "convert",
        "data",
        "data_distiller",
        "data_drop_top_k",
        "eval_folder",
        "evals",
        "losses",
        "models",
        "myCallbacks",
        "optimizers",
        "plot",
        "prepare_data",
        "train",
    ],
    install_requires=[
        "tensorflow-cpu>=2.18; sys_platform == 'linux' and platform_machine == 'x86_64'",
        "tensorflow>=2.18; sys_platform != 'linux' or platform_machine != 'x86_64'",
        "keras>=3.14",
        "numpy>=1.26",
        "pandas>=2.2",
        "scikit-learn>=1.5",
        "matplotlib>=3.9",
        "opencv-python-headless>=4.11",
        "tqdm>=4.66",
    ],
    extras_require=EXTRAS,
)
