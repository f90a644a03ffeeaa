#!/usr/bin/env python3
"""What skipping zero weights gains, layer by layer.

    sparse.py [--shapes=REGEX] [--zeros=80,90] [--masks=random,blocks] [--seconds=S] [--target=CPU] [--no-peer] [--json=FILE]
              [--write-docs]

Layers of BERT and of convolutional networks in f32 and in 8 bits, with random masks of single weights, of blocks that a vector of
512 bits holds (16 out channels by 1 in channel, or by 4 of 8 bits), or N:M. Of each: the time of our dense kernel
(--sparse=off), of the kernel that skips zeros (--sparse=on), whether --sparse=auto takes it, the bytes of the weights
in the artifact, and onnxruntime's time for the same layer in f32. All run in one process in turn, on one thread; times are
the least. --write-docs puts the table into docs/sparsity.md.
"""
import argparse
import datetime
import importlib.metadata
import json
import os
import re
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", folder) for folder in ("support", "models", "compress")]
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import tables
from compare import cpu_name
from least_time import in_turn
from nnopt import Session, compile

# Name -> ("matmul", rows, in, out) or ("conv", pixels of a side, in, out, kernel, stride).
SHAPES = {
    "bert 128x768x768": ("matmul", 128, 768, 768),
    "bert 128x768x3072": ("matmul", 128, 768, 3072),
    "bert 128x3072x768": ("matmul", 128, 3072, 768),
    "few rows 16x768x768": ("matmul", 16, 768, 768),
    "one row 1x768x768": ("matmul", 1, 768, 768),
    "resnet50 56x56 64->256 1x1": ("conv", 56, 64, 256, 1, 1),
    "resnet50 56x56 256->64 1x1": ("conv", 56, 256, 64, 1, 1),
    "resnet50 28x28 512->128 1x1": ("conv", 28, 512, 128, 1, 1),
    "resnet50 28x28 128->512 1x1": ("conv", 28, 128, 512, 1, 1),
    "resnet50 14x14 1024->256 1x1": ("conv", 14, 1024, 256, 1, 1),
    "resnet50 14x14 256->1024 1x1": ("conv", 14, 256, 1024, 1, 1),
    "resnet50 7x7 2048->512 1x1": ("conv", 7, 2048, 512, 1, 1),
    "resnet50 7x7 512->2048 1x1": ("conv", 7, 512, 2048, 1, 1),
    "resnet50 56x56 256->512 1x1 s2": ("conv", 56, 256, 512, 1, 2),
    "resnet50 56x56 64->64 3x3": ("conv", 56, 64, 64, 3, 1),
    "resnet50 28x28 128->128 3x3": ("conv", 28, 128, 128, 3, 1),
    "resnet50 14x14 256->256 3x3": ("conv", 14, 256, 256, 3, 1),
    "resnet50 7x7 512->512 3x3": ("conv", 7, 512, 512, 3, 1),
    "resnet50 28x28 256->256 3x3 s2": ("conv", 28, 256, 256, 3, 2),
}


