#!/usr/bin/env python3
"""Compression of what language models are made of: tables of embeddings, products of rows with a scale each.

    language.py [--only=NAME]

Ends with `N passed, N failed`.
"""
import json
import os
import subprocess
import sys

import numpy as np
import onnx
from onnx import helper, numpy_helper

import example
from nnopt import Session, reference_session

WORDS, WIDTH = 600, 96


def write_model(path, tied=False):
    """ids [batch, n] -> a row of a table for each -> relu of a product -> logits over the words."""
    rng = np.random.default_rng(0)
    table = (rng.standard_normal((WORDS, WIDTH)) * rng.uniform(0.2, 2, (WORDS, 1))).astype(np.float32)
    square = (rng.standard_normal((WIDTH, WIDTH)) / np.sqrt(WIDTH)).astype(np.float32)
    constants = [numpy_helper.from_array(table, "table"), numpy_helper.from_array(square, "square")]
    nodes = [helper.make_node("Gather", ["table", "ids"], ["e"], name="embed"),
             helper.make_node("MatMul", ["e", "square"], ["h"], name="hidden"), helper.make_node("Relu", ["h"], ["r"], name="relu")]
    if tied:
        nodes.append(helper.make_node("Transpose", ["table"], ["head"], name="turn", perm=[1, 0]))
    else:
        constants.append(numpy_helper.from_array((rng.standard_normal((WIDTH, WORDS)) / 8).astype(np.float32), "head"))
    nodes.append(helper.make_node("MatMul", ["r", "head"], ["y"], name="logits"))
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("ids", 7, ["batch", "n"])],
                              [helper.make_tensor_value_info("y", 1, ["batch", "n", WORDS])], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)


def logits(artifact, ids):
    with Session(artifact) as session:
        return session.run(None, {"ids": ids})[0], session.memory().weights


def theirs_of(model, ids):
    """What onnxruntime computes, as the graph says: its own optimizations may compute with other activations."""
    return reference_session(model, optimize=False).run(None, {"ids": ids})[0]


def prepare(f):
    """The model and its calibration data; how it is compiled, some ids, and the logits and bytes of weights in floats."""
    write_model(f / "words.onnx")
    rng = np.random.default_rng(1)
    ids = rng.integers(0, WORDS, (8, 16))
    np.savez(f / "words.npz", ids=rng.integers(0, WORDS, (32, 16)))
    compile = lambda *flags, **more: f.compile(*flags, model=f / "words.onnx", **more)
    compile("-o", "words.so")
    return compile, ids, *logits(f / "words.so", ids)


def tables(f):
    """Tables in fewer bits: sizes as promised, small errors, recipes that replay, models that onnxruntime runs."""
    compile, ids, want, wide = prepare(f)
    for spec, error, share in (("w8", 0.02, 0.28), ("w4", 0.16, 0.20), ("bf16", 0.01, 0.52), ("f16", 0.001, 0.52)):
        compile(f"--quantize={spec}", "--calib=words.npz", "-o", "w.so", "--recipe-out=w.json", says=[f"3 layers {spec}"])
        got, bytes = logits(f / "w.so", ids)
        distance = np.linalg.norm(got - want) / np.linalg.norm(want)
        assert distance < error, f"{spec}: error {distance}"
        assert bytes < share * wide, f"{spec}: {bytes} of {wide} bytes of weights"
        assert [s["site"] for s in json.load(open(f / "w.json"))["steps"]] == ["embed", "hidden", "logits"]
        f.replay("w", model="words.onnx")
        compile("--recipe=w.json", "--emit=onnx", "-o", "w.onnx")
        theirs = theirs_of(f / "w.onnx", ids)
        assert np.abs(theirs - got).max() <= 2e-5 * np.abs(got).max(), f"{spec}: onnxruntime differs by {np.abs(theirs - got).max()}"
        f.compile("-o", "read.so", model=f / "w.onnx")
        again, read = logits(f / "read.so", ids)
        assert np.abs(again - got).max() <= 2e-5 * np.abs(got).max() and read < share * wide, f"{spec}: {read} bytes when read again"
    # A size that products alone do not reach.
    compile("--budget=size=0.3x", "--calib=words.npz", "-o", "b.so", "--recipe-out=b.json")
    assert any(s["site"] == "embed" for s in json.load(open(f / "b.json"))["steps"])
    # A group that does not divide the table's columns.
    compile("--quantize=w4", "--calib=words.npz", "-o", "w.so", "--recipe-out=w.json")
    recipe = json.load(open(f / "w.json"))
    recipe["steps"][0]["parameters"]["group"] = 40
    json.dump(recipe, open(f / "w.json", "w"))
    compile("--recipe=w.json", code=3, says=["a multiple of 8 that divides its 96 columns"])


def byte_rows(f):
    """w8a8 and w4a8: activations of 8 bits with a scale for each row; small errors, recipes that replay, exported models."""
    compile, ids, want, wide = prepare(f)
    for spec, error, share in (("w8a8", 0.025, 0.28), ("w4a8,group=16", 0.16, 0.22)):
        compile(f"--quantize={spec}", "--calib=words.npz", "-o", "w.so", "--recipe-out=w.json")
        steps = json.load(open(f / "w.json"))["steps"]
        assert [s["option"] for s in steps] == [spec[:2], spec[:4], spec[:4]], steps
        got, bytes = logits(f / "w.so", ids)
        distance = np.linalg.norm(got - want) / np.linalg.norm(want)
        assert distance < error, f"{spec}: error {distance}"
        assert bytes < share * wide, f"{spec}: {bytes} of {wide} bytes of weights"
        f.replay("w", model="words.onnx")
        listing = subprocess.run([os.path.join(example.BUILD, "bin", "nnopt-compile"), f / "words.onnx", "--recipe=w.json", "--emit=exec",
                                  "--target=znver4"], cwd=f.path, capture_output=True, text=True, check=True).stdout
        assert listing.count("launch matmul_bytes_") == 2, listing
        # Rounding to a byte may go the other way where another order of sums changes the last bit of what is rounded.
        compile("--recipe=w.json", "--emit=onnx", "-o", "w.onnx")
        theirs = theirs_of(f / "w.onnx", ids)
        distance = np.linalg.norm(theirs - got) / np.linalg.norm(got)
        assert distance < 2e-3, f"{spec}: onnxruntime differs by {distance}"


def tied(f):
    """A table that is the head's matrix, too: both in fewer bits."""
    write_model(f / "tied.onnx", tied=True)
    rng = np.random.default_rng(1)
    ids = rng.integers(0, WORDS, (8, 16))
    np.savez(f / "words.npz", ids=rng.integers(0, WORDS, (32, 16)))
    f.compile("-o", "tied.so", model=f / "tied.onnx")
    want, wide = logits(f / "tied.so", ids)
    f.compile("--quantize=w8", "--calib=words.npz", "-o", "w.so", model=f / "tied.onnx", says=["3 layers w8"])
    got, bytes = logits(f / "w.so", ids)
    assert np.linalg.norm(got - want) < 0.02 * np.linalg.norm(want) and bytes < 0.28 * wide, (bytes, wide)


if __name__ == "__main__":
    sys.exit(example.main(__doc__, [tables, byte_rows, tied]))
