"""The tables and pictures of the page on accelerators, from what `compiled.py --json` wrote.

python -m benchmarks.compiled_report --page docs/accelerators.md --figures docs/assets
"""

import argparse
import json
import statistics
from pathlib import Path

from benchmarks import report
from reproduction import panels

RESULTS = Path(__file__).parent / "results" / "compiled"
BEGIN, END = "<!-- tables: benchmarks/compiled_report.py -->", "<!-- end of the tables -->"
KINDS = {"alone": "the layer alone", "network": "in a network"}


def load(folder=RESULTS):
    """The results by part."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def tables(results):
    """Markdown of all parts, and the versions."""
    layers = results["layers"]["rows"]
    parts = [ratios(layers, kind) for kind in KINDS]
    parts += [kernels(results["instructions"]["rows"]), pod(results["pod"]["rows"])]
    parts.append(versions([results[part] for part in ("layers", "instructions", "pod")]))
    others = {"gpu": gpu, "tensorflow": tensorflow, "torch": torch_kernels, "triton": registers}
    for part, table in others.items():
        parts += [table(results[part]["rows"]), versions([results[part]])]
    return "\n\n".join(parts)


def ratios(rows, kind):
    """Of our layer's cycles to those of Keras's, by case and kind of chip."""
    columns, cells = [], {}
    for row in rows:
        column = f"{row['chip']}, {row['precision']}"
        if column not in columns:
            columns.append(column)
        if kind in row:
            cells.setdefault(row["case"], []).append(f"{row[kind]:.2f}")
    return report.table(f"ghost / Keras, {KINDS[kind]}", columns, cells)


def kernels(rows):
    """How the cycles of the kernels' instructions compare with those of their bytes."""
    found = {}
    for row in rows:
        name = f"{row['chip']}, {row['precision']}"
        found.setdefault(name, []).append(row["instructions"] / row["bytes"])
    cells = {
        name: [f"{statistics.median(each):.2f}", f"{max(each):.2f}"] for name, each in found.items()
    }
    return report.table("a kernel's instructions / its bytes", ["median", "largest"], cells)


def pod(rows):
    """ResNet-50's step on some chips."""
    columns = ["million cycles", "GB accessed", "GB temporary", "all-reduces", "other collectives"]
    cells = {}
    for row in rows:
        sums = row["collectives"].get("all-reduce", 0)
        name = f"{row['chips']} chip{'s' if row['chips'] > 1 else ''}, {row['norm']}"
        cells[name] = [f"{row['cycles'] / 1e6:.1f}", f"{row['bytes'] / 1e9:.1f}"]
        cells[name] += [f"{row['temporary'] / 1e9:.2f}", str(sums)]
        cells[name].append(str(sum(row["collectives"].values()) - sums))
    return report.table("ResNet-50", columns, cells)


def gpu(rows):
    """Passes over memory of XLA's programs."""
    cells, columns = {}, []
    for row in rows:
        columns.append(row["precision"])
        cells.setdefault(row["case"], []).append(f"{row['ghost']:.1f} / {row['Keras']:.1f}")
    return report.table("passes, ghost / Keras", list(dict.fromkeys(columns)), cells)


def tensorflow(rows):
    """Ratios of cycles on TPUs, and passes on an H100."""
    columns, cells = [], {}
    for row in rows:
        passes = row["chip"] == "H100"
        columns.append(f"{row['chip']}{', passes' if passes else ''}")
        counts = f"{row['ghost']:.1f} / {row['Keras']:.1f}"
        cell = counts if passes else f"{row['ratio']:.2f}"
        cells.setdefault(f"{row['case']}, {row['precision']}", []).append(cell)
    return report.table("TensorFlow, ghost / Keras", list(dict.fromkeys(columns)), cells)


def torch_kernels(rows):
    """Of each layer the kernels forward and backward, and the passes."""
    columns = {
        "Keras": "Keras",
        "ghost": "ghost",
        "ghost, operations": "ghost, without its kernels",
        "fused": "torch's own, one group",
    }
    cells = {}
    for row in rows:
        counts = [row[contender] for contender in columns]
        cells[f"{row['case']}, {row['precision']}"] = [
            f"{each['forward']} + {each['backward']}, {each['passes']:.0f}" for each in counts
        ]
    return report.table("kernels forward + backward, passes", list(columns.values()), cells)


def registers(rows):
    """Of each case the most registers and spilled bytes, and the narrowest load of the input."""
    found = {}
    for row in rows:
        found.setdefault(f"{row['case']}, {row['precision']}", []).append(row)
    columns, cells = list(dict.fromkeys(row["chip"] for row in rows)), {}
    for case, kernels in found.items():
        cells[case] = []
        for chip in columns:
            here = [row for row in kernels if row["chip"] == chip]
            most = max(row["registers"] for row in here)
            spilled = max(row["spilled"] for row in here)
            passes = [row for row in here if row["kernel"] not in ("group_moments", "moved")]
            bits = min(row["widest load"] for row in passes)
            cells[case].append(f"{most}, {spilled}, {bits}")
    title = "most registers, bytes spilled, load width in bits"
    return report.table(title, columns, cells)


def versions(results):
    """What the figures depend on; the same for all of them."""
    found = {json.dumps(each["environment"], sort_keys=True) for each in results}
    if len(found) != 1:
        raise SystemExit(f"The parts were made with several versions: {sorted(found)}.")
    names = json.loads(found.pop())
    return ", ".join(f"{name} {version}" for name, version in sorted(names.items())) + "."


def draw(picture, results):
    """Ratios by case: a panel alone and one in a network, a colour for each chip."""
    rows = results["layers"]["rows"]
    names = list(dict.fromkeys(row["case"] for row in rows))
    chips = list(dict.fromkeys(row["chip"] for row in rows))
    colors = dict(zip(chips, ("#0072B2", "#E69F00", "#009E73"), strict=False))
    largest = max(row[kind] for row in rows for kind in KINDS if kind in row)
    for kind, heading in KINDS.items():
        axes = picture.add_subplot()
        for row in rows:
            if kind not in row:
                continue
            single = row["precision"] == "float32"
            place = names.index(row["case"]) + 0.2 * (chips.index(row["chip"]) - 1)
            axes.plot(
                *(row[kind], place, "o"),
                color=colors[row["chip"]],
                markerfacecolor=colors[row["chip"]] if single else "none",
                label=f"{row['chip']}, {row['precision']}",
            )
        axes.axvline(1, color="C0", linewidth=0.8)
        axes.set_xlim(0, 1.08 * largest)
        axes.set_title(heading, fontsize=10)
        axes.set_xlabel("estimated cycles of a step / Keras's BatchNormalization", fontsize=9)
        axes.set_yticks(range(len(names)), names, fontsize=8)
        axes.invert_yaxis()
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", linewidth=0.3)
        handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
        axes.legend(
            *(handles.values(), handles.keys()),
            loc="lower center",
            bbox_to_anchor=(0.5, 1.08),
            ncols=len(chips),
            frameon=False,
            fontsize=8,
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--page", type=Path, help="the page to update; else the tables are printed")
    parser.add_argument("--figures", type=Path, help="the folder for the pictures")
    options = parser.parse_args()
    results = load()
    if options.figures:
        panels.write(options.figures, "accelerators", lambda picture: draw(picture, results))
    text = tables(results)
    if options.page is None:
        print(text)
    else:
        report.put(options.page, text, BEGIN, END)


if __name__ == "__main__":
    main()
