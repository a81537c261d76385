"""A plugin of pytest: of each test's cases, the first and the last.

For the oldest Keras. What differs there is which names and arguments Keras and JAX accept, which a
test finds out by any of its cases. The numbers of all cases are the business of the newest.
"""

# Here each case is another class or another name of Keras's.
WHOLE = {"contract", "private_api"}


def pytest_collection_modifyitems(config, items):
    cases = {}
    for item in items:
        cases.setdefault(item.nodeid.partition("[")[0], []).append(item)
    left_out = [
        item for test in cases.values() for item in test[1:-1] if item.path.parent.name not in WHOLE
    ]
    dropped = {id(item) for item in left_out}
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if id(item) not in dropped]
