#!/usr/bin/env python3
"""The runtime on a driver that is made for tests (test/support/cuda/libcuda.c): kernels run on the CPU, device memory is
out of the host's reach, every call is recorded, and any of them fails on demand.

Ends with `N passed, N failed`.
"""
import ctypes as C
import json
import os
import re
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import nnopt  # noqa: E402

CLANG = "/usr/lib/llvm-22/bin/clang"
SUPPORT = os.path.join(nnopt.ROOT, "test", "support")
FLOAT, DOUBLE = TensorProto.FLOAT, TensorProto.DOUBLE


# --------------------------------------------------------------------- models
def save(path, nodes, inputs, outputs, constants):
    values = [[helper.make_tensor_value_info(n, t, s) for n, t, s in v] for v in (inputs, outputs)]
    graph = helper.make_graph(nodes, "g", *values, [numpy_helper.from_array(v, k) for k, v in constants.items()])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=11), path)


def layers(path):
    """Two layers over a batch of any size."""
    rng = np.random.default_rng(0)
    w = {"w1": rng.standard_normal((16, 40)).astype(np.float32), "b1": rng.standard_normal(40).astype(np.float32),
         "w2": rng.standard_normal((40, 8)).astype(np.float32)}
    nodes = [helper.make_node("MatMul", ["x", "w1"], ["h0"], "first"), helper.make_node("Add", ["h0", "b1"], ["h1"], "bias"),
             helper.make_node("Relu", ["h1"], ["h2"], "relu"), helper.make_node("MatMul", ["h2", "w2"], ["h3"], "second"),
             helper.make_node("Softmax", ["h3"], ["y"], "softmax")]
    save(path, nodes, [("x", FLOAT, ["batch", 16])], [("y", FLOAT, ["batch", 8])], w)


def host(path):
    """A function of doubles, for which GPUs need a library: it runs on the CPU."""
    nodes = [helper.make_node("Cast", ["x"], ["d"], "widen", to=DOUBLE), helper.make_node("Sin", ["d"], ["s"], "sine"),
             helper.make_node("Cast", ["s"], ["y"], "narrow", to=FLOAT)]
    save(path, nodes, [("x", FLOAT, ["n"])], [("y", FLOAT, ["n"])], {})


def cache(path):
    """Attention over a cache that grows by one row in each step."""
    nodes = [helper.make_node("Concat", [f"past_{n}", n], [f"present_{n}"], f"append_{n}", axis=2) for n in "kv"]
    nodes.append(helper.make_node("Attention", ["q", "present_k", "present_v"], ["y"], "attend"))
    row, past, present = [1, 2, 1, 8], [1, 2, "past", 8], [1, 2, "present", 8]
    save(path, nodes, [(n, FLOAT, row) for n in "qkv"] + [(f"past_{n}", FLOAT, past) for n in "kv"],
         [("y", FLOAT, row)] + [(f"present_{n}", FLOAT, present) for n in "kv"], {})


MODELS = {f.__name__: f for f in (layers, host, cache)}


# --------------------------------------------------------------------- what runs in processes of their own
def with_cpu(path):
    """A session on the CPU and one on the GPU."""
    return nnopt.Session(path), nnopt.Session(path, device="cuda")


def log_lines():
    with open(os.environ["FAKE_CUDA_LOG"], "rb+", buffering=0) as f:
        return f.read().decode().splitlines()


def flush():
    C.CDLL(None).fflush(None)


def calls_of(name, action):
    """How often `action` calls a function of the driver."""
    flush()
    before = len(log_lines())
    action()
    flush()
    return sum(line.split(" ")[0] == name for line in log_lines()[before:])


def shapes(path):
    """Batches that change, and come back: each is recorded once."""
    cpu, gpu = with_cpu(path)
    rng = np.random.default_rng(1)
    feeds = {n: {"x": rng.standard_normal((n, 16)).astype(np.float32)} for n in (1, 3, 37)}
    for n in (1, 3, 37, 1, 3, 37, 1, 3):
        gpu.prepare(feeds[n])
        for _ in range(3):
            gpu.step()
            assert nnopt.difference(gpu.results[0], cpu.run(None, feeds[n])[0]) < 1e-5
    lines = (flush(), log_lines())[1]
    count = lambda name: sum(line.split(" ")[0] == name for line in lines)
    # The session's own memory is the same for all of them, so that each of the three is one graph (and one more
    # where memory grew after it was recorded).
    assert 3 <= count("cuGraphInstantiate") <= 5, count("cuGraphInstantiate")
    assert count("cuGraphLaunch") >= 14, count("cuGraphLaunch")
    cpu.close()
    gpu.close()


