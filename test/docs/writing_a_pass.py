#!/usr/bin/env python3
"""docs/writing-a-pass.md as its reader would follow it: the files it shows are made, and its commands executed.

The pass of the page and the one that tools/new-pass.sh makes would be part of libnnoptc.so; the test compiles them into a
library of their own, which is loaded with `nnopt-opt` and `nnopt-compile` before these start, so that all flags are
there. The commands of "Outside of this tree" are executed by test/install/run.sh. Ends with `N passed, N failed`.
"""
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("NNOPT_BUILD", os.path.join(ROOT, "build"))
LLVM = "/usr/lib/llvm-22"
WORK = os.path.join(BUILD, "test-docs")
LIBRARY = os.path.join(WORK, "libPasses.so")
passed = failed = 0


def check(name, function, *arguments):
    global passed, failed
    try:
        function(*arguments)
        passed += 1
    except (AssertionError, subprocess.CalledProcessError) as e:
        failed += 1
        print(f"FAIL  {name}: {e}\n{getattr(e, 'stdout', '') or ''}{getattr(e, 'stderr', '') or ''}"[:3000])


def shell(command, cwd=WORK):
    """stdout and stderr of a command that must succeed."""
    path = os.pathsep.join([os.path.join(WORK, "bin"), os.path.join(BUILD, "bin"), LLVM + "/bin", os.environ["PATH"]])
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], cwd=cwd, env={**os.environ, "PATH": path},
                          capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


def write(path, text, executable=False):
    path = os.path.join(WORK, path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text)
    if executable:
        os.chmod(path, 0o755)


def build_library(names):
    """The passes of WORK/passes, declared beside those of the tree."""
    own = [f"passes/{name}/{file}" for name in names for file in os.listdir(os.path.join(WORK, "passes", name))]
    tree = [f"passes/{folder}/{file}" for folder in os.listdir(os.path.join(ROOT, "passes"))
            if os.path.isdir(os.path.join(ROOT, "passes", folder))
            for file in os.listdir(os.path.join(ROOT, "passes", folder)) if file.endswith(".td")]
    tds = sorted(tree) + sorted(f for f in own if f.endswith(".td"))
    write("Passes.td", 'include "mlir/Pass/PassBase.td"\n' + "".join(f'include "{td}"\n' for td in tds))
    os.makedirs(os.path.join(WORK, "passes"), exist_ok=True)
    shell(f"mlir-tblgen -gen-pass-decls -name=Nnopt Passes.td -I {LLVM}/include -I {WORK} -I {ROOT} -o passes/Passes.h.inc")
    classes = [os.path.basename(f)[:-3] for f in own if f.endswith(".td")]
    write("register.cpp", '#include "passes/Passes.h"\nstatic bool registered = [] {\n' +
          "".join(f"  nnopt::register{c}();\n" for c in classes) + "  return true;\n}();\n")
    sources = " ".join(["register.cpp"] + [f for f in own if f.endswith(".cpp")])
    shell(f"clang++-22 -std=c++17 -O0 -fPIC -shared -I {WORK} -I {ROOT} -I {ROOT}/include -I {BUILD} -isystem {LLVM}/include "
          f"{sources} -L {BUILD}/lib -lnnoptc -L {LLVM}/lib -lMLIR -lLLVM -Wl,-rpath,{BUILD}/lib -o {LIBRARY}")


def run_lit_file(path):
    """The RUN lines of a test."""
    with open(path) as file:
        text = file.read()
    commands = re.findall(r"^// RUN: (.*)$", re.sub(r"\\\n// RUN:", "", text), re.M)
    assert commands, f"{path} has no RUN line"
    for command in commands:
        shell(command.replace("%s", path))


def main():
    with open(os.path.join(ROOT, "docs", "writing-a-pass.md")) as file:
        page = file.read()
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", page, re.M | re.S)
    shutil.rmtree(WORK, ignore_errors=True)
    language = {name: [text for kind, text in blocks if kind == name] for name in ("tablegen", "cpp", "mlir", "")}
    write("passes/merge-relus/MergeRelus.td", language["tablegen"][0])
    write("passes/merge-relus/MergeRelus.cpp", language["cpp"][0])
    write("test/passes/merge-relus/doctest.mlir", language["mlir"][0])

    # The script writes beside itself: in a tree of its own.
    os.makedirs(os.path.join(WORK, "tools"))
    shutil.copy(os.path.join(ROOT, "tools", "new-pass.sh"), os.path.join(WORK, "tools"))
    made = re.search(r"`(tools/new-pass\.sh ([\w-]+) [^`]*)`", page)
    check(made[1], shell, made[1])
    check("compile the passes", build_library, ["merge-relus", made[2]])
    for tool, default in (("nnopt-opt", ""), ("nnopt-compile", "--passes=nnopt-default,merge-relus")):
        write(f"bin/{tool}", f'#!/bin/sh\nLD_PRELOAD={LIBRARY} exec {BUILD}/bin/{tool} {default} "$@"\n', True)
    for folder, _, files in os.walk(os.path.join(WORK, "test")):
        for file in files:
            check(file, run_lit_file, os.path.join(folder, file))

    shutil.copy(os.path.join(ROOT, "examples", "models", "fashion.onnx"), os.path.join(WORK, "model.onnx"))
    shutil.copy(os.path.join(WORK, "test", "passes", "merge-relus", "doctest.mlir"), os.path.join(WORK, "x.mlir"))
    # What each command must print, by a word of it.
    expected = {"--infer-shapes": "nn.conv", "--print-ir-after": "after merge-relus", "--timing": "import",
                "--mlir-pass-pipeline-crash-reproducer": "nn.relu"}
    seeing = next(text for text in language[""] if "--print-ir-after" in text)
    commands = re.sub(r" +#.*", "", seeing).strip().splitlines()
    assert len(commands) >= 5, commands
    for command in commands:
        def run():
            output = shell(command)
            for word, text in expected.items():
                assert word not in command or text in output, f"its output has no '{text}'"
        check(command, run)
    verify = re.search(r"`(nnopt-compile model\.onnx --verify)`", page)
    check(verify[1], shell, verify[1])
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
