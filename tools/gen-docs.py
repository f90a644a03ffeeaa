#!/usr/bin/env python3
"""Writes the reference: docs/reference/nn.md (operations) and docs/reference/passes.md.

    tools/gen-docs.py [--check]

Operations and passes are described in their .td files only; each pass page also shows the input of its doctest
and what nnopt-opt makes of it now. --check writes nothing and fails when a file is not what it would write.
$NNOPT_BUILD names the build folder (default: build). Ends with `N passed, N failed`.
"""
import os
import re
import shlex
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.environ.get("NNOPT_BUILD", os.path.join(ROOT, "build"))
LLVM = "/usr/lib/llvm-22"
NOTE = "<!-- Written by tools/gen-docs.py from {0}; do not edit. -->\n\n"


def run(command, text=None):
    done = subprocess.run(command, input=text, capture_output=True, text=True, cwd=ROOT)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr}")
    return done.stdout


def tblgen(generator, td, *more):
    return run([f"{LLVM}/bin/mlir-tblgen", generator, td, "-I", f"{LLVM}/include", "-I", ROOT, *more])


# --------------------------------------------------------------------- operations
def rows(section):
    """The cells of a Markdown table, without its head."""
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def attribute_type(text):
    """What a value of an attribute is, in a word or two."""
    text = re.sub(r"<[^>]+>", "", text).strip()
    text = re.sub(r" ?attribute.*", "", text.splitlines()[0])
    return {"unit": "flag", "64-bit signless integer": "integer", "64-bit float": "number", "i64 dense array": "integers",
            "bool": "true or false", "any type": "type", "constant vector/tensor": "elements",
            "string array": "strings"}.get(text) or enums().get(text, text)


def enums():
    """The cases of an enumeration by its summary."""
    with open(os.path.join(ROOT, "dialects/nn/NNBase.td")) as file:
        found = re.findall(r'NN_Enum<"\w+", "([^"]*)", \[([^\]]*)\]>', file.read())
    return {summary: " | ".join(re.findall(r'"(\w+)"', cases)) for summary, cases in found}


def compact(op):
    """One operation: summary, description, and names of operands, results and attributes on one line each."""
    title, _, body = op.partition("\n")
    name = re.match(r"`(nn\.\w+)`", title).group(1)
    parts = re.split(r"\n#### (\w+):\n", body)
    text = re.sub(r"\nSyntax:\n\n```.*?```\n", "", parts[0], flags=re.S)
    text = re.sub(r"\n(Traits|Interfaces|Effects): .*", "", text)
    text = re.sub(r"^_(.*)_$", r"\1", text.strip(), count=1, flags=re.M)
    # The generator capitalizes the summary even where it begins with an operand.
    text = re.sub(r"^(Lhs|Rhs|X|Softmax|E\^)(?=\W)", lambda m: m.group(1).lower(), text)
    lines = [f"### `{name}`", "", re.sub(r"\n{3,}", "\n\n", text).strip(), ""]
    for kind, section in zip(parts[1::2], parts[2::2]):
        cells = rows(section)
        if kind == "Attributes":
            cells = re.findall(r"<td><code>(\w+)</code></td><td>[^<]*</td><td>(.*?)</td>", section, flags=re.S)
            items = ", ".join(f"`{name}` ({attribute_type(what)})" for name, what in cells)
        else:
            items = ", ".join(c[0] + (" (any number)" if "variadic" in c[1] else "") for c in cells)
        if items:
            lines.append(f"- {kind}: {items}")
    return "\n".join(lines) + "\n"


def operations():
    text = tblgen("-gen-dialect-doc", "dialects/nn/NNOps.td", "--dialect=nn")
    head, _, rest = text.partition("## Operations\n")
    ops = re.split(r"\n### ", rest.partition("\n## ")[0])[1:]
    description = head.split("\n\n", 3)[3].replace("[TOC]", "").strip()
    return (NOTE.format("dialects/nn/NNOps.td") + "# The nn dialect\n\n" + description +
            "\n\nHow an operation is written, and which operands are optional, is in "
            "[NNOps.td](../../dialects/nn/NNOps.td).\n\n" + "\n".join(compact(op) for op in ops))


# --------------------------------------------------------------------- passes
def doctest(path):
    """The input of a doctest without its checks, and what its RUN line makes of it."""
    with open(os.path.join(ROOT, path)) as file:
        lines = file.read().splitlines()
    command = next(re.match(r"// RUN: (.*?)\s*(\||$)", line).group(1) for line in lines if line.startswith("// RUN:"))
    # One function after the other: constants of all are numbered together.
    command = command.replace("nnopt-opt", "nnopt-opt --mlir-disable-threading", 1)
    arguments = shlex.split(command.replace("%s", path))
    tool = os.path.join(BUILD, "bin", arguments[0])
    # Diagnostics are part of the test, not of the picture.
    arguments = [a for a in arguments[1:] if "verify-diagnostics" not in a and "remark" not in a]
    output = run([tool, *arguments]).strip()
    # Bytes of large constants show nothing.
    output = re.sub(r"\n+\{-#.*#-\}", "", output, flags=re.S)
    shown = [line for line in lines if not re.match(r"\s*// (RUN|CHECK[\w-]*|expected-\w+.*):?", line)]
    return "\n".join(shown).strip(), re.sub(r"^module \{\n(.*)\n\}$", r"\1", output, flags=re.S | re.M)


def passes():
    text = tblgen("-gen-pass-doc", os.path.join(BUILD, "passes/Passes.td"))
    pages = [NOTE.format("passes/*/*.td and the doctests") + "# Passes\n\n"
             "`nnopt-opt --NAME` runs a pass alone, `--nnopt-default` all of them in the order of "
             "[Pipeline.cpp](../../passes/Pipeline.cpp). How to add one: [writing a pass](../writing-a-pass.md).\n"]
    for section in re.split(r"\n### ", text)[1:]:
        title, _, body = section.partition("\n")
        name = title.strip("`-")
        body = re.sub(r"^_(.*)_$", r"\1.", body.strip(), count=1, flags=re.M)
        test = re.search(r"\n*Doctest: (\S+)", body)
        if test is None:
            sys.exit(f"pass {name}: its description names no doctest")
        before, after = doctest(test.group(1))
        body = body.replace(test.group(0), "")
        pages.append(f"## {name}\n\n{body}\n\nExample ([doctest](../../{test.group(1)})):\n\n```mlir\n{before}\n```\n\n"
                     f"becomes\n\n```mlir\n{after}\n```\n")
    return "\n".join(pages)


def main():
    check = sys.argv[1:] == ["--check"]
    if sys.argv[1:] and not check:
        sys.exit(__doc__)
    passed = failed = 0
    for name, text in (("nn.md", operations()), ("passes.md", passes())):
        path = os.path.join(ROOT, "docs/reference", name)
        old = open(path).read() if os.path.exists(path) else None
        if check and old != text:
            print(f"{os.path.relpath(path, ROOT)} is not up to date: run tools/gen-docs.py")
            failed += 1
            continue
        if not check and old != text:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w") as file:
                file.write(text)
        passed += 1
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
