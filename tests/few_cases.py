"""A plugin of pytest: of the cases of a test, the first and the last; of the contracts, all.

For the oldest Keras, whose names and arguments any case of a test finds out about, and for the
quick check. A contract's cases are the package's own classes and Keras's options.
"""


def pytest_collection_modifyitems(config, items):
    cases = {}
    for item in items:
        if "contract" not in item.path.parts:
            cases.setdefault(item.nodeid.partition("[")[0], []).append(item)
    left_out = [item for test in cases.values() for item in test[1:-1]]
    dropped = {id(item) for item in left_out}
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if id(item) not in dropped]
