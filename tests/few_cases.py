"""A plugin of pytest: of the sizes that the layer's numbers are tested for, the first and the last.

For the oldest Keras, whose names and arguments any case of these tests finds out about. All sizes
are tested on the newest. Where a case is another option, class or kind of data, all are run.
"""

# Their cases are shapes, axes, groups and momenta.
SIZES = {
    "test_ghost_batch_normalization.py",
    "test_ghost_exactness.py",
    "test_ghost_moving_statistics.py",
    "test_masks.py",
}


def pytest_collection_modifyitems(config, items):
    cases = {}
    for item in items:
        if item.path.name in SIZES:
            cases.setdefault(item.nodeid.partition("[")[0], []).append(item)
    left_out = [item for test in cases.values() for item in test[1:-1]]
    dropped = {id(item) for item in left_out}
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if id(item) not in dropped]
