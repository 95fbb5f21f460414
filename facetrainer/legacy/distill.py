"""What `import data_distiller` had besides `Data_distiller`."""

from facetrainer.evaluation.interface import interface


def teacher_model_interf_wrapper(model_file):
    """Model file, model or function → function of normalised images that gives embeddings, see `evaluation.interface`."""
    return interface(model_file)
