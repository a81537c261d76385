"""What a compiled program costs, by the estimates of its compiler."""

import collections
import math
import re

SIZES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4, "f64": 8}
ARRAY = re.compile(rf"\b({'|'.join(SIZES)})\[([\d,]*)\]")
COLLECTIVE = re.compile(
    r" (all-reduce|all-gather|collective-permute|all-to-all|reduce-scatter)(?:-start)?\("
)
COMPUTATION = re.compile(r"(ENTRY )?%?([\w.\-]+) .*\{$")
OPERATION = re.compile(r"\s+(?:ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) ([\w\-]+)\((.*)")
KERNEL = "tpu_custom_call"
# What moves no memory.
NOTHING = {"parameter", "tuple", "get-tuple-element", "bitcast", "constant", "opt-barrier"}


def stored(shapes):
    """Bytes of the arrays that a piece of HLO names."""
    return sum(
        SIZES[kind] * math.prod(int(size) for size in sizes.split(",") if size)
        for kind, sizes in ARRAY.findall(shapes)
    )


def computations(text):
    """The operations of each computation by its name: (name, shape, kind, what follows)."""
    found, current = {}, []
    for line in text.splitlines():
        head = COMPUTATION.match(line)
        if head and not line.startswith(" "):
            current = found.setdefault("ENTRY" if head.group(1) else head.group(2), [])
        elif operation := OPERATION.match(line):
            current.append(operation.groups())
    return found


def called(rest, *names):
    """The computations that an operation names in some of its attributes."""
    found = re.findall(rf"(?:{'|'.join(names)})=\{{?([^}},]*(?:, %[^}},]*)*)", rest)
    return [name for each in found for name in re.findall(r"%?([\w.\-]+)", each)]


def cycles(text, per_byte):
    """The compiler's estimates, with what it leaves out: the trips of loops, and kernels.

    A kernel of our own takes what its bytes take, so many cycles each.
    """
    bodies = computations(text)

    def of(name):
        shapes, total = {}, 0.0
        for operation, shape, kind, rest in bodies.get(name, ()):
            shapes[operation] = shape
            estimate = re.search(r'"estimated_cycles":"(\d+)"', rest)
            if kind == "while":
                trips = re.search(r'"known_trip_count":\{"n":"(\d+)"', rest)
                total += int(trips.group(1) if trips else 1) * sum(map(of, called(rest, "body")))
            elif kind == "conditional":
                names = ("branch_computations", "true_computation", "false_computation")
                total += max(map(of, called(rest, *names)), default=0.0)
            elif kind == "call":
                total += sum(map(of, called(rest, "to_apply")))
            elif estimate:
                total += int(estimate.group(1))
            elif KERNEL in rest:
                total += per_byte * moved(shape, rest, shapes)
        return total

    return of("ENTRY")


def moved(shape, rest, shapes):
    """Bytes that an operation reads and writes."""
    operands = re.findall(r"%([\w.\-]+)", rest.partition(")")[0])
    return stored(shape) + sum(stored(shapes.get(each, "")) for each in operands)


def kernels(text):
    """Bytes that each kernel of ours reads and writes, by its name."""
    operations = computations(text)["ENTRY"]
    shapes = {name: shape for name, shape, _, _ in operations}
    return {
        name: moved(shape, rest, shapes) for name, shape, _, rest in operations if KERNEL in rest
    }


def passes(text, size):
    """Reads and writes of an array of `size` bytes, by the operations of the entry.

    Arrays of less than a fifth of it are left out. A fusion that takes a slice of its operand
    reads the slice alone.
    """
    bodies, shapes, total = computations(text), {}, 0.0
    for name, shape, kind, rest in bodies["ENTRY"]:
        shapes[name] = shape
        if kind in NOTHING or kind.endswith("-done"):
            continue
        operands = re.findall(r"%([\w.\-]+)", rest.partition(")")[0])
        inside = [each for body in called(rest, "calls") for each in bodies[body]]
        names = {
            rest.partition(")")[0]: name for name, _, kind, rest in inside if kind == "parameter"
        }
        moved = [stored(shape)]
        for number, operand in enumerate(operands):
            whole = stored(shapes.get(operand, ""))
            moved.append(taken(inside, names[str(number)], whole) if names else whole)
        total += sum(each for each in moved if each > size / 5)
    return total / size


def taken(operations, name, size):
    """Bytes that a fusion reads of one of its values of this size: all, or slices of it."""
    uses = [each for each in operations if re.search(rf"%{re.escape(name)}\b(?!\.)", each[3])]
    if not uses or any(kind not in ("slice", "bitcast", "convert") for _, _, kind, _ in uses):
        return size
    total = 0
    for user, shape, kind, _ in uses:
        # What is converted may be of other bytes than what is read for it.
        scale = size / stored(shape) if kind == "convert" else 1
        total += scale * taken(operations, user, stored(shape))
    return min(total, size)


def collectives(text):
    """How many operations between chips there are, by kind."""
    return dict(collections.Counter(COLLECTIVE.findall(text)))


def cost(program, per_byte):
    """Cycles, and no fewer than it takes to read the arguments and write the results once.

    Copies behind a loop have no estimate.
    """
    memory = program.memory_analysis()
    least = memory.argument_size_in_bytes + memory.output_size_in_bytes
    return max(cycles(program.as_text(), per_byte), per_byte * least)
