#!/usr/bin/env python3
"""Artifacts whose weights take fewer bytes in the file.

    encode_weights.py

Models with weights of several kinds are compiled with --encode-weights=on and =off: outputs must be equal bit for bit and the
file smaller; a file with a changed byte among the weights must be refused; budgets for the size encode by default, and their
recipes do so again. Ends with `N passed, N failed`.
"""
import json
import os
import struct
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "support")]
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from checks import check, finish
from nnopt import ROOT, Session, compile, tool

MODEL = os.path.join(ROOT, "examples", "models", "fashion.onnx")
rng = np.random.default_rng(0)


def layers():
    """A dense layer, one with zeros anywhere, one with blocks of zeros, and one of bytes."""
    size = 256
    w = {name: rng.standard_normal((size, size)).astype(np.float32) / 16 for name in ("dense", "sparse", "blocks")}
    w["sparse"][rng.random((size, size)) < 0.9] = 0
    w["blocks"][(rng.random((size, size // 16)) < 0.8).repeat(16, 1)] = 0
    w["bytes"] = np.clip(rng.standard_normal((size, size)) * 20, -127, 127).astype(np.int8)
    w.update({"s": np.float32(0.05), "z": np.uint8(128), "ws": np.float32(0.01), "wz": np.int8(0)})
    nodes, last = [], "x"
    for name in ("dense", "sparse", "blocks"):
        nodes += [helper.make_node("MatMul", [last, name], [name + "_y"]), helper.make_node("Relu", [name + "_y"], [name + "_r"])]
        last = name + "_r"
    nodes += [helper.make_node("QuantizeLinear", [last, "s", "z"], ["q"]),
              helper.make_node("QLinearMatMul", ["q", "s", "z", "bytes", "ws", "wz", "s", "z"], ["p"]),
              helper.make_node("DequantizeLinear", ["p", "s", "z"], ["y"])]
    value = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size])
    graph = helper.make_graph(nodes, "g", [value("x")], [value("y")], [numpy_helper.from_array(v, k) for k, v in w.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def input_name(model):
    return onnx.load(model).graph.input[0].name


def run(*command):
    return subprocess.run([str(c) for c in command], capture_output=True, text=True)


def read(path):
    with open(path, "rb") as f:
        return f.read()


def trailer(data):
    """weights_offset, weights_size, encoded_size"""
    fields = struct.unpack("<5QIIQ8s", data[-64:])
    return fields[2], fields[3], fields[7]


def outputs(path, feeds):
    with Session(path, 2) as session:
        return session.run(None, feeds)


def main():
    with tempfile.TemporaryDirectory() as folder:
        at = lambda name: os.path.join(folder, name)
        onnx.save(layers(), at("layers.onnx"))
        cases = [("layers", at("layers.onnx"), {"x": rng.standard_normal((20, 256)).astype(np.float32)}, []),
                 ("network", MODEL, {input_name(MODEL): rng.standard_normal((2, 1, 28, 28)).astype(np.float32)}, []),
                 ("two targets", at("layers.onnx"), {"x": rng.standard_normal((3, 256)).astype(np.float32)},
                  ["--target=x86-64-v3,native"])]
        for name, model, feeds, flags in cases:
            compile(model, at("plain.so"), ["--quiet", *flags])
            compile(model, at("encoded.so"), ["--quiet", "--encode-weights=on", f"--report={at('report.json')}", *flags])
            a, b = read(at("plain.so")), read(at("encoded.so"))
            check(f"{name}: off is the default", trailer(a)[2] == 0)
            offset, size, encoded = trailer(b)
            check(f"{name}: size", size == trailer(a)[1] and 0 < encoded < 0.9 * size and len(b) < len(a),
                  f"{encoded} of {size} bytes, {len(b)} of {len(a)}")
            with open(at("report.json")) as f:
                totals = json.load(f)["totals"]
            check(f"{name}: report", totals["encoded_weight_bytes"] == encoded and totals["weight_bytes"] == size, totals)
            want, got = outputs(at("plain.so"), feeds), outputs(at("encoded.so"), feeds)
            check(f"{name}: outputs", all(np.array_equal(x, y) for x, y in zip(want, got)))
            compile(model, at("again.so"), ["--quiet", "--encode-weights=on", *flags])
            check(f"{name}: the same bytes again", b == read(at("again.so")))
            for place in rng.integers(offset, offset + encoded, 10):
                broken = bytearray(b)
                broken[place] ^= 1 << rng.integers(8)
                with open(at("broken.so"), "wb") as f:
                    f.write(broken)
                done = run(tool("nnopt-run"), at("broken.so"))
                check(f"{name}: byte {place} changed", done.returncode == 3 and "cannot be decoded" in done.stderr, done.stderr)
        done = run(tool("nnopt-compile"), MODEL, "-o", at("v.so"), "--encode-weights=on", "--verify")
        check("--verify", done.returncode == 0 and "weights in the file:" in done.stderr, done.stderr)
        for flags in (["--emit=obj"], ["--emit=onnx"]):
            done = run(tool("nnopt-compile"), at("layers.onnx"), "-o", at("wrong.o"), "--encode-weights=on", *flags)
            check(" ".join(flags), done.returncode == 2 and "--encode-weights=on" in done.stderr and not os.path.exists(at("wrong.o")),
                  done.stderr)

        # A budget for the size counts encoded bytes, and its recipe tells.
        np.savez(at("calib.npz"), x=rng.standard_normal((64, 256)).astype(np.float32))
        common = [tool("nnopt-compile"), at("layers.onnx"), f"--calib={at('calib.npz')}", "--quiet"]
        for flags, encodes in ((["--budget=size=0.8x"], True), (["--budget=size=0.8x", "--encode-weights=off"], False)):
            done = run(*common, "-o", at("small.so"), f"--recipe-out={at('recipe.json')}", *flags)
            check(" ".join(flags), done.returncode == 0, done.stderr)
            if done.returncode:
                continue
            small = read(at("small.so"))
            check(" ".join(flags) + ": size", (trailer(small)[2] > 0) == encodes, trailer(small))
            done = run(tool("nnopt-compile"), at("layers.onnx"), "-o", at("replayed.so"), f"--recipe={at('recipe.json')}", "--quiet")
            check(" ".join(flags) + ": recipe", done.returncode == 0 and read(at("replayed.so")) == small, done.stderr)
    return finish()


if __name__ == "__main__":
    sys.exit(main())
