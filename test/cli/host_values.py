#!/usr/bin/env python3
"""Strings, sequences, optionals and maps through the tools: .npz files and ONNX test data.

    host_values.py        # $NNOPT_BUILD or `build`: where bin/ is

Ends with `N passed, N failed`.
"""
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("NNOPT_BUILD", os.path.join(ROOT, "build"))
F, I64, STR = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING
DONE, FAILED, USAGE, INVALID = range(4)


def model(nodes, inputs, outputs):
    graph = helper.make_graph(nodes, "g", inputs, outputs)
    return helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 20), helper.make_opsetid("ai.onnx.ml", 3)])


def tensor(name, type, *shape):
    return helper.make_tensor_value_info(name, type, shape)


def sequence(name, type, shape):
    return helper.make_tensor_sequence_value_info(name, type, shape)


def optional(name, type, shape):
    return helper.make_value_info(name, helper.make_optional_type_proto(helper.make_tensor_type_proto(type, shape)))


def dictionary(name):
    return helper.make_value_info(name, helper.make_map_type_proto(STR, helper.make_tensor_type_proto(F, [])))


TEXT = model([helper.make_node("StringSplit", ["x"], ["parts", "n"], delimiter=",")], [tensor("x", STR, "k")],
             [helper.make_empty_tensor_value_info("parts"), tensor("n", I64, "k")])
LIST = model([helper.make_node("SequenceInsert", ["s", "x"], ["y"])], [sequence("s", F, ["m"]), tensor("x", F, "k")],
             [sequence("y", F, ["m"])])
MAYBE = model([helper.make_node("OptionalHasElement", ["o"], ["has"]), helper.make_node("Identity", ["o"], ["y"])],
              [optional("o", F, [2])], [tensor("has", TensorProto.BOOL), optional("y", F, [2])])
DICT = model([helper.make_node("DictVectorizer", ["d"], ["x"], domain="ai.onnx.ml", string_vocabulary=["a", "b"]),
              helper.make_node("ZipMap", ["x"], ["y"], domain="ai.onnx.ml", classlabels_strings=["a", "b"])],
             [dictionary("d")], [helper.make_empty_tensor_value_info("y")])
f32 = lambda *v: np.array(v, np.float32)

# (name, model, arrays given, arrays expected)
ARRAYS = [
    ("strings", TEXT, {"x": np.array(["a,bé", "€,,😀"])},
     {"parts": np.array([["a", "bé", ""], ["€", "", "😀"]]), "n": np.array([2, 3])}),
    ("bytes", TEXT, {"x": np.array([b"a,b"])}, {"parts": np.array([["a", "b"]]), "n": np.array([2])}),
    ("no strings", TEXT, {"x": np.array([], "<U1")}, {"parts": np.empty((0, 0), "<U1"), "n": np.empty(0, np.int64)}),
    ("sequence", LIST, {"s/0": f32(1), "s/1": f32(2, 3), "x": f32(4)}, {"y/0": f32(1), "y/1": f32(2, 3), "y/2": f32(4)}),
    ("empty sequence", LIST, {"x": f32(4)}, {"y/0": f32(4)}),
    ("optional", MAYBE, {"o": f32(1, 2)}, {"has": np.array(True), "y": f32(1, 2)}),
    ("absent optional", MAYBE, {}, {"has": np.array(False)}),
    ("map", DICT, {"d/keys": np.array(["b", "c"]), "d/values": f32(5, 6)}, {"y/0/keys": np.array(["a", "b"]), "y/0/values": f32(0, 5)}),
]
# (name, model, arrays given or None, exit code, part of stderr)
REFUSALS = [
    ("random strings", TEXT, None, USAGE, "there are no random values"),
    ("no array", TEXT, {"y": f32(1)}, INVALID, "no array 'x'"),
    ("numbers for strings", TEXT, {"x": f32(1)}, INVALID, "holds float32"),
    ("rank of strings", TEXT, {"x": np.array([["a"]])}, INVALID, "the rank is 2"),
    ("type of an element", LIST, {"s/0": np.array([1]), "x": f32(4)}, INVALID, "holds int64"),
    ("half a map", DICT, {"d/keys": np.array(["b"])}, INVALID, "no array 'd/values'"),
]
# (name, model, inputs, outputs, exit code): as .pb files
DATA = [
    ("data: strings", TEXT, [np.array(["a,b"], object)], [np.array([["a", "b"]], object), np.array([2])], DONE),
    ("data: sequence", LIST, [[f32(1)], f32(2)], [[f32(1), f32(2)]], DONE),
    ("data: optional", MAYBE, [f32(1, 2)], [np.array(True), f32(1, 2)], DONE),
    ("data: absent", MAYBE, [None], [np.array(False), None], DONE),
    ("data: other string", TEXT, [np.array(["a,b"], object)], [np.array([["a", "c"]], object), np.array([2])], FAILED),
    ("data: other length", LIST, [[f32(1)], f32(2)], [[f32(1)]], FAILED),
    ("data: other element", LIST, [[f32(1)], f32(2)], [[f32(1), f32(3)]], FAILED),
    ("data: not absent", MAYBE, [f32(1, 2)], [np.array(True), None], FAILED),
]


