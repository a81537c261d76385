"""The tutorials in seconds: values for the tests, in a comment that no reader of a page sees.

    seeds, epochs = [0, 1, 2], 100  # quick: [0], 2

trains for two epochs in the tests, and is shown without its comment.
"""

import ast

MARK = "# quick:"


def shortened(source):
    """A script's text with the values of its comments in place of the right-hand sides.

    Args:
        source: The text. A comment follows an assignment that is one line long.
    """
    lines = enumerate(source.split("\n"), 1)
    return "\n".join(_shortened(line, number) if MARK in line else line for number, line in lines)


def unmarked(source):
    """The text as readers see it: without these comments."""
    return "\n".join(
        line.partition(MARK)[0].rstrip() if MARK in line else line for line in source.split("\n")
    )


def _shortened(line, number):
    code, _, value = (part.rstrip() for part in line.partition(MARK))
    indent = code[: len(code) - len(code.lstrip())]
    try:
        ast.parse(value.strip(), mode="eval")
        (statement,) = ast.parse(code.strip()).body
    except (SyntaxError, ValueError):
        statement = None
    if not isinstance(statement, ast.Assign):
        raise ValueError(
            f"line {number}: {line.strip()!r} is no assignment of one line with a value after "
            f"{MARK!r}"
        )
    targets = " = ".join(map(ast.unparse, statement.targets))
    return f"{indent}{targets} ={value}"
