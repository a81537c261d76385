"""Run the tutorials, and write the pages, figures and notebooks that the site shows.

    python -m scripts.tutorials                      # all of them
    python -m scripts.tutorials ghost-batches        # one

A tutorial is `docs/tutorials/<name>.py`, in jupytext's percent format, and that is the only file to
edit. Beside it come `<name>.md`, `<name>-<k>-<theme>.svg` and `<name>.ipynb`, which are committed:
the site is built without training, and a review shows what changed. A test compares what they were
made from with the script as it is. How long it took is written under the title, and in `index.md`.

Cells take options in their heading: `# %% tags=["notebook"]` is for the notebook alone, and a cell
that draws a figure says for those who do not see it what it drew: `# %% alt="Accuracy over batch
size"`. Comments `# quick: ...` are the tests' (`scripts/quick.py`), and left out everywhere.
"""

import argparse
import hashlib
import math
import os
import re
import time
from pathlib import Path

import jupytext
import nbclient
import nbformat

# Of what is committed; the tests run the tutorials on each. The kernel is a process of its own, and
# reads it too.
os.environ["KERAS_BACKEND"] = "jax"

from reproduction import runs
from scripts import tutorial_figures
from scripts.quick import unmarked

BACKEND = os.environ["KERAS_BACKEND"]
ROOT = Path(__file__).resolve().parent.parent
TUTORIALS = ROOT / "docs" / "tutorials"


def render(path):
    """Runs one tutorial, and writes its page, figures and notebook beside it."""
    notebook = jupytext.read(path)
    notebook.metadata = {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
        "source_sha256": source_hash(path),
    }
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"  # nbformat draws them at random
        cell.source = unmarked(cell.source)
    minutes = run(notebook)
    tell_time(notebook.cells[0], path, minutes)

    for stale in path.parent.glob(f"{path.stem}-[0-9]*.svg"):
        stale.unlink()
    path.with_suffix(".md").write_text(page(path, notebook))
    for cell in notebook.cells:
        # Figures are beside the page already, and times would make a change of every run.
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    jupytext.write(notebook, path.with_suffix(".ipynb"))


def run(notebook):
    """Executes the cells; the minutes that it took, rounded up."""
    style = nbformat.v4.new_code_cell(tutorial_figures.setup())
    notebook.cells.insert(0, style)
    client = nbclient.NotebookClient(
        notebook,
        timeout=3600,
        resources={"metadata": {"path": ROOT}},
        skip_cells_with_tag="notebook",  # they install what is there
    )
    start = time.perf_counter()
    client.execute()
    seconds = time.perf_counter() - start
    notebook.cells.remove(style)
    return math.ceil(seconds / 60)


def tell_time(first, path, minutes):
    """Writes the time under the title, which is in the first cell, and in the table of all."""
    hardware = runs.hardware()
    device = hardware["accelerator"] or f"{hardware['cores']} CPU cores"
    unit = "minute" if minutes == 1 else "minutes"
    title, _, rest = first.source.partition("\n")
    first.source = f"{title}\n\n*Runs in {minutes} {unit} or less on {device}.*\n{rest}"
    index = path.with_name("index.md")
    row = rf"^(\| \[.*\]\({path.stem}\.md\) \|.*\|).*\|$"
    text = re.sub(row, rf"\1 {minutes} min |", index.read_text(), flags=re.MULTILINE)
    index.write_text(text)


def page(path, notebook):
    """The Markdown of a notebook that was run; its figures are written beside."""
    parts = [f"<!-- {path.name}, sha256 {source_hash(path)}; made by scripts/tutorials.py -->"]
    figures = 0
    for cell in notebook.cells:
        if "notebook" in cell.metadata.get("tags", ()):
            continue
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        text = "".join(printed(output) for output in cell.outputs).rstrip()
        if text:
            parts.append(f"```text\n{text}\n```")
        for output in cell.outputs:
            if picture := output.get("data", {}).get("image/svg+xml"):
                figures += 1
                name = f"{path.stem}-{figures}"
                tutorial_figures.write(path.parent, name, picture)
                parts.append(tutorial_figures.markdown(name, cell.metadata["alt"]))
    return "\n\n".join([*parts, footer(path)]) + "\n"


def printed(output):
    """The text of one output, as a terminal would show it, less stderr."""
    if output.output_type == "stream":
        return output.text if output.name == "stdout" else ""
    data = output.get("data", {})
    return "" if "image/svg+xml" in data else data.get("text/plain", "") + "\n"


def footer(path):
    """What made the numbers, and how to make them again."""
    versions, hardware = runs.versions(), runs.hardware()
    device = hardware["accelerator"] or f"{hardware['cores']} cores of {hardware['cpu']}"
    return (
        "---\n\n"
        f"`python -m scripts.tutorials {path.stem}` made everything on this page, with Keras "
        f"{versions['keras']} on {BACKEND} {versions[BACKEND]}, {device}. Download it as a "
        f"[notebook]({path.stem}.ipynb) or a [script]({path.name}). Both run on any backend."
    )


def source_hash(path):
    """What the rendered files say they were made from."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def main():
    """Renders the tutorials that are named, or all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="default: all")
    # The kernel reads these.
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    names = parser.parse_args().names or sorted(each.stem for each in TUTORIALS.glob("*.py"))
    for name in names:
        print(name, flush=True)
        render(TUTORIALS / f"{name}.py")


if __name__ == "__main__":
    main()
