"""The examples are scripts: their folder is found as a script finds it."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path += [str(ROOT / "examples"), str(ROOT / "scripts")]
