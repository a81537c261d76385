"""Make the wheel and the source distribution, and check both.

    python scripts/build.py dist --python .venv/bin/python

The wheel is built from the source distribution, so that nothing it needs is missing there.
"""

import argparse
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Of the repository's own files, what a source distribution does without.
LEFT_OUT = (".ci/", ".github/", ".gitignore")


def run(*command, **options):
    """Runs a command, which must succeed."""
    return subprocess.run([str(word) for word in command], check=True, **options)


def build(folder):
    """The paths of the wheel and the source distribution."""
    run(sys.executable, "-m", "build", "--outdir", folder, ROOT, stdout=subprocess.DEVNULL)
    (wheel,), (source,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    run(sys.executable, "-m", "twine", "check", "--strict", wheel, source)
    return wheel, source


def problems(wheel, source):
    """What is wrong with their contents, a line each."""
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in names}
    for name in sorted(tops):
        if name != "keras_bigbatch" and not re.fullmatch(r"keras_bigbatch-.*\.dist-info", name):
            yield f"the wheel holds {name}"
    package = {p.relative_to(ROOT).as_posix() for p in (ROOT / "keras_bigbatch").rglob("*.py")}
    for name in sorted({*package, "keras_bigbatch/py.typed"} - set(names)):
        yield f"the wheel lacks {name}"
    with tarfile.open(source) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    listed = run("git", "ls-files", cwd=ROOT, stdout=subprocess.PIPE, text=True).stdout
    for name in listed.splitlines():
        if name not in inside and not name.startswith(LEFT_OUT):
            yield f"the source distribution lacks {name}"


def check_import(wheel, python):
    """Installs the wheel into an empty folder and imports it from there."""
    script = (
        "import pathlib, sys, keras_bigbatch as kbb; "
        "sys.exit(pathlib.Path(kbb.__file__).parents[1] != pathlib.Path(sys.argv[1]))"
    )
    with tempfile.TemporaryDirectory() as folder:
        options = ("--no-deps", "--no-compile", "--target", folder)
        run(python, "-m", "pip", "-qq", "install", *options, wheel)
        run(python, "-c", script, folder, cwd=folder, env={**os.environ, "PYTHONPATH": folder})


def main():
    """Builds and checks; the exit status says whether all is well."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="where they go")
    parser.add_argument("--python", required=True, help="one that has Keras and a backend")
    arguments = parser.parse_args()
    wheel, source = build(arguments.folder)
    found = list(problems(wheel, source))
    print(*found, sep="\n", end="\n" if found else "")
    # Not `resolve`: that would leave the virtual environment.
    check_import(wheel.resolve(), Path(arguments.python).absolute())
    print(f"{wheel.name} and {source.name}: {'FAILED' if found else 'ok'}")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