def run(*command):
    return subprocess.run([os.path.join(BUILD, "bin", command[0]), *command[1:]], capture_output=True, text=True, timeout=120)


def compiled(folder, made, name):
    path, artifact = os.path.join(folder, name + ".onnx"), os.path.join(folder, name + ".so")
    if not os.path.exists(artifact):
        onnx.save(made, path)
        done = run("nnopt-compile", path, "-o", artifact)
        if done.returncode:
            raise RuntimeError(done.stderr)
    return path, artifact


def same(got, want):
    return set(got) == set(want) and all(got[k].shape == want[k].shape and np.array_equal(got[k], want[k]) for k in want)


def arrays_case(folder, made, given, expected):
    path, artifact = compiled(folder, made, str(id(made)))
    given_path, out = os.path.join(folder, "in.npz"), os.path.join(folder, "out.npz")
    np.savez(given_path, **given)
    done = run("nnopt-run", artifact, "--inputs", given_path, "--outputs", out)
    if done.returncode:
        return done.stderr
    with np.load(out) as z:
        got = dict(z)
    if not same(got, expected):
        return f"got {got}"
    done = run("nnopt-compile", path, "-o", os.path.join(folder, "again.so"), "--verify=" + given_path)
    return done.stderr if done.returncode else None


def refusal_case(folder, made, given, code, part):
    _, artifact = compiled(folder, made, str(id(made)))
    arguments = []
    if given is not None:
        arguments = ["--inputs", os.path.join(folder, "in.npz")]
        np.savez(arguments[1], **given)
    done = run("nnopt-run", artifact, *arguments)
    return None if done.returncode == code and part in done.stderr else f"exit {done.returncode}: {done.stderr}"


def data_case(folder, made, inputs, outputs, code):
    _, artifact = compiled(folder, made, str(id(made)))
    data = tempfile.mkdtemp(dir=folder)
    for what, values, infos in (("input", inputs, made.graph.input), ("output", outputs, made.graph.output)):
        for i, (v, info) in enumerate(zip(values, infos)):
            if info.type.HasField("optional_type"):
                proto = numpy_helper.from_optional(v)
            else:
                proto = numpy_helper.from_list(v) if isinstance(v, list) else numpy_helper.from_array(v)
            with open(os.path.join(data, f"{what}_{i}.pb"), "wb") as f:
                f.write(proto.SerializeToString())
    done = run("nnopt-run", artifact, "--verify", data)
    return None if done.returncode == code else f"exit {done.returncode}: {done.stdout}{done.stderr}"


def main():
    passed = failed = 0
    with tempfile.TemporaryDirectory(prefix="nnopt-host-") as folder:
        for table, check in ((ARRAYS, arrays_case), (REFUSALS, refusal_case), (DATA, data_case)):
            for name, *case in table:
                problem = check(folder, *case)
                passed, failed = passed + (problem is None), failed + (problem is not None)
                if problem is not None:
                    print(f"FAIL  {name}: {problem.strip()}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
