"""The examples are scripts: their folder is found as a script finds it."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "examples"))