def sessions(path):
    """Weights are uploaded once, for all sessions."""
    model = nnopt.Session(path, device="cuda")
    second, options = C.c_void_p(), nnopt._Options()
    lib = model.lib
    lib.nnopt_options_init(C.byref(options))
    options.device_type = 2
    uploads = calls_of("cuMemcpyHtoDAsync", lambda: model._check(lib.nnopt_session_create(
        model.model, C.byref(options), C.byref(second), C.byref(model.error))))
    assert uploads == 0, uploads
    lib.nnopt_session_destroy(second)
    model.close()


def dlpack(path):
    """Inputs and outputs on the GPU, and the caller's stream: nothing is copied, nothing waits."""
    driver = C.CDLL("libcuda.so.1")
    cpu = nnopt.Session(path)
    x = np.random.default_rng(2).standard_normal((5, 16)).astype(np.float32)
    want = cpu.run(None, {"x": x})[0]
    gpu = nnopt.Session(path, device="cuda")
    stream, options, session = C.c_void_p(), nnopt._Options(), C.c_void_p()
    context = C.c_void_p()
    assert driver.cuDevicePrimaryCtxRetain(C.byref(context), 0) == 0 and driver.cuCtxPushCurrent_v2(context) == 0
    assert driver.cuStreamCreate(C.byref(stream), 1) == 0
    gpu.lib.nnopt_options_init(C.byref(options))
    options.device_type, options.stream = 2, stream
    gpu._check(gpu.lib.nnopt_session_create(gpu.model, C.byref(options), C.byref(session), C.byref(gpu.error)))
    pointers = [C.c_uint64(), C.c_uint64()]
    for pointer, array in zip(pointers, (x, want)):
        assert driver.cuMemAlloc_v2(C.byref(pointer), C.c_size_t(array.nbytes)) == 0
    driver.cuMemcpyHtoDAsync_v2(pointers[0], x.ctypes.data_as(C.c_void_p), C.c_size_t(x.nbytes), stream)
    tensors = []
    for pointer, array in zip(pointers, (x, want)):
        tensor, alive = nnopt._describe(array)
        tensor.data, tensor.device.device_type = pointer.value, 2
        tensors.append((tensor, alive))
    arguments = [(C.POINTER(nnopt._DLTensor) * 1)(C.pointer(t)) for t, _ in tensors]

    def run():
        gpu._check(gpu.lib.nnopt_session_run(session, arguments[0], 1, arguments[1], 1, C.byref(gpu.error)))
    run()
    for name in ("cuMemcpyHtoDAsync", "cuMemcpyDtoHAsync", "cuMemcpyDtoDAsync", "cuStreamSynchronize", "cuMemAlloc"):
        assert calls_of(name, run) == 0, name
    got = np.empty_like(want)
    driver.cuMemcpyDtoHAsync_v2(got.ctypes.data_as(C.c_void_p), pointers[1], C.c_size_t(got.nbytes), stream)
    assert nnopt.difference(got, want) < 1e-5
    gpu.lib.nnopt_session_destroy(session)
    gpu.close()
    cpu.close()
    for pointer in pointers:
        driver.cuMemFree_v2(pointer)
    driver.cuStreamDestroy_v2(stream)
    driver.cuCtxPopCurrent_v2(C.byref(context))
    driver.cuDevicePrimaryCtxRelease_v2(0)


def states(path):
    """A cache that is bound grows where it is: no step copies what is in it."""
    rng = np.random.default_rng(3)
    step = lambda: {n: rng.standard_normal((1, 2, 1, 8)).astype(np.float32) for n in "qkv"}
    cpu, gpu = with_cpu(path)
    lib, past = gpu.lib, {n: rng.standard_normal((1, 2, 3, 8)).astype(np.float32) for n in ("past_k", "past_v")}
    lib.nnopt_session_bind_state.argtypes = [C.c_void_p, C.c_char_p, C.c_char_p, C.c_int64, C.c_void_p]
    lib.nnopt_session_set_state.argtypes = [C.c_void_p, C.c_char_p, C.c_void_p, C.c_void_p]
    for n in "kv":
        gpu._check(lib.nnopt_session_bind_state(gpu.session, f"past_{n}".encode(), f"present_{n}".encode(), 12,
                                                C.byref(gpu.error)))
        tensor, alive = nnopt._describe(past[f"past_{n}"])
        gpu._check(lib.nnopt_session_set_state(gpu.session, f"past_{n}".encode(), C.byref(tensor), C.byref(gpu.error)))
        del alive
    null = C.POINTER(nnopt._DLTensor)()
    for number in range(9):
        feeds = step()
        want = cpu.run(None, {**feeds, **past})
        y = np.empty((1, 2, 1, 8), np.float32)
        described = [nnopt._describe(feeds[n]) for n in "qkv"] + [nnopt._describe(y)]
        inputs = (C.POINTER(nnopt._DLTensor) * 5)(*[C.pointer(d[0]) for d in described[:3]], null, null)
        last = number == 8
        if last:  # a state can be asked for, too
            present = np.empty((1, 2, 12, 8), np.float32)
            described.append(nnopt._describe(present))
        outputs = (C.POINTER(nnopt._DLTensor) * 3)(C.pointer(described[3][0]), C.pointer(described[4][0]) if last else null, null)
        copies = calls_of("cuMemcpyDtoDAsync", lambda: gpu._check(
            lib.nnopt_session_run(gpu.session, inputs, 5, outputs, 3, C.byref(gpu.error))))
        assert last or copies == 0, copies
        assert nnopt.difference(y, want[0]) < 1e-5, (number, nnopt.difference(y, want[0]))
        past = {"past_k": want[1], "past_v": want[2]}
    assert np.array_equal(present, want[1])
    cpu.close()
    gpu.close()


