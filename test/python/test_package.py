"""nnopt.compile, nnopt.load, Model and Session."""
import os
import re
import subprocess
import threading

import numpy as np
import pytest
from onnx import TensorProto, helper

import nnopt
from conftest import ROOT, make


def stderr_of(*arguments):
    result = subprocess.run([nnopt.tool("nnopt-compile"), *arguments], capture_output=True, text=True)
    return result.stderr.strip(), result.returncode


# ------------------------------------------------------------------------------- compiling
def test_compile_and_run(example, tmp_path):
    model_path, inputs, expected = example
    model = nnopt.compile(model_path, tmp_path / "f.so")
    outputs = model.run(dict(np.load(inputs)))
    wanted = np.load(expected)
    assert list(outputs) == [o.name for o in model.outputs]
    for name in wanted.files:
        if name in outputs:
            np.testing.assert_allclose(outputs[name], wanted[name], rtol=1e-4, atol=1e-4)
    assert set(outputs) & set(wanted.files)
    again = nnopt.load(tmp_path / "f.so").run(dict(np.load(inputs)))
    for name in outputs:
        np.testing.assert_array_equal(outputs[name], again[name])


def test_queries(example):
    model = nnopt.compile(example[0])
    (image,), (scores,) = model.inputs, model.outputs
    assert image.dtype == np.float32 and image.shape == ("batch", 1, 28, 28) and image.onnx_type == TensorProto.FLOAT
    assert scores.shape[0] == "batch"
    assert model.symbols == {"batch": (0, None)} or model.symbols["batch"][1] is None
    assert model.properties["producer"].startswith("nnopt ") and model.properties["opt"] == "2"
    assert model.memory(batch=4)["arena_bytes"] > model.memory(batch=1)["arena_bytes"] > 0
    assert "batch" in repr(model)


def test_options(example, tmp_path):
    model = nnopt.compile(example[0], dim={"batch": 2}, opt=0, target="x86-64-v3",
                          report=[tmp_path / "r.json", tmp_path / "r.html"])
    assert model.inputs[0].shape[0] == 2 and model.properties["opt"] == "0" and model.properties["target"] == "x86-64-v3"
    assert sorted(os.listdir(tmp_path)) == ["r.html", "r.json"]
    bounded = nnopt.compile(example[0], dim={"batch": (1, 8)}, exact_conv=True, verify=False)
    assert bounded.symbols == {"batch": (1, 8)}


def test_from_memory():
    proto = make([("Relu", ["x"], ["y"], {})], {"x": ("FLOAT", [3])}, {"y": ("FLOAT", [3])})
    for source in (proto, proto.SerializeToString()):
        assert nnopt.compile(source).run([-1, 2, 3])["y"].tolist() == [0, 2, 3]


def test_warnings():
    proto = make([("Relu", ["x"], ["y"], {})], {"x": ("FLOAT", [3])}, {"y": ("FLOAT", [3])})
    proto.ir_version = 99
    with pytest.warns(UserWarning, match="IR version 99"):
        nnopt.compile(proto)


def test_compile_errors(example, tmp_path):
    missing = str(tmp_path / "missing.onnx")
    with pytest.raises(nnopt.Error) as error:
        nnopt.compile(missing)
    assert (str(error.value), error.value.code) == stderr_of(missing) and error.value.code == 3

    strange = tmp_path / "strange.onnx"
    proto = make([("Relu", ["x"], ["m"], {}), ("Relu", ["m"], ["y"], {})], {"x": ("FLOAT", [3])}, {"y": ("FLOAT", [3])})
    for node in proto.graph.node:
        node.op_type, node.domain = "Whirl", "com.example"
    proto.opset_import.append(helper.make_opsetid("com.example", 1))
    strange.write_bytes(proto.SerializeToString())
    for function in (nnopt.compile, nnopt.check):
        with pytest.raises(nnopt.Error) as error:
            function(strange)
        assert (str(error.value), error.value.code) == stderr_of(str(strange), "--check") and error.value.code == 4

    with pytest.raises(nnopt.Error) as error:
        nnopt.compile(example[0], dim={"width": 3})
    assert error.value.code == 2 and "width" in str(error.value)
    with pytest.raises(nnopt.Error) as error:
        nnopt.compile(example[0], no_such_flag=True)
    assert error.value.code == 2 and "no-such-flag" in str(error.value)


