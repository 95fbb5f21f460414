import json

from facetrainer.utils import text


def test_rates_that_are_none():
    nan = float("nan")
    assert text.shown(nan) == "–" and text.shown(0.5) == "0.5000"
    assert (
        json.dumps(text.without_nan({"a": [nan, 1.0, (nan, "x")], "b": {"c": nan}}))
        == '{"a": [null, 1.0, [null, "x"]], "b": {"c": null}}'
    )