CHILDREN = {"shapes": layers, "sessions": layers, "dlpack": layers, "states": cache}


# --------------------------------------------------------------------- the driver's side
class Tests:
    def __init__(self, folder):
        self.folder, self.passed, self.failed = folder, 0, 0
        self.log = os.path.join(folder, "log")
        simt = os.path.join(folder, "simt.o")
        subprocess.run([CLANG, "-O2", "-fPIC", "-c", os.path.join(SUPPORT, "simt", "simt.c"), "-o", simt], check=True)
        subprocess.run([CLANG, "-O1", "-fPIC", "-shared", "-Wall", "-Wextra", "-Werror", "-I", nnopt.ROOT,
                        os.path.join(SUPPORT, "cuda", "libcuda.c"), "-o", os.path.join(folder, "libcuda.so.1"), "-ldl"], check=True)
        for name, make in MODELS.items():
            model = os.path.join(folder, name + ".onnx")
            make(model)
            nnopt.compile(model, self.path(name), ["--quiet", "--gpu=sm_80"])
            nnopt.compile(model, self.path(name, "emulated"), ["--quiet", "--gpu=emulate", f"--link={simt}"])

    def path(self, name, kind="gpu"):
        return os.path.join(self.folder, f"{name}.{kind}.so")

    def check(self, what, holds, detail=""):
        self.passed, self.failed = self.passed + bool(holds), self.failed + (not holds)
        if not holds:
            print(f"FAIL  {what}: {detail}", flush=True)

    def run(self, name, *command, **settings):
        """Exit code, output, messages and the driver's log of a process that has the driver."""
        environment = dict(os.environ, LD_LIBRARY_PATH=self.folder, FAKE_CUDA_KERNELS=self.path(name, "emulated"),
                           FAKE_CUDA_LOG=self.log, **settings)
        if os.path.exists(self.log):
            os.remove(self.log)
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
        log = ""
        if os.path.exists(self.log):
            with open(self.log) as f:
                log = f.read()
        return done.returncode, done.stdout, done.stderr, log

    def tool(self, name, *arguments, **settings):
        return self.run(name, nnopt.tool("nnopt-run"), self.path(name), "--device=cuda", *arguments, **settings)

    def all_released(self, log):
        return re.search(r"^left: " + ", ".join(["0 \\w+"] * 9) + "$", log, re.M) is not None

    def children(self):
        for name, model in CHILDREN.items():
            code, out, err, log = self.run(model.__name__, sys.executable, __file__, "--child", name, self.path(model.__name__))
            self.check(name, code == 0, (code, (out + err)[-900:]))
            self.check(f"{name}: everything is released", self.all_released(log), log[-200:])

    def tools(self):
        out, json_file = os.path.join(self.folder, "out.npz"), os.path.join(self.folder, "run.json")
        inputs = os.path.join(self.folder, "in.npz")
        np.savez(inputs, x=np.linspace(-1, 1, 7 * 16, dtype=np.float32).reshape(7, 16))
        code, _, err, log = self.tool("layers", f"--inputs={inputs}", f"--outputs={out}", "--quiet", "--repeat=5")
        self.check("runs", code == 0, err)
        got = dict(np.load(out)) if code == 0 else {}
        subprocess.run([nnopt.tool("nnopt-run"), self.path("layers"), f"--inputs={inputs}", f"--outputs={out}", "--quiet"], check=True)
        want = dict(np.load(out))
        self.check("as on the CPU", got and nnopt.difference(got["y"], want["y"]) < 1e-5)
        self.check("one graph", log.count("cuGraphInstantiate") == 1 and log.count("cuGraphLaunch") >= 4, log[-400:])
        self.check("everything is released", self.all_released(log), log[-200:])
        code, text, err, _ = self.tool("layers", f"--inputs={inputs}", "--profile", f"--json={json_file}")
        self.check("profile", code == 0 and "first" in text and "second" in text and "GPU" in text, (code, text, err))
        with open(json_file) as f:
            report = json.load(f)
        # 108 multiprocessors of 64 units at 1.41 GHz; 5120 bits at 2 * 1.215 GHz.
        bound = report["roofline"]
        self.check("bounds of the GPU", abs(bound["gflops"] - 19491.84) < 1 and abs(bound["gbytes"] - 1555.2) < 1, bound)
        nodes = ",".join(k["nodes"] for k in report["kernels"])
        self.check("profile has every node", all(n in nodes for n in ("first", "bias", "relu", "second", "softmax")), nodes)
        self.check("and no copies to the CPU", not any("CPU" in k["kernel"] for k in report["kernels"]))

        np.savez(inputs, x=np.linspace(-1, 1, 50, dtype=np.float32))
        code, text, err, log = self.tool("host", f"--inputs={inputs}", f"--outputs={out}", "--profile", f"--json={json_file}")
        self.check("a node on the CPU", code == 0 and nnopt.difference(dict(np.load(out))["y"], np.sin(np.load(inputs)["x"])) < 1e-6, err)
        with open(json_file) as f:
            copies = {k["kernel"]: k["nodes"] for k in json.load(f)["kernels"] if k["op"] == "copy"}
        self.check("its copies are named", set(copies) == {"copy to the CPU", "copy from the CPU"} and
                   all("sine" in nodes for nodes in copies.values()), copies)
        self.check("no graph with it", "cuGraphInstantiate" not in log)

    def failures(self):
        """Every function of the driver fails, at its first call and amid the others: one line, no signal, nothing leaks."""
        inputs = os.path.join(self.folder, "in.npz")
        np.savez(inputs, x=np.zeros((3, 16), np.float32))
        arguments = (f"--inputs={inputs}", "--quiet", "--repeat=4")
        _, _, _, log = self.tool("layers", *arguments)
        counts = {}
        for line in log.splitlines():
            counts[line.split(" ")[0]] = counts.get(line.split(" ")[0], 0) + 1
        with open(os.path.join(SUPPORT, "cuda", "libcuda.c")) as f:
            functions = re.findall(r"^int (cu\w+)\([^;]*?\{\n  (?:CALL|record)\(\"(\w+)", f.read(), re.M)
        # What undoes something cannot be helped when it fails.
        undo = re.compile("Free|Destroy|Unload|Release")
        tried = [(symbol, n) for symbol, name in functions if name in counts and not undo.search(name)
                 for n in sorted({1, (counts[name] + 1) // 2})]
        for symbol, n in tried:
            code, out, err, log = self.tool("layers", *arguments, FAKE_CUDA_FAIL=f"{symbol}:{n}:700")
            lines = err.strip().splitlines()
            # The second image is tried where the first does not load; attributes are only asked for.
            helped = symbol in ("cuModuleLoadData", "cuDeviceGetAttribute")
            self.check(f"{symbol} fails at call {n}", helped and code >= 0 or code in (1, 3, 4) and len(lines) == 1, (code, out, err))
            self.check(f"{symbol} fails at call {n}: nothing leaks", self.all_released(log), log[-200:])
        self.check("calls that failed", len(tried) > 20, len(tried))
        code, _, err, _ = self.tool("layers", *arguments, FAKE_CUDA_FAIL="cuLaunchKernelEx:2:700")
        self.check("a launch names its node", "node second" in err and "illegal memory access" in err, err)
        code, _, err, _ = self.tool("layers", *arguments, FAKE_CUDA_FAIL="cuMemAlloc_v2:1:2")
        self.check("out of memory says what to do", code == 1 and "smaller batch" in err, err)
        code, _, err, _ = self.tool("layers", *arguments, FAKE_CUDA_FAIL="cuInit:1:100")
        self.check("no GPU", code == 4 and "run on the CPU instead" in err, err)
        code, _, err, _ = self.tool("layers", *arguments, FAKE_CUDA_ARCH="75")
        self.check("an older GPU", code == 4 and "--gpu=sm_75" in err, err)
        code, _, err, _ = self.tool("layers", f"--inputs={inputs}", "--profile", FAKE_CUDA_FAIL="cuEventSynchronize:2:700")
        self.check("the profiler names the kernel that fails", code == 1 and "node " in err, err)


def main():
    if "--child" in sys.argv:
        name, path = sys.argv[-2:]
        return globals()[name](path)
    with tempfile.TemporaryDirectory() as folder:
        tests = Tests(folder)
        tests.tools()
        tests.children()
        tests.failures()
        print(f"{tests.passed} passed, {tests.failed} failed")
        return 1 if tests.failed else 0


if __name__ == "__main__":
    sys.exit(main())
