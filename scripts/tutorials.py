"""Run the tutorials, and write the pages, pictures and notebooks that the site shows.

    python -m scripts.tutorials                      # all of them
    python -m scripts.tutorials ghost-batches        # one

A tutorial is `docs/tutorials/<name>.py`, in jupytext's percent format, and that is the only file to
edit. Beside it come `<name>.md`, `<name>-<k>.png` and `<name>.ipynb`, which are committed: the site
is built without training, and a review shows what changed. A test compares what they were made from
with the script as it is.

Cells take options in their heading: `# %% tags=["notebook"]` is left out of the page, and a cell
that draws says for those who do not see it what it drew: `# %% alt="Accuracy over batch size"`.
"""

import argparse
import base64
import hashlib
import os
from pathlib import Path

import jupytext
import nbclient

ROOT = Path(__file__).resolve().parent.parent
TUTORIALS = ROOT / "docs" / "tutorials"
BACKEND = "jax"  # of what is committed; the tests run the tutorials on each


def render(path):
    """Runs one tutorial and writes its page, pictures and notebook."""
    notebook = jupytext.read(path)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"  # nbformat draws them at random
    notebook.metadata = {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
        "source_sha256": source_hash(path),
    }
    client = nbclient.NotebookClient(notebook, timeout=3600, resources={"metadata": {"path": ROOT}})
    client.execute()

    for stale in TUTORIALS.glob(f"{path.stem}-[0-9]*.png"):
        stale.unlink()
    path.with_suffix(".md").write_text(page(path, notebook))
    for cell in notebook.cells:
        # Pictures are beside the page already, and times would make a change of every run.
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    jupytext.write(notebook, path.with_suffix(".ipynb"))


def page(path, notebook):
    """The Markdown of a notebook that was run; its pictures are written beside."""
    parts = [f"<!-- {path.name}, sha256 {source_hash(path)}; made by scripts/tutorials.py -->"]
    pictures = 0
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
            if "image/png" in output.get("data", {}):
                pictures += 1
                picture = path.with_name(f"{path.stem}-{pictures}.png")
                picture.write_bytes(base64.b64decode(output.data["image/png"]))
                parts.append(f"![{cell.metadata['alt']}]({picture.name})")
    return "\n\n".join([*parts, footer(path)]) + "\n"


def printed(output):
    """The text of one output, as a terminal would show it, less stderr."""
    if output.output_type == "stream":
        return output.text if output.name == "stdout" else ""
    data = output.get("data", {})
    return "" if "image/png" in data else data.get("text/plain", "") + "\n"


def footer(path):
    """What made the numbers, and how to make them again."""
    from reproduction import runs  # late: it imports Keras, which reads its backend then

    versions, hardware = runs.versions(), runs.hardware()
    device = hardware["accelerator"] or f"{hardware['cores']} cores of {hardware['cpu']}"
    return (
        "---\n\n"
        f"Everything on this page was made by `python -m scripts.tutorials {path.stem}` with Keras "
        f"{versions['keras']} on {BACKEND} {versions[BACKEND]}, {device}. "
        f"Take it as a [notebook]({path.stem}.ipynb) or a [script]({path.name}), which run on any "
        "backend."
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
    # The kernel is a process of its own and reads these.
    os.environ["KERAS_BACKEND"] = BACKEND
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    names = parser.parse_args().names or sorted(each.stem for each in TUTORIALS.glob("*.py"))
    for name in names:
        print(name, flush=True)
        render(TUTORIALS / f"{name}.py")


if __name__ == "__main__":
    main()
