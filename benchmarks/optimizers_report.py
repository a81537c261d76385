"""The performance page's table of optimizers, from what `optimizers.py --json` wrote.

python -m benchmarks.optimizers_report
"""

import argparse
from pathlib import Path

from benchmarks import report

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "performance.md"
RESULTS = Path(__file__).parent / "results" / "optimizers"
BEGIN, END = (
    "<!-- optimizers: benchmarks/optimizers_report.py -->",
    "<!-- end of the optimizers -->",
)


def text():
    """The table, and what it was measured on."""
    results = report.load(sorted(RESULTS.glob("*.json")))
    rows = {
        name: [report.cell(result["ratios"][name]) for result in results]
        for name in results[0]["ratios"]
    }
    columns = [report.title(result) for result in results]
    table = report.table("one step / SGD with momentum", columns, rows)
    return f"{table}\n\n{report.environment_lines(results)}"


def main():
    """Writes the table into the page."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    report.put(PAGE, text(), BEGIN, END)


if __name__ == "__main__":
    main()
