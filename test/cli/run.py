#!/usr/bin/env python3
"""The tools against wrong flags, wrong files and outputs that cannot be written.

    python test/cli/run.py [-k SUBSTRING]       # $NNOPT_BUILD or `build`: where bin/ is

Each case runs one command in a folder of its own and states the exit code (0 done, 1 failed, 2 usage,
3 invalid, 4 unsupported), what the first line of stderr must say, and which files may be there
afterwards: never a part of an output, never a temporary file. Closes with `N passed, N failed`.
"""
import argparse
import os
import re
import shutil
import stat
import struct
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("NNOPT_BUILD", os.path.join(ROOT, "build"))
TOOLS = ["nnopt-compile", "nnopt-opt", "nnopt-run", "nnopt-bench"]
DONE, FAILED, USAGE, INVALID, UNSUPPORTED = range(5)


# ------------------------------------------------------------------------------- material
def make_model(path, op="Relu", domain="", external=None, batch="batch"):
    """y = op(x * w) with x f32[batch,8]."""
    weight = numpy_helper.from_array(np.linspace(-1, 1, 8, dtype=np.float32), "w")
    if external:
        weight.ClearField("raw_data")
        weight.data_location = TensorProto.EXTERNAL
        for key, value in external.items():
            weight.external_data.add(key=key, value=str(value))
    nodes = [helper.make_node("Mul", ["x", "w"], ["m"], name="scale"),
             helper.make_node(op, ["m"], ["y"], name="last", domain=domain)]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 8])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 8])], [weight])
    opsets = [helper.make_opsetid("", 17)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    with open(path, "wb") as stream:
        stream.write(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())


def damaged(source, target, change):
    with open(source, "rb") as stream:
        data = bytearray(stream.read())
    with open(target, "wb") as stream:
        stream.write(change(data))


def flip(position):
    def change(data):
        data[position if position >= 0 else len(data) + position] ^= 0x40
        return data
    return change


def elf_middle(data):
    """One changed bit in the middle of the ELF part (its size is the first word of the trailer)."""
    size = struct.unpack_from("<Q", data, len(data) - 64)[0]
    data[size // 2] ^= 1
    return data


def make_material(folder):
    def at(name):
        return os.path.join(folder, name)
    make_model(at("model.onnx"))
    make_model(at("unnamed.onnx"), batch=None)
    make_model(at("odd.onnx"), op="Whirl", domain="com.example")
    make_model(at("outside.onnx"), external={"location": "../weights.bin", "offset": 0, "length": 32})
    make_model(at("nofile.onnx"), external={"location": "nofile.bin", "offset": 0, "length": 32})
    damaged(at("model.onnx"), at("short.onnx"), lambda d: d[:len(d) // 2])
    with open(at("empty.onnx"), "wb"):
        pass
    with open(at("text.onnx"), "w") as stream:
        stream.write("this is no model\n" * 20)
    os.mkdir(at("folder"))
    os.mkdir(at("folder.onnx"))
    shutil.copy(at("model.onnx"), at("blank name.onnx"))
    shutil.copy(at("model.onnx"), at("\u7f51\u7edc.onnx"))
    x = np.linspace(-2, 2, 24, dtype=np.float32).reshape(3, 8)
    np.savez(at("in.npz"), x=x)
    np.savez_compressed(at("deflated.npz"), x=x)
    np.savez(at("wrongname.npz"), z=x)
    np.savez(at("wrongtype.npz"), x=x.astype(np.float64))
    np.savez(at("wrongrank.npz"), x=x[0])
    np.savez(at("wrongshape.npz"), x=x[:, :7])
    np.savez(at("none.npz"))
    damaged(at("in.npz"), at("short.npz"), lambda d: d[:len(d) // 2])
    with open(at("text.npz"), "w") as stream:
        stream.write("no archive\n")
    with open(at("bad.mlir"), "w") as stream:
        stream.write("func.func @main(%x: tensor<2xf32>) { nn.nonsense %x }\n")
    with open(at("good.mlir"), "w") as stream:
        stream.write("func.func @main(%x: tensor<2xf32>) -> tensor<2xf32> {\n"
                     "  %0 = nn.relu %x : (tensor<2xf32>) -> tensor<2xf32>\n  return %0 : tensor<2xf32>\n}\n")
    run = subprocess.run([tool("nnopt-compile"), at("model.onnx"), "-o", at("model.so")], capture_output=True, text=True,
                         stdin=subprocess.DEVNULL)
    if run.returncode != 0:
        sys.exit(f"nnopt-compile of the test model failed:\n{run.stderr}\n0 passed, 1 failed")
    damaged(at("model.so"), at("cut1.so"), lambda d: d[:-1])
    damaged(at("model.so"), at("cuthalf.so"), lambda d: d[:len(d) // 2])
    damaged(at("model.so"), at("cut100.so"), lambda d: d[:100])
    damaged(at("model.so"), at("longer.so"), lambda d: d + b"x")
    damaged(at("model.so"), at("magic.so"), flip(-1))
    damaged(at("model.so"), at("flipped.so"), elf_middle)
    damaged(at("model.so"), at("elf.so"), flip(0))
    with open(at("empty.so"), "wb"):
        pass
    # A foreign shared object: any will do.
    for foreign in (os.path.join(BUILD, "lib", "libnnopt_runtime.so"), sys.executable):
        if os.path.exists(foreign):
            shutil.copy(os.path.realpath(foreign), at("foreign.so"))
            break


def tool(name):
    return os.path.join(BUILD, "bin", name)


# ------------------------------------------------------------------------------- cases
class Case:
    """`command` is split at blanks; {m} is the folder with the material. `says` is a regular expression
    for the first line of stderr ("" when nothing is asked of it), `makes` the files that may appear in
    the folder the command runs in, all of which must."""

    def __init__(self, command, code, says="", makes=(), out="", prepare=None):
        self.command, self.code, self.says, self.makes, self.out = command, code, says, makes, out
        self.prepare = prepare


def read_only(folder):
    """A folder that cannot be written to, even by root: a file stands where the folder should be."""
    with open(os.path.join(folder, "file"), "w"):
        pass


def keep_old(folder):
    with open(os.path.join(folder, "old.so"), "w") as stream:
        stream.write("old")


def own_weights(folder):
    """A model whose weights are in apart.bin."""
    make_model(os.path.join(folder, "apart.onnx"), external={"location": "apart.bin", "offset": 0, "length": 32})
    np.linspace(-1, 1, 8, dtype=np.float32).tofile(os.path.join(folder, "apart.bin"))


def cases():
    compile_ok = "nnopt-compile {m}/model.onnx"
    for name in TOOLS:
        yield Case(f"{name} --help", DONE, out=r"(?i)usage")
        yield Case(f"{name} --version", DONE, out=r"nnopt \d+\.\d+.*\n(.*\n)*.*LLVM" if name in TOOLS[:2] else r"\d+\.\d+")
        yield Case(f"{name} --no-such-flag", USAGE, r"no-such-flag")
    for name in ("nnopt-compile", "nnopt-run", "nnopt-bench"):
        yield Case(name, USAGE, r"\w")

    # nnopt-compile: flags
    yield Case(compile_ok, DONE, makes=["model.so"])
    yield Case(compile_ok + " -o out.so", DONE, makes=["out.so"])
    yield Case(compile_ok + " -o=out.so", DONE, makes=["out.so"])
    yield Case(compile_ok + " --opt 0 --target x86-64-v3 -o out.so", DONE, makes=["out.so"])
    yield Case(compile_ok + " --dim batch=4 -o out.so", DONE, makes=["out.so"])
    yield Case("nnopt-compile {m}/unnamed.onnx --dim=x[0]=4 -o out.so", DONE, makes=["out.so"])
    yield Case(compile_ok + " --dim batch=1..16 -o out.so", DONE, makes=["out.so"])
    yield Case(compile_ok + " {m}/odd.onnx", USAGE, r"\w")
    yield Case(compile_ok + " --opt=3", USAGE, r"opt")
    yield Case(compile_ok + " --opt=fast", USAGE, r"opt")
    yield Case(compile_ok + " --emit=exe", USAGE, r"emit")
    yield Case(compile_ok + " --kv-cache=int4", USAGE, r"--kv-cache=int4: expected f32 or int8")
    yield Case(compile_ok + " --kv-cache=int8 --bisect", USAGE, r"--bisect cannot compare")
    yield Case(compile_ok + " --kv-cache=int8", FAILED, r"there is no KV cache to be kept in 8 bits")
    yield Case(compile_ok + " --kv-cache=f32 -o out.so", DONE, makes=["out.so"])
    yield Case(compile_ok + " --target=x86-64-v99", USAGE, r"x86-64-v99")
    yield Case(compile_ok + " --target=", USAGE, r"target")
    yield Case(compile_ok + " --dim batch", USAGE, r"batch")
    yield Case(compile_ok + " --dim batch=", USAGE, r"batch")
    yield Case(compile_ok + " --dim batch=-3", USAGE, r"batch")
    yield Case(compile_ok + " --dim batch=many", USAGE, r"batch")
    yield Case(compile_ok + " --dim batch=8..2", USAGE, r"batch")
    yield Case(compile_ok + " --dim batch=99999999999999999999", USAGE, r"batch")
    yield Case(compile_ok + " --dim height=4", USAGE, r"height")
    yield Case("nnopt-compile {m}/unnamed.onnx --dim x[7]=4", USAGE, r"x\[7\]")
    yield Case("nnopt-compile {m}/unnamed.onnx --dim x[1]=9", None, r"x|8|9")

    # nnopt-compile: models
    yield Case("nnopt-compile {m}/absent.onnx", INVALID, r"absent\.onnx")
    yield Case("nnopt-compile {m}/folder.onnx", INVALID, r"folder\.onnx")
    yield Case("nnopt-compile {m}/empty.onnx", INVALID, r"empty\.onnx")
    yield Case("nnopt-compile {m}/text.onnx", INVALID, r"text\.onnx")
    yield Case("nnopt-compile {m}/short.onnx", INVALID, r"short\.onnx")
    yield Case("nnopt-compile {m}/model.so", INVALID, r"model\.so")
    yield Case("nnopt-compile {m}/outside.onnx", INVALID, r"weights\.bin|'?w'?")
    yield Case("nnopt-compile {m}/nofile.onnx", INVALID, r"nofile\.bin")
    yield Case("nnopt-compile {m}/odd.onnx", UNSUPPORTED, r"\w")
    yield Case("nnopt-compile {m}/odd.onnx --check", UNSUPPORTED, r"\w")
    yield Case("nnopt-compile {m}/model.onnx --check", DONE)
    yield Case("nnopt-compile {m}/absent.onnx --check", INVALID, r"absent\.onnx")
    yield Case(["nnopt-compile", "{m}/blank name.onnx"], DONE, makes=["blank name.so"])
    yield Case(["nnopt-compile", "{m}/\u7f51\u7edc.onnx"], DONE, makes=["\u7f51\u7edc.so"])

    # nnopt-compile: outputs
    for emit, out in (("nn", r"nn\.\w+"), ("exec", r"\w"), ("llvm", r"define "), ("asm", r"\.text")):
        yield Case(compile_ok + f" --emit={emit}", DONE, out=out)
        yield Case(compile_ok + f" --emit={emit} -o text", DONE, makes=["text"])
        yield Case(compile_ok + f" --emit={emit} -o nowhere/text", FAILED, r"nowhere/text")
    yield Case(compile_ok + " --emit=nn -o graph.mlirbc", DONE, makes=["graph.mlirbc"])
    yield Case(compile_ok + " --emit=onnx -o out.onnx", DONE, makes=["out.onnx"])
    yield Case(compile_ok + " --emit=onnx --opt=0 --verify -o out.onnx", DONE, makes=["out.onnx"])
    yield Case(compile_ok + " --emit=onnx --external-data -o out.onnx", DONE, makes=["out.onnx", "out.onnx.data"])
    yield Case(compile_ok + " --emit=onnx --external-data", USAGE, r"-o")
    yield Case(compile_ok + " --emit=onnx --verify", USAGE, r"-o")
    yield Case(compile_ok + " --emit=onnx -o nowhere/out.onnx", FAILED, r"nowhere/out\.onnx")
    yield Case(compile_ok + " --emit=onnx -o /dev/full", FAILED, r"/dev/full")
    yield Case("nnopt-compile copy.onnx --emit=onnx -o copy.onnx", USAGE, r"copy\.onnx", makes=["copy.onnx"], prepare="copy.onnx")
    yield Case("nnopt-compile apart.onnx --emit=onnx -o apart.bin", USAGE, r"apart\.bin", makes=["apart.bin", "apart.onnx"],
               prepare=own_weights)
    yield Case(compile_ok + " --passes=fold-shapes,cse --emit=nn", DONE, out=r"nn\.")
    yield Case(compile_ok + " --passes=fold-sheep", USAGE, r"fold-sheep")
    yield Case(compile_ok + " --load-pass-plugin=absent.so", USAGE, r"absent\.so")
    yield Case(compile_ok + " --link=absent.o", USAGE, r"absent\.o")
    yield Case(compile_ok + " --link={m}/text.onnx", USAGE, r"text\.onnx")
    yield Case(compile_ok + " --bisect", DONE, out=r"nothing differs")
    yield Case(compile_ok + " --bisect={m}/in.npz", DONE, out=r"nothing differs")
    yield Case(compile_ok + " --bisect={m}/absent.npz", INVALID, r"absent\.npz")
    yield Case(compile_ok + " --emit=obj -o part.o", DONE, makes=["part.h", "part.o", "part.weights"])
    yield Case(compile_ok + " --emit=obj -o nowhere/part.o", FAILED, r"nowhere/part")
    yield Case(compile_ok + " -o nowhere/out.so", FAILED, r"nowhere/out\.so")
    yield Case(compile_ok + " -o file/out.so", FAILED, r"file/out\.so", makes=["file"], prepare=read_only)
    yield Case(compile_ok + " -o .", FAILED, r"\. *:|directory")
    yield Case(compile_ok + " -o /dev/full", FAILED, r"/dev/full")
    yield Case(compile_ok + " --emit=llvm -o /dev/full", FAILED, r"/dev/full")
    yield Case(compile_ok + " -o old.so", DONE, makes=["old.so"], prepare=keep_old)
    yield Case("nnopt-compile copy.onnx -o copy.onnx", USAGE, r"copy\.onnx", makes=["copy.onnx"], prepare="copy.onnx")
    yield Case("nnopt-compile copy.onnx -o ./copy.onnx", USAGE, r"copy\.onnx", makes=["copy.onnx"], prepare="copy.onnx")
    yield Case("nnopt-compile {m}/short.onnx -o old.so", INVALID, r"short\.onnx", makes=["old.so"], prepare=keep_old)
    yield Case(compile_ok + " --verify", DONE, makes=["model.so"])
    yield Case(compile_ok + " --verify={m}/in.npz", DONE, makes=["model.so"])
    yield Case(compile_ok + " --quiet --verify={m}/absent.npz", INVALID, r"absent\.npz", makes=None)

    # nnopt-run
    run_ok = "nnopt-run {m}/model.so"
    yield Case(run_ok, DONE)
    yield Case(run_ok + " --inputs={m}/in.npz --outputs=out.npz", DONE, makes=["out.npz"])
    yield Case(run_ok + " --inputs {m}/deflated.npz --outputs out.npz --threads 2 --repeat 3 --warmup 1", DONE, makes=["out.npz"])
    yield Case(run_ok + " --json=run.json", DONE, makes=["run.json"])
    yield Case(run_ok + " --profile", DONE, out=r"of bound[^$]*\nbound of \d+ threads?, measured: [1-9]\d* GFLOP/s")
    yield Case(run_ok + " --profile=trace.json", DONE, makes=["trace.json"])
    yield Case(run_ok + " --threads=-1", USAGE, r"threads")
    yield Case(run_ok + " --threads=two", USAGE, r"threads")
    yield Case(run_ok + " --repeat=x", USAGE, r"repeat")
    yield Case(run_ok + " --inputs={m}/absent.npz", INVALID, r"absent\.npz")
    for bad in ("short", "text", "none", "wrongname", "wrongtype", "wrongrank", "wrongshape"):
        yield Case(run_ok + f" --inputs={{m}}/{bad}.npz --outputs=out.npz", INVALID, r"\w")
    yield Case(run_ok + " --outputs=nowhere/out.npz", FAILED, r"nowhere/out\.npz")
    yield Case(run_ok + " --outputs=.", FAILED, r"\. *:|directory")
    yield Case(run_ok + " --outputs=/dev/full", FAILED, r"/dev/full")
    yield Case(run_ok + " --json=nowhere/run.json", FAILED, r"nowhere/run\.json")
    yield Case(run_ok + " --verify {m}/absent", INVALID, r"absent")
    yield Case(run_ok + " --verify {m}/folder", INVALID, r"folder")
    yield Case("nnopt-run {m}/absent.so", INVALID, r"absent\.so")
    for bad in ("cut1", "cuthalf", "cut100", "longer", "magic", "flipped", "elf", "empty", "foreign"):
        yield Case(f"nnopt-run {{m}}/{bad}.so", INVALID, rf"{bad}\.so")
    yield Case("nnopt-run {m}/folder", INVALID, r"folder")
    yield Case("nnopt-run {m}/model.onnx", INVALID, r"model\.onnx")

    # nnopt-reduce, nnopt-lsp-server
    for name in ("nnopt-reduce", "nnopt-lsp-server"):
        yield Case(f"{name} --version", DONE, out=r"nnopt \d+\.\d+")
        yield Case(f"{name} --help", DONE, out=r"(?i)usage")

    # nnopt-bench, nnopt-opt
    yield Case("nnopt-bench {m}/model.so", DONE, out=r"\d")
    yield Case("nnopt-bench {m}/model.so --inputs={m}/in.npz --threads=1", DONE, out=r"\d")
    yield Case("nnopt-bench {m}/cuthalf.so", INVALID, r"cuthalf\.so")
    yield Case("nnopt-bench {m}/model.so --inputs={m}/wrongname.npz", INVALID, r"\w")
    yield Case("nnopt-opt {m}/good.mlir", DONE, out=r"nn\.relu")
    yield Case("nnopt-opt {m}/model.onnx", DONE, out=r"nn\.relu")
    yield Case("nnopt-opt {m}/model.onnx --canonicalize -o text", DONE, makes=["text"])
    yield Case("nnopt-opt {m}/model.onnx --fuse-elementwise --remarks-filter=.* --remark-format=emitRemark", DONE,
               says=r"fuse-elementwise")
    yield Case("nnopt-opt {m}/model.onnx -o nowhere/text", FAILED, r"nowhere/text")
    yield Case("nnopt-opt {m}/short.onnx", INVALID, r"short\.onnx")
    yield Case("nnopt-opt {m}/odd.onnx", UNSUPPORTED, r"\w")
    yield Case("nnopt-opt {m}/bad.mlir", None, r"nonsense|bad\.mlir")
    yield Case("nnopt-opt {m}/absent.mlir", None, r"absent\.mlir")


# ------------------------------------------------------------------------------- running
def check(case, material, folder):
    """Problems of one case, as texts."""
    if case.prepare == "copy.onnx":
        shutil.copy(os.path.join(material, "model.onnx"), os.path.join(folder, "copy.onnx"))
    elif case.prepare:
        case.prepare(folder)
    before = open(os.path.join(folder, "copy.onnx"), "rb").read() if case.prepare == "copy.onnx" else None
    words = case.command if isinstance(case.command, list) else case.command.split()
    command = [word.replace("{m}", material) for word in words]
    command[0] = tool(command[0])
    # LLVM's crash handler would hide a signal as an exit code with a stack dump.
    try:
        run = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=300)
    except subprocess.TimeoutExpired:
        return ["no result after 300 s"]
    out, err = run.stdout.decode(errors="replace"), run.stderr.decode(errors="replace")
    problems = []
    if run.returncode < 0 or run.returncode > 4:
        problems.append(f"exit {run.returncode}")
    elif case.code is None and run.returncode == 0:
        problems.append("exit 0, expected a failure")
    elif case.code is not None and run.returncode != case.code:
        problems.append(f"exit {run.returncode}, expected {case.code}")
    if "Stack dump" in err or "PLEASE submit" in err:
        problems.append("a crash")
    first = err.split("\n", 1)[0]
    if case.says and not re.search(case.says, first):
        problems.append(f"the first line does not match /{case.says}/")
    if case.code not in (DONE, None) and not first.strip():
        problems.append("no message")
    if case.out and not re.search(case.out, out):
        problems.append(f"stdout does not match /{case.out}/")
    found = sorted(os.listdir(folder))
    if case.makes is not None and found != sorted(case.makes):
        problems.append(f"files {found}, expected {sorted(case.makes)}")
    if before is not None and open(os.path.join(folder, "copy.onnx"), "rb").read() != before:
        problems.append("the input file was changed")
    if case.code != DONE and case.prepare is keep_old and open(os.path.join(folder, "old.so")).read() != "old":
        problems.append("a failed run changed the output of an earlier one")
    if problems and err:
        problems.append("stderr: " + err.strip()[:600])
    return problems


def full_disk(material, folder):
    """Writes to a disk that is full: a tiny tmpfs, where we may mount one."""
    disk = os.path.join(folder, "disk")
    os.mkdir(disk)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", disk], capture_output=True)
    if mounted.returncode != 0:
        print("  (no tmpfs here: full disk is tested with /dev/full only)")
        return []
    results = []
    try:
        for command in (["nnopt-compile", f"{material}/model.onnx", "-o", f"{disk}/out.so"],
                        ["nnopt-compile", f"{material}/model.onnx", "--emit=obj", "-o", f"{disk}/out.o"],
                        ["nnopt-compile", f"{material}/model.onnx", "--emit=llvm", "-o", f"{disk}/out.ll"]):
            run = subprocess.run([tool(command[0])] + command[1:], stdin=subprocess.DEVNULL, capture_output=True, timeout=300)
            problems = []
            if run.returncode != FAILED:
                problems.append(f"exit {run.returncode}, expected {FAILED}")
            if disk not in run.stderr.decode().split("\n", 1)[0]:
                problems.append("the first line does not name the file: " + run.stderr.decode()[:300])
            for name in os.listdir(disk):
                if command[2] != "--emit=obj" or not name.endswith((".o", ".h", ".weights")) or ".tmp" in name:
                    problems.append(f"left behind: {name}")
                os.remove(os.path.join(disk, name))
            results.append(("full disk: " + " ".join(command[:1] + command[2:3]), problems))
    finally:
        subprocess.run(["umount", disk], check=True)
    return results


def interrupted(material, folder):
    """A reader that goes away (head) must not be reported as success of a signal."""
    command = f"'{tool('nnopt-compile')}' '{material}/model.onnx' --emit=asm | head -c 10 >/dev/null; echo ${{PIPESTATUS[0]}}"
    run = subprocess.run(["bash", "-c", command], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)
    code = int(run.stdout.split()[-1])
    # Small output may fit the pipe; otherwise a failure to write (1), or the usual SIGPIPE of a filter.
    return [("closed pipe", [] if code in (0, 1, 141) and "Stack dump" not in run.stderr else [f"exit {code}: {run.stderr[:300]}"])]


def permissions(material, folder):
    """The artifact can be read by others as far as the umask says, like any other file."""
    subprocess.run([tool("nnopt-compile"), f"{material}/model.onnx", "-o", "out.so"], cwd=folder, check=True,
                   stdin=subprocess.DEVNULL, capture_output=True, umask=0o022)
    mode = stat.S_IMODE(os.stat(os.path.join(folder, "out.so")).st_mode)
    return [("permissions of the output", [] if mode in (0o644, 0o755) else [f"mode {mode:o}"])]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("-k", default="", help="only cases whose command contains this")
    only = parser.parse_args().k
    passed = failed = 0

    def record(name, problems):
        nonlocal passed, failed
        if problems:
            failed += 1
            print(f"FAIL {name}\n     " + "\n     ".join(problems), flush=True)
        else:
            passed += 1

    with tempfile.TemporaryDirectory(prefix="nnopt-cli-") as top:
        material = os.path.join(top, "material")
        os.mkdir(material)
        make_material(material)
        for number, case in enumerate(cases()):
            name = case.command if isinstance(case.command, str) else " ".join(case.command)
            if only not in name:
                continue
            folder = os.path.join(top, f"case{number}")
            os.mkdir(folder)
            record(name, check(case, material, folder))
        if not only:
            for function in (full_disk, interrupted, permissions):
                folder = os.path.join(top, function.__name__)
                os.mkdir(folder)
                for name, problems in function(material, folder):
                    record(name, problems)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
