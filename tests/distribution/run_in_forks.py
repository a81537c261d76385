"""Runs a script several times, each in a fork of this process, which has imported what it needs.

Arguments: the script, then the arguments of each run as one word. No device is used before a fork,
so that each run makes its own.
"""

import importlib
import multiprocessing
import os
import runpy
import sys

SEPARATOR = "===== end of a run"


def run(script, arguments):
    sys.argv = [script, *arguments.split()]
    runpy.run_path(script, run_name="__main__")


def main():
    script, *runs = sys.argv[1:]
    # Keras on JAX asks TensorFlow about the data as soon as there are several devices.
    for name in ("keras", "tensorflow", "sklearn.datasets", "keras_bigbatch"):
        importlib.import_module(name)
    for arguments in runs:
        process = multiprocessing.get_context("fork").Process(target=run, args=(script, arguments))
        process.start()
        process.join()
        if process.exitcode:
            sys.exit(f"{os.path.basename(script)} {arguments}: exit status {process.exitcode}")
        print(SEPARATOR, flush=True)


if __name__ == "__main__":
    main()