def keep(shape, out, into, zeros, bits, mask, rng):
    """Which weights are not zero; `out` and `into` are the axes of the out and in channels."""
    if ":" in mask:
        kept, of = map(int, mask.split(":"))
        # Of each group of in channels the ones with the largest random numbers.
        numbers = np.moveaxis(rng.random(shape), into, -1)
        order = numbers.reshape(*numbers.shape[:-1], -1, of).argsort(-1).argsort(-1)
        return np.moveaxis((order < kept).reshape(numbers.shape), -1, into)
    size = [1] * len(shape)
    if mask == "blocks":
        size[out], size[into] = 16, 4 if bits == 8 else 1
    kept = rng.random([-(-d // s) for d, s in zip(shape, size)]) >= zeros
    for axis, s in enumerate(size):
        kept = kept.repeat(s, axis)
    return kept[tuple(slice(d) for d in shape)]


def zeros_of(mask):
    """The percentage of zeros of N:M."""
    kept, of = map(int, mask.split(":"))
    return round(100 * (1 - kept / of))


def layer(shape, zeros, bits, mask="random", channels_last=True):
    """A model of one layer and its input. Convolutions get and give channels last, as between the layers of a network here;
    for others than nnopt, channels first."""
    rng = np.random.default_rng(1)
    kind, size, ci, co, *window = shape
    if kind == "matmul":
        dims, weights = [size, ci], [ci, co]
        out = [size, co]
    else:
        kernel, stride = window
        dims, weights = [1, ci, size, size], [co, ci, kernel, kernel]
        out = [1, co, -(-size // stride), -(-size // stride)]
    w = (rng.standard_normal(weights) / np.sqrt(np.prod(weights) / co)).astype(np.float32)
    kept = keep(weights, *((1, 0) if kind == "matmul" else (0, 1)), zeros, bits, mask, rng)
    w[~kept] = 0
    x = rng.standard_normal(dims).astype(np.float32)
    attributes = {} if kind == "matmul" else {"pads": [window[0] // 2] * 4, "strides": [window[1]] * 2}
    if bits == 8:
        bytes_of = np.clip(np.round(w / np.abs(w).max() * 127), -127, 127).astype(np.int8)
        bytes_of[kept & (bytes_of == 0)] = 1
        constants = [numpy_helper.from_array(v, n) for n, v in (
            ("w", bytes_of), ("s", np.float32(0.02)), ("z", np.uint8(128)), ("ws", np.float32(0.01)), ("wz", np.int8(0)),
            ("ys", np.float32(0.1)))]
        name = "QLinearMatMul" if kind == "matmul" else "QLinearConv"
        node = helper.make_node(name, ["x", "s", "z", "w", "ws", "wz", "ys", "z"], ["y"], **attributes)
        x = np.clip(np.round(x / 0.02) + 128, 0, 255).astype(np.uint8)
        element = TensorProto.UINT8
    else:
        constants = [numpy_helper.from_array(w, "w")]
        node = helper.make_node("MatMul" if kind == "matmul" else "Conv", ["x", "w"], ["y"], **attributes)
        element = TensorProto.FLOAT
    nodes = [node]
    if kind == "conv" and channels_last:
        node.input[0], node.output[0] = "first", "last"
        nodes = [helper.make_node("Transpose", ["x"], ["first"], perm=[0, 3, 1, 2]), node,
                 helper.make_node("Transpose", ["last"], ["y"], perm=[0, 2, 3, 1])]
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
        dims, out = [[d[i] for i in (0, 2, 3, 1)] for d in (dims, out)]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", element, dims)],
                              [helper.make_tensor_value_info("y", element, out)], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), {"x": x}


def start_peer(model, feeds):
    import onnxruntime as ort
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    value = ort.OrtValue.ortvalue_from_numpy(feeds["x"])
    binding.bind_ortvalue_input("x", value)
    binding.bind_output("y")
    session.run_with_iobinding(binding)
    return lambda: session.run_with_iobinding(binding)


def measure(sides, seconds):
    """The least microseconds of each, all in turn."""
    for step in sides.values():
        step()
    return {name: 1e3 * ms for name, ms in zip(sides, in_turn(list(sides.values()), seconds))}


def measure_layer(name, shape, shares, arguments, folder):
    rows = []
    for bits in arguments.bits:
        sessions, sides, size = [], {}, {}

        def add(side, model, feeds, flags):
            out = os.path.join(folder, f"{len(sessions)}.so")
            compile(model, out, ["--quiet", f"--target={arguments.target}", *flags])
            with open(out, "rb") as f:
                text = f.read()
            session = Session(out, 1)
            session.prepare(feeds)
            sessions.append(session)
            size[side] = session.memory().weights
            sides[side] = session.step
            return b"_sparse" in text

        taken = {}
        path = os.path.join(folder, "model.onnx")
        cases = [(mask, share) for mask in arguments.masks for share in (shares if ":" not in mask else [zeros_of(mask)])]
        for case in cases:
            mask, share = case
            model, feeds = layer(shape, share / 100, bits, mask)
            onnx.save(model, path)
            if "dense" not in sides:
                add("dense", path, feeds, ["--sparse=off"])
            taken[case] = add(case, path, feeds, [])
            if not taken[case]:
                add(case, path, feeds, ["--sparse=on"])
        if arguments.peer:
            model, feeds = layer(shape, 0, 32, channels_last=False)
            onnx.save(model, path)
            sides["peer"] = start_peer(path, feeds)
        times = measure(sides, arguments.seconds)
        for session in sessions:
            session.close()
        for mask, share in cases:
            case = mask, share
            row = {"layer": name, "bits": bits, "mask": mask, "zeros": share, "dense": times["dense"], "sparse": times[case],
                   "taken": taken[case], "dense_bytes": size["dense"], "sparse_bytes": size[case], "peer": times.get("peer")}
            rows.append(row)
            print(line(row), flush=True)
    return rows


HEADER = ["layer", "bits", "mask", "zeros", "dense µs", "sparse µs", "gain", "taken", "bytes dense", "bytes sparse", "onnxruntime f32 µs", "ours faster"]
WIDTHS = [32, 4, 6, 5, 8, 9, 5, 5, 11, 12, 18, 11]


def cells(row):
    fastest = row["sparse"] if row["taken"] else row["dense"]
    peer = row["peer"]
    return [row["layer"], row["bits"], row["mask"], f"{row['zeros']} %", f"{row['dense']:.0f}", f"{row['sparse']:.0f}",
            f"{row['dense'] / row['sparse']:.2f}", "yes" if row["taken"] else "no", row["dense_bytes"], row["sparse_bytes"],
            f"{peer:.0f}" if peer else "", f"{peer / fastest:.1f}" if peer else ""]


def line(row):
    return "  ".join(str(c).rjust(w) if i else str(c).ljust(32) for i, (c, w) in
                     enumerate(zip(cells(row), WIDTHS)))


def write_docs(rows):
    table = [f"{cpu_name()}, {datetime.date.today()}, onnxruntime {importlib.metadata.version('onnxruntime')}.", ""]
    table += ["| " + " | ".join(HEADER) + " |", "|---" * len(HEADER) + "|"]
    table += ["| " + " | ".join(str(c) for c in cells(row)) + " |" for row in rows]
    begin, end = "<!-- begin: test/bench/sparse.py --write-docs -->", "<!-- end -->"
    tables.write_part("sparsity.md", begin, end, "\n".join([begin, "", *table, "", end]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", default="", help="only layers whose name matches")
    parser.add_argument("--zeros", default="70,80,90,95", help="percentages")
    parser.add_argument("--bits", default="32,8")
    parser.add_argument("--masks", default="random,blocks", help="random, blocks, N:M")
    parser.add_argument("--seconds", type=float, default=1, help="for each layer")
    parser.add_argument("--target", default="native")
    parser.add_argument("--no-peer", dest="peer", action="store_false")
    parser.add_argument("--json")
    parser.add_argument("--write-docs", action="store_true")
    arguments = parser.parse_args()
    arguments.bits = [int(b) for b in arguments.bits.split(",")]
    arguments.masks = arguments.masks.split(",")
    shares = [int(z) for z in arguments.zeros.split(",")]
    print("  ".join(h.rjust(w) if i else h.ljust(32) for i, (h, w) in
                    enumerate(zip(HEADER, WIDTHS))))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, shape in SHAPES.items():
            if re.search(arguments.shapes, name):
                rows += measure_layer(name, shape, shares, arguments, folder)
    if arguments.json:
        with open(arguments.json, "w") as f:
            json.dump(rows, f, indent=1)
    if arguments.write_docs:
        write_docs(rows)


if __name__ == "__main__":
    sys.exit(main())
