"""The performance page's tables and picture, from what `ghost_batch_normalization.py --json` wrote.

    python -m benchmarks.report benchmarks/results/*.json --page docs/performance.md

replaces what stands between the page's two marks; `--figures docs/assets` draws its pictures.
"""

import argparse
import json
from pathlib import Path

from reproduction import panels

BEGIN, END = "<!-- tables: benchmarks/report.py -->", "<!-- end of the tables -->"
COLORS = {"ghost": "#0072B2", "loop": "#E69F00", "native": "#999999"}
CONTENDERS = {"ghost": "ghost", "loop": "loop over the groups", "native": "native, one group"}


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", nargs="+", type=Path, help="JSON files, one a column")
    parser.add_argument("--page", type=Path, help="the page to update; else the tables are printed")
    parser.add_argument("--figures", type=Path, help="the folder for the pictures")
    return parser.parse_args()


def load(paths):
    """The results in the order of the columns, whatever the shell's order of the files is."""
    results = [json.loads(path.read_text()) for path in paths]
    return sorted(results, key=lambda r: (r["environment"]["backend"], r["environment"]["jit"]))


def title(result):
    """The column's heading."""
    environment = result["environment"]
    name = {"jax": "JAX", "torch": "torch", "tensorflow": "TensorFlow"}[environment["backend"]]
    return f"{name}, XLA" if name == "TensorFlow" and environment["jit"] else name


def tables(results):
    """Markdown: ratios of the layers' steps and the whole steps, peaks, and the environment."""
    parts = [
        ratio_table("ghost / Keras", "ghost", results),
        ratio_table("loop / Keras", "loop", results),
        ratio_table("native / Keras", "native", results),
        ratio_table("relu / Keras", "relu", results),
        ratio_table("Keras 2's `virtual_batch_size` / Keras", "tf-keras", results),
        memory_table(results),
        environment_lines(results),
    ]
    return "\n\n".join(part for part in parts if part)


def ratio_table(heading, contender, results):
    """A table with the results that have the contender, or nothing."""
    columns = [r for r in results if any(contender in c["ratios"] for c in r["cases"].values())]
    rows = {}
    for name in results[0]["cases"]:
        rows[name] = [column["cases"][name]["ratios"].get(contender) for column in columns]
    rows["ResNet-8, a `fit` step"] = [c["resnet"]["ratios"].get(contender) for c in columns]
    cells = {
        name: ["" if ratio is None else cell(ratio) for ratio in row] for name, row in rows.items()
    }
    return table(heading, [title(column) for column in columns], cells)


def memory_table(results):
    """Peaks in sizes of the input, where they can be known."""
    columns, cells = [], {name: [] for name in results[0]["cases"]}
    for result in results:
        peaks = {name: case["peak"] for name, case in result["memory"].items()}
        for contender in ("Keras", "ghost", "loop"):
            if any(peak.get(contender) is not None for peak in peaks.values()):
                columns.append(f"{title(result)}: {contender}")
                for name, case in result["memory"].items():
                    peak = case["peak"].get(contender)
                    cells[name].append("" if peak is None else f"{peak / case['input']:.1f}")
    return table("peak of a step / input", columns, cells)


def table(heading, columns, rows):
    """Markdown, without the rows that are empty; nothing without columns."""
    if not columns:
        return ""
    lines = [f"| `{heading}` |" if "`" not in heading else f"| {heading} |", "|---|"]
    lines[0] += "".join(f" {column} |" for column in columns)
    lines[1] += "---|" * len(columns)
    lines += [f"| {name} | " + " | ".join(row) + " |" for name, row in rows.items() if any(row)]
    return "\n".join(lines)


def cell(ratio):
    """The median, and in brackets the quartiles of the rounds."""
    low, high = ratio["quartiles"]
    return f"{ratio['median']:.2f} ({low:.2f}–{high:.2f})"  # noqa: RUF001 (a range)


def environment_lines(results):
    """What was measured on, once where it is the same everywhere."""
    first = results[0]["environment"]
    versions = ", ".join(
        f"{title({'environment': e})} {e['version']}"
        for e in (r["environment"] for r in results)
        if not (e["backend"] == "tensorflow" and e["jit"])
    )
    rounds = sorted({r["environment"]["rounds"] for r in results})
    return (
        f"{first['device']}; {first['clock']}; {' or '.join(map(str, rounds))} rounds; "
        f"Keras {first['keras']}, {versions}."
    )


def draw(picture, results):
    """A panel a result: the contenders' ratios by case, Keras's batch norm the line at 1."""
    names = list(results[0]["cases"])
    for result in results:
        axes = picture.add_subplot()
        shown = {
            contender: {
                i: result["cases"][name]["ratios"][contender]["median"]
                for i, name in enumerate(names)
                if contender in result["cases"][name]["ratios"]
            }
            for contender in CONTENDERS
        }
        for number, (contender, medians) in enumerate(shown.items()):
            if not medians:
                continue
            places = [i + 0.27 * (number - 1) for i in medians]
            label, color = CONTENDERS[contender], COLORS[contender]
            axes.barh(places, medians.values(), 0.25, color=color, label=label)
            for place, median in zip(places, medians.values(), strict=True):
                axes.annotate(
                    f"{median:.2f}",
                    (median, place),
                    (3, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=7,
                )
        axes.axvline(1, color="C0", linewidth=0.8, zorder=0)
        axes.set_title(title(result), fontsize=10)
        axes.set_xlabel("time of a training step / Keras's BatchNormalization", fontsize=9)
        axes.margins(x=0.15)
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.legend(
            frameon=False,
            fontsize=8,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.17),
            ncols=len(CONTENDERS),
        )
        axes.spines[["top", "right"]].set_visible(False)


def main():
    options = parse()
    results = load(options.results)
    text = tables(results)
    if options.figures:
        panels.write(options.figures, "performance", lambda picture: draw(picture, results))
    if options.page is None:
        print(text)
        return
    put(options.page, text, BEGIN, END)


def put(page, text, begin, end):
    """Writes the text between two marks of a page, in place of what was there."""
    before, _, rest = page.read_text().partition(begin)
    _, _, after = rest.partition(end)
    if not after:
        raise SystemExit(f"{page} has no lines '{begin}' and '{end}'.")
    page.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}")


if __name__ == "__main__":
    main()
