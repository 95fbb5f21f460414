import keras

from facetrainer.cli import recipe


def test_no_batch_norm_ends_the_network_that_learns_by_cosine_alone():
    keywords, (stage,) = recipe.load("lfw_distilled", {})
    assert stage["loss"] == "distill"
    *_, last, _ = keywords["basic_model"].layers
    assert isinstance(last, keras.layers.Dense)