def test_load_errors(tmp_path):
    with pytest.raises(nnopt.Error) as error:
        nnopt.load(tmp_path / "missing.so")
    assert "missing.so" in str(error.value) and error.value.code in (1, 3)
    (tmp_path / "text.so").write_text("no artifact\n" * 100)
    with pytest.raises(nnopt.Error) as error:
        nnopt.load(tmp_path / "text.so")
    assert "text.so" in str(error.value) and error.value.code == 3


def test_no_file_is_left(example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    import tempfile
    monkeypatch.setattr(tempfile, "tempdir", None)
    model = nnopt.compile(example[0])
    assert os.listdir(tmp_path) == []
    assert model.run(dict(np.load(example[1])))


# ------------------------------------------------------------------------------- running
X, B = np.arange(8, dtype=np.float32).reshape(2, 4), np.float32([10, 20, 30, 40])
Y = 2 * X + B


def test_ways_to_pass_inputs(scale_shift):
    for result in (scale_shift.run({"x": X, "b": B}), scale_shift.run(X, B), scale_shift.run(x=X, b=B),
                   scale_shift.run(X, b=B), scale_shift({"x": X}, b=B), scale_shift.run(X.tolist(), [10, 20, 30, 40])):
        np.testing.assert_array_equal(result["y"], Y)


def test_memory_layouts(scale_shift):
    wide = np.zeros((2, 8), np.float32)
    wide[:, ::2] = X
    frozen = X.copy()
    frozen.setflags(write=False)
    for x in (wide[:, ::2], np.asfortranarray(X), frozen, X.astype(">f4"), X[::-1][::-1]):
        np.testing.assert_array_equal(scale_shift.run(x, B)["y"], Y)


class Foreign:
    """An array of another library: it speaks DLPack and nothing else."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


def test_dlpack_in_and_out(scale_shift):
    out = np.zeros((2, 4), np.float32)
    foreign = Foreign(out)
    result = scale_shift.run(Foreign(X.copy()), Foreign(B.copy()), outputs={"y": foreign})
    assert result["y"] is foreign
    np.testing.assert_array_equal(out, Y)  # written in place
    y = scale_shift.run(X, B)["y"]
    view = np.from_dlpack(y)
    assert np.shares_memory(view, y)


def test_outputs_in_place(scale_shift):
    out = np.zeros((2, 4), np.float32)
    assert scale_shift.run(X, B, outputs={"y": out})["y"] is out
    np.testing.assert_array_equal(out, Y)
    wide = np.zeros((2, 8), np.float32)
    scale_shift.run(X, B, outputs={"y": wide[:, 4:]})
    np.testing.assert_array_equal(wide[:, 4:], Y)
    assert not wide[:, :4].any()


@pytest.mark.parametrize("call, words", [
    (lambda m: m.run({"x": X}), "no input named b"),
    (lambda m: m.run({"x": X, "b": B, "z": B}), "no input z"),
    (lambda m: m.run(X, B, B), "3 inputs given"),
    (lambda m: m.run(X[:, :3], B), "x"),
    (lambda m: m.run(X.astype(np.float64), B), "x"),
    (lambda m: m.run(X[0], B), "x"),
    (lambda m: m.run(X, B, outputs={"z": X}), "no output named z"),
    (lambda m: m.run(X, B, outputs={"y": np.zeros((3, 4), np.float32)}), "y"),
])
def test_run_errors(scale_shift, call, words):
    with pytest.raises(nnopt.Error) as error:
        call(scale_shift)
    assert words in str(error.value) and error.value.code == 3
    np.testing.assert_array_equal(scale_shift.run(X, B)["y"], Y)  # still works


def test_read_only_outputs_are_refused(scale_shift):
    out = np.zeros((2, 4), np.float32)
    out.setflags(write=False)
    with pytest.raises((TypeError, nnopt.Error)):
        scale_shift.run(X, B, outputs={"y": out})
    assert not out.any()


@pytest.mark.parametrize("onnx_type, dtype", [
    ("FLOAT16", "float16"), ("DOUBLE", "float64"), ("INT8", "int8"), ("UINT8", "uint8"), ("INT16", "int16"),
    ("UINT16", "uint16"), ("INT32", "int32"), ("INT64", "int64"), ("UINT32", "uint32"), ("UINT64", "uint64"),
    ("BOOL", "bool"), ("BFLOAT16", "bfloat16"), ("FLOAT8E4M3FN", "float8_e4m3fn"), ("FLOAT8E5M2", "float8_e5m2")])
def test_types(onnx_type, dtype):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    dtype = np.dtype(getattr(ml_dtypes, dtype, None) or dtype)
    model = nnopt.compile(make([("Transpose", ["x"], ["y"], {})], {"x": (onnx_type, [2, 3])}, {"y": (onnx_type, [3, 2])},
                               opset=21))
    x = np.arange(6).reshape(2, 3).astype(dtype)
    y = model.run(x)["y"]
    assert model.inputs[0].dtype == dtype == y.dtype
    np.testing.assert_array_equal(y, x.T)


def test_sizes_that_depend_on_data():
    model = nnopt.compile(make([("NonZero", ["x"], ["y"], {})], {"x": ("FLOAT", ["n"])}, {"y": ("INT64", [1, "found"])}))
    y = model.run(np.float32([0, 3, 0, 4]))["y"]
    assert y.tolist() == [[1, 3]]
    del model
    assert y.tolist() == [[1, 3]]  # outlives its model
    y[:] = 7


def test_state():
    model = nnopt.compile(make([("Concat", ["past", "x"], ["present"], {"axis": 1}),
                                ("ReduceSum", ["present", "axes"], ["y"], {"keepdims": 0})],
                               {"x": ("FLOAT", [2, "step"]), "past": ("FLOAT", [2, "length"])},
                               {"y": ("FLOAT", [2]), "present": ("FLOAT", [2, "all"])},
                               [helper.make_tensor("axes", TensorProto.INT64, [1], [1])]))
    session = model.session(threads=1)
    session.bind_state("past", "present", 16)
    ones = np.ones((2, 1), np.float32)
    for step in range(1, 5):
        result = session.run(ones * step)
        assert list(result) == ["y"] and result["y"].tolist() == [sum(range(step + 1))] * 2
    session.reset_states()
    assert session.run({"x": ones})["y"].tolist() == [1, 1]
    session.set_state("past", np.full((2, 3), 5, np.float32))
    assert session.run({"x": ones})["y"].tolist() == [16, 16]
    assert session.threads == 1 and session.memory["other_bytes"] > 0
    with pytest.raises(nnopt.Error):
        session.bind_state("nothing", "present", 4)


def decoder():
    """One attention with a KV cache along axis 2: q, k, v [batch, 2, step, 8]."""
    new, past, all_ = ["batch", 2, "step", 8], ["batch", 2, "length", 8], ["batch", 2, "all", 8]
    return make([("Concat", ["past_k", "k"], ["present_k"], {"axis": 2}), ("Concat", ["past_v", "v"], ["present_v"], {"axis": 2}),
                 ("Transpose", ["present_k"], ["kt"], {"perm": [0, 1, 3, 2]}), ("MatMul", ["q", "kt"], ["s"], {}),
                 ("Softmax", ["s"], ["p"], {"axis": -1}), ("MatMul", ["p", "present_v"], ["y"], {})],
                {"q": ("FLOAT", new), "k": ("FLOAT", new), "v": ("FLOAT", new), "past_k": ("FLOAT", past), "past_v": ("FLOAT", past)},
                {"y": ("FLOAT", new), "present_k": ("FLOAT", all_), "present_v": ("FLOAT", all_)})


@pytest.mark.parametrize("batch", [1, 3])
def test_state_in_place(batch):
    model = nnopt.compile(decoder())
    plain, session = model.session(threads=1), model.session(threads=2)
    for name in "kv":
        session.bind_state("past_" + name, "present_" + name, 20)
    generator = np.random.default_rng(batch)
    past = {"past_" + n: np.zeros((batch, 2, 0, 8), np.float32) for n in "kv"}
    bytes_ = None
    for step in (3, 1, 1, 2, 1):
        new = {n: generator.standard_normal((batch, 2, step, 8), np.float32) for n in "qkv"}
        want = plain.run({**new, **past})
        whole = {"present_v": np.empty(want["present_v"].shape, np.float32)} if step == 2 else None
        got = session.run(new, outputs=whole)
        np.testing.assert_array_equal(got["y"], want["y"])
        if step == 2:  # the whole state as an output, compact
            np.testing.assert_array_equal(got["present_v"], want["present_v"])
        past = {"past_" + n: want["present_" + n] for n in "kv"}
    # One block of memory for each state, and room for one compact copy.
    state = 20 * batch * 2 * 8 * 4
    assert session.memory["other_bytes"] < 4 * state
    # Setting a state lays it out for the capacity.
    past = {n: generator.standard_normal((batch, 2, 5, 8), np.float32) for n in past}
    for name, value in past.items():
        session.set_state(name, value)
    new = {n: generator.standard_normal((batch, 2, 1, 8), np.float32) for n in "qkv"}
    np.testing.assert_array_equal(session.run(new)["y"], plain.run({**new, **past})["y"])
    session.reset_states()
    new = {n: generator.standard_normal((batch, 2, 20, 8), np.float32) for n in "qkv"}
    empty = {n: np.zeros((batch, 2, 0, 8), np.float32) for n in past}
    np.testing.assert_array_equal(session.run(new)["y"], plain.run({**new, **empty})["y"])
    with pytest.raises(nnopt.Error, match="full"):
        session.run(new)


# ------------------------------------------------------------------------------- threads
def test_other_threads_run_meanwhile():
    # A loop that takes a while: 20000 times 64 KB.
    body = make([("Identity", ["go"], ["go_on"], {}), ("Mul", ["s", "s"], ["t"], {})],
                {"i": ("INT64", []), "go": ("BOOL", []), "s": ("FLOAT", [16384])},
                {"go_on": ("BOOL", []), "t": ("FLOAT", [16384])}).graph
    model = nnopt.compile(make([("Loop", ["count", "", "x"], ["y"], {"body": body})],
                               {"count": ("INT64", []), "x": ("FLOAT", [16384])}, {"y": ("FLOAT", [16384])}), threads=1)
    running = threading.Event()

    def work():
        running.set()
        model.run(np.int64(20000), np.ones(16384, np.float32))
        running.clear()

    thread = threading.Thread(target=work)
    thread.start()
    running.wait()
    count = 0
    while running.is_set():
        count += 1
    thread.join()
    # With the lock held, this thread would have got a few turns at the edges of the call.
    assert count > 1000


def test_many_threads_share_a_model(scale_shift):
    errors = []

    def work(seed):
        x = np.full((3, 4), seed, np.float32)
        for _ in range(50):
            if not (scale_shift.run(x, B)["y"] == 2 * x + B).all():
                errors.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


def test_a_session_is_for_one_thread_at_a_time(scale_shift):
    assert scale_shift.session(threads=2).threads == 2
    assert scale_shift.session().threads == 1  # as the model was opened


# ------------------------------------------------------------------------------- the package itself
def test_stub_is_complete():
    import ast
    from nnopt import _runtime
    folder = os.path.dirname(nnopt.__file__)
    assert os.path.exists(os.path.join(folder, "py.typed"))
    with open(os.path.join(folder, "_runtime.pyi")) as stream:
        tree = ast.parse(stream.read())
    stub = {node.name: node for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    assert set(stub) == {name for name in dir(_runtime) if not name.startswith("_")}
    for name, node in stub.items():
        if isinstance(node, ast.ClassDef):
            methods = {m.name for m in node.body} - {"__init__"}
            assert methods == {m for m in dir(getattr(_runtime, name)) if not m.startswith("_")}


@pytest.mark.parametrize("page", ["README.md", "docs/python.md"])
def test_programs_of_the_documentation(page, tmp_path, monkeypatch):
    os.symlink(os.path.join(ROOT, "examples"), tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    with open(os.path.join(ROOT, page), encoding="utf-8") as stream:
        blocks = re.findall(r"^```python\n(.*?)^```", stream.read(), re.S | re.M)
    assert blocks
    for block in blocks:
        if "BackendTest" not in block:  # the one of test_backend.py
            exec(block, {"__name__": "example"})


def test_tools_are_inside():
    for name in ("nnopt-compile", "nnopt-run", "nnopt-opt", "nnopt-bench"):
        assert subprocess.run([nnopt.tool(name), "--version"], capture_output=True).returncode == 0
    with pytest.raises(nnopt.Error):
        nnopt.tool("nnopt-nothing")
