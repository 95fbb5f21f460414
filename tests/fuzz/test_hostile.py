"""Every hostile file is refused, in a process whose memory, files and calls are watched: each stands for a mechanism that once worked."""

import json
import os
import subprocess
import sys

import hostile
import pytest

HERE = os.path.dirname(os.path.abspath(__file__))


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """{file: outcome} of one process that opens them all."""
    call = [sys.executable, os.path.join(HERE, "open_all.py"), str(tmp_path_factory.mktemp("hostile") / "home")]
    done = subprocess.run(call, capture_output=True, text=True, timeout=280)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    assert lines, f"the process died with {done.returncode}: {done.stderr[-2000:]}"
    return json.loads(lines[-1])


@pytest.mark.parametrize("name", hostile.FILES)
def test_a_hostile_file_is_refused(outcomes, name):
    assert outcomes.get(name) == "refused", hostile.FILES[name][1]


def test_nothing_was_changed(outcomes):
    assert outcomes["after"] == {"policy": "float32", "flag": False, "files": ["home"]}


CODE = [name for name, (_, tries) in hostile.FILES.items() if tries == "code" and name.endswith((".keras", ".h5"))]


@pytest.mark.parametrize("name", [*CODE, "split.keras"])
def test_code_is_refused_before_keras_sees_it(name, tmp_path, monkeypatch):
    from facetrainer import models
    from facetrainer.utils import keras_compat

    monkeypatch.setenv(hostile.FLAG, str(tmp_path / "flag"))
    monkeypatch.setattr(keras_compat, "without_values", lambda: pytest.fail("layers are described"))
    hostile.FILES[name][0](str(tmp_path / name))
    with pytest.raises(ValueError, match=r"which may run code or build anything.* trusted=True"):
        models.load(str(tmp_path / name))


def test_a_file_of_ones_own_opens_with_trust(tmp_path):
    """`trusted=True` is the one way round, for Keras files and for programs."""
    import keras

    from facetrainer import models

    inputs = keras.Input((4,))
    path = os.path.join(tmp_path, "mine.keras")
    keras.Model(inputs, keras.layers.Lambda(lambda x: x * 2)(inputs)).save(path)
    with pytest.raises(ValueError, match=r"keras.layers.Lambda, which may run code .* trusted=True"):
        models.load(path)
    assert models.load(path, trusted=True)(keras.ops.ones((1, 4)))[0, 0] == 2


def test_registered_classes_of_ones_own_need_no_trust(tmp_path):
    import keras

    from facetrainer import models

    @keras.saving.register_keras_serializable("mine")
    class Twice(keras.layers.Layer):
        def call(self, x):
            return 2 * x

    inputs = keras.Input((4,))
    path = os.path.join(tmp_path, "mine.keras")
    keras.Model(inputs, Twice()(inputs)).save(path)
    assert models.load(path)(keras.ops.ones((1, 4)))[0, 0] == 2
