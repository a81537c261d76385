"""A function and a callback of one name measure the same by default."""

import inspect
import re

import keras_bigbatch as kbb

NAMESPACES = [getattr(kbb, name) for name in kbb.__all__ if name.islower()]
SYMBOLS = [getattr(namespace, name) for namespace in NAMESPACES for name in namespace.__all__]


def snake(name):
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def test_functions_and_callbacks_of_one_name_have_the_same_defaults():
    functions = {each.__name__: each for each in SYMBOLS if inspect.isfunction(each)}
    pairs = [
        (functions[snake(each.__name__)], each)
        for each in kbb.callbacks.__dict__.values()
        if inspect.isclass(each) and snake(each.__name__) in functions
    ]
    assert pairs, "the gradient noise scale has both"
    for function, callback in pairs:
        one, other = (inspect.signature(each).parameters for each in (function, callback))
        common = one.keys() & other.keys()
        assert common >= {"x", "y", "seed", "mode", "draws", "verbose"}
        for name in common:
            assert one[name].default == other[name].default, name
