#!/usr/bin/env python3
"""Decoders whose keys and values of earlier tokens are 8 bits (--kv-cache=int8), step by step.

    kv_cache.py [--only=NAME] [--sequences=N]

`decoders`: small attentions over a cache, with grouped queries, masks, odd widths and caches that are transposed, at --opt=0, by default,
for x86-64-v3 and for baseline x86-64. Caches are compared with rows that numpy rounds, to the last bit, and results with float64
attention over those, to 1e-4; a session that keeps the states gives what one gives that is fed with them. `bf16`: the same with products
of bf16, of instructions that are emulated where the CPU lacks them. `export`: what --emit=onnx writes, by onnxruntime. `memory`: bytes of
the states, and of the arena. `refusals`: what is left, and why. `language`: perplexity of the language model of the corpus, with both caches, where
there is a corpus; `--sequences` of 128 tokens are read. Ends with `N passed, N failed`.
"""
import argparse
import os
import subprocess
import sys
import tempfile
import traceback

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "support"), os.path.join(HERE, "..", "models")]
import nnopt  # noqa: E402
import x86  # noqa: E402
from corpus import SHARED  # noqa: E402

STEPS = (3, 1, 1, 2, 1, 17, 1, 20, 1)
KINDS = ("", ".scale")


class Decoder:
    """One attention: q, k and v come in, and pasts; y and presents go out."""

    def __init__(self, heads=4, key_heads=4, width=32, value_width=None, batch=2, mask=False, rows_first=False, same=False):
        self.heads, self.key_heads, self.width, self.batch, self.mask = heads, key_heads, width, batch, mask
        self.value_width = value_width or width
        self.rows_first, self.same = rows_first, same
        self.axis = 1 if rows_first else 2

    def names(self):
        return "k" if self.same else "kv"

    def shape(self, name, length):
        width = self.value_width if name == "v" else self.width
        return [self.batch, length, self.key_heads, width] if self.rows_first else [self.batch, self.key_heads, length, width]

    def save(self, path):
        node, float32 = helper.make_node, TensorProto.FLOAT
        nodes, inputs, outputs, constants = [], [], [], []

        def ints(name, *values):
            constants.append(numpy_helper.from_array(np.array(values), name))
            return name

        def declared(name, shape, length):
            shape = ["batch"] + [length if d == "length" else d for d in shape[1:]]
            return helper.make_tensor_value_info(name, float32, shape)

        group = self.heads // self.key_heads
        inputs.append(declared("q", [0, self.heads, "length", self.width], "step"))
        read = {}
        for n in self.names():
            shape = self.shape(n, "length")
            inputs += [declared(n, shape, "step"), declared("past_" + n, shape, "length")]
            outputs.append(declared("present_" + n, shape, "all"))
            nodes.append(node("Concat", ["past_" + n, n], ["present_" + n], axis=self.axis))
            read[n] = "present_" + n
            if self.rows_first:
                nodes.append(node("Transpose", [read[n]], [n + "_heads"], perm=[0, 2, 1, 3]))
                read[n] = n + "_heads"
            if group > 1:
                nodes += [node("Unsqueeze", [read[n], ints(n + "_two", 2)], [n + "_one"]),
                          node("Expand", [n + "_one", ints(n + "_group", 1, 1, group, 1, 1)], [n + "_all"]),
                          node("Reshape", [n + "_all", ints(n + "_shape", 0, self.heads, -1, shape[-1])], [n + "_repeated"])]
                read[n] = n + "_repeated"
        read.setdefault("v", read["k"])
        nodes += [node("Transpose", [read["k"]], ["kt"], perm=[0, 1, 3, 2]), node("MatMul", ["q", "kt"], ["s"])]
        scores = "s"
        if self.mask:
            inputs.append(helper.make_tensor_value_info("mask", float32, ["batch", 1, 1, "all"]))
            nodes.append(node("Add", ["s", "mask"], ["m"]))
            scores = "m"
        nodes += [node("Softmax", [scores], ["p"], axis=-1), node("MatMul", ["p", read["v"]], ["y"])]
        width = self.width if self.same else self.value_width
        outputs.insert(0, declared("y", [0, self.heads, "length", width], "step"))
        graph = helper.make_graph(nodes, "g", inputs, outputs, constants)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)

    def new(self, rng, step):
        feeds = {"q": rng.standard_normal((self.batch, self.heads, step, self.width), np.float32)}
        for n in self.names():
            feeds[n] = rng.standard_normal(self.shape(n, step), np.float32) * np.float32(rng.uniform(0.1, 10))
            feeds[n][0, 0, 0] = 0  # a row of zeros
        return feeds

    def empty(self):
        past = {}
        for n in self.names():
            shape = self.shape(n, 0)
            past["past_" + n] = np.zeros(shape, np.int8)
            past[f"past_{n}.scale"] = np.zeros(shape[:-1] + [1], np.float32)
        return past

    def attention(self, feeds, whole):
        """In float64, over what the cache holds; `whole`: what it stands for."""
        group = self.heads // self.key_heads
        turned = [np.repeat(x.transpose(0, 2, 1, 3) if self.rows_first else x, group, 1) for x in (whole["k"], whole[self.names()[-1]])]
        s = feeds["q"].astype(np.float64) @ turned[0].transpose(0, 1, 3, 2) + feeds.get("mask", 0)
        p = np.exp(s - s.max(-1, keepdims=True))
        return p / p.sum(-1, keepdims=True) @ turned[1]


def rounded(x):
    scale = np.maximum(np.abs(x).max(-1, keepdims=True) * np.float32(1 / 127), np.float32(1e-30))
    return np.clip(np.rint(x / scale), -128, 127).astype(np.int8), scale


def check_steps(decoder, artifact, seed, most=1e-4, queries=1):
    rng = np.random.default_rng(seed)
    with nnopt.Session(artifact, threads=1 + seed % 3) as plain, nnopt.Session(artifact, threads=1) as keeping:
        for n in decoder.names():
            for kind in KINDS:
                keeping.bind_state(f"past_{n}{kind}", f"present_{n}{kind}", sum(STEPS))
        past = decoder.empty()
        for step in STEPS:
            feeds = decoder.new(rng, step)
            feeds["q"] *= np.float32(queries)
            length = past["past_k"].shape[decoder.axis] + step
            if decoder.mask:
                feeds["mask"] = np.where(rng.random((decoder.batch, 1, 1, length)) < 0.3, np.float32(-1e4), 0).astype(np.float32)
            out = dict(zip((o.name for o in plain.outputs), plain.run(None, {**feeds, **past})))
            whole = {}
            for n in decoder.names():
                for kind, now in zip(KINDS, rounded(feeds[n])):
                    want = np.concatenate([past[f"past_{n}{kind}"], now], decoder.axis)
                    assert np.array_equal(out[f"present_{n}{kind}"], want), f"present_{n}{kind} differs after {length} tokens"
                    past[f"past_{n}{kind}"] = want
                whole[n] = past[f"past_{n}"].astype(np.float64) * past[f"past_{n}.scale"]
            want = decoder.attention(feeds, whole)
            error = np.abs(out["y"] - want).max() / np.abs(want).max()
            assert error < most, f"error {error} of {step} tokens after {length - step}"
            kept = keeping.run(["y"], feeds)[0]
            assert np.array_equal(kept, out["y"]), f"a session with states differs after {length} tokens"
        for index, info in enumerate(keeping.outputs[1:], 1):
            want = past[info.name.replace("present", "past")]
            assert np.array_equal(keeping.take_state(index), want), f"the state {info.name} differs"


DECODERS = {
    "heads": Decoder(), "grouped": Decoder(heads=6, key_heads=2, width=64), "mask": Decoder(width=64, mask=True),
    "odd": Decoder(width=20, value_width=37), "wide": Decoder(heads=2, key_heads=2, width=128, value_width=256, batch=1),
    "narrow": Decoder(width=3, value_width=1, batch=3), "transposed": Decoder(rows_first=True, width=40),
    "transposed groups": Decoder(heads=4, key_heads=2, rows_first=True, width=64, mask=True), "one cache": Decoder(same=True, width=48),
}
WAYS = ([], ["--opt=0"], ["--target=x86-64-v3"], ["--target=x86-64"])


def decoders(folder):
    model, artifact = os.path.join(folder, "decoder.onnx"), os.path.join(folder, "decoder.so")
    for seed, (name, decoder) in enumerate(DECODERS.items()):
        decoder.save(model)
        for way in WAYS:
            nnopt.compile(model, artifact, ["--quiet", "--kv-cache=int8", *way])
            try:
                check_steps(decoder, artifact, seed)
            except AssertionError as e:
                raise AssertionError(f"{name} {' '.join(way)}: {e}") from e
            nnopt.compile(model, artifact, ["--quiet", "--kv-cache=int8", "--verify", *way])


def bf16(folder):
    if not x86.preload():
        print("skipped bf16: the emulator of its instructions does not run here")
        return
    model, artifact = os.path.join(folder, "decoder.onnx"), os.path.join(folder, "decoder.so")
    for seed, name in enumerate(("grouped", "transposed groups", "odd")):
        DECODERS[name].save(model)
        nnopt.compile(model, artifact, ["--quiet", "--kv-cache=int8", "--precision=bf16", "--target=znver4"])
        x86.accept(artifact)
        check_steps(DECODERS[name], artifact, seed, 2e-2, queries=0.05)  # an error of large scores is one of their exponentials


def export(folder):
    model, written, artifact = (os.path.join(folder, name) for name in ("decoder.onnx", "written.onnx", "decoder.so"))
    decoder, rng = DECODERS["grouped"], np.random.default_rng(0)
    decoder.save(model)
    nnopt.compile(model, artifact, ["--quiet", "--kv-cache=int8"])
    nnopt.compile(model, written, ["--quiet", "--kv-cache=int8", "--emit=onnx", "--verify"])
    theirs, past = nnopt.reference_session(written, optimize=False), decoder.empty()
    with nnopt.Session(artifact) as session:
        for step in (5, 1, 2):
            feeds = {**decoder.new(rng, step), **past}
            names = [o.name for o in session.outputs]
            got, want = (dict(zip(names, s.run(names, feeds))) for s in (session, theirs))
            past = {name.replace("present", "past"): got[name] for name in names[1:]}
            for name in names:
                distance = np.abs(got[name].astype(np.float64) - want[name]).max()
                # A quotient in the middle may be rounded either way.
                assert distance <= (1 if got[name].dtype == np.int8 else 1e-3 * np.abs(want[name]).max()), f"{name}: {distance}"


def bytes_of(decoder, artifact, length):
    """Bytes that a session of 8 bits or of floats has beside its weights, and its arena, for so many tokens."""
    with nnopt.Session(artifact) as session:
        for name in [i.name for i in session.inputs if i.name.startswith("past_")]:
            session.bind_state(name, name.replace("past", "present"), length)
        session.run(["y"], decoder.new(np.random.default_rng(0), 1))
        memory = session.memory()
        return memory.other, memory.arena


def memory(folder):
    model, artifact = os.path.join(folder, "decoder.onnx"), os.path.join(folder, "decoder.so")
    decoder, length = Decoder(heads=8, key_heads=8, width=64, batch=1), 4096
    decoder.save(model)
    found = {}
    for kind in ("f32", "int8"):
        nnopt.compile(model, artifact, ["--quiet", f"--kv-cache={kind}"])
        found[kind] = bytes_of(decoder, artifact, length)
    states = 2 * length * 8 * 64
    assert abs(found["f32"][0] - 4 * states) < 0.1 * states, f"{found['f32'][0]} bytes with floats"
    assert abs(found["int8"][0] - states * (1 + 4 / 64)) < 0.1 * states, f"{found['int8'][0]} bytes with 8 bits"
    assert found["int8"][1] < 65536, f"an arena of {found['int8'][1]} bytes"
    listing = subprocess.run([nnopt.tool("nnopt-compile"), model, "--kv-cache=int8", "--emit=exec"], capture_output=True, text=True).stdout
    assert "dequantize" not in listing and listing.count(" appends to ") == 4, listing


def refused(model, code, *says, flags=()):
    done = subprocess.run([nnopt.tool("nnopt-compile"), model, "--kv-cache=int8", "--emit=exec", *flags], capture_output=True, text=True)
    assert done.returncode == code, f"exit {done.returncode}, expected {code}: {done.stderr}"
    for text in says:
        assert text in done.stderr, f"'{text}' is not in: {done.stderr}"


def refusals(folder):
    model = os.path.join(folder, "decoder.onnx")
    Decoder().save(model)
    refused(model, 2, "--kv-cache=int8 is for CPUs", flags=["--gpu=sm_80"])
    refused(model, 2, "expected f32 or int8", flags=["--kv-cache=int4"])
    graph = onnx.load(model)
    graph.graph.node.append(helper.make_node("Relu", ["present_k"], ["r"]))
    graph.graph.output.append(helper.make_tensor_value_info("r", TensorProto.FLOAT, ["batch", 4, "all", 32]))
    onnx.save(graph, model)
    refused(model, 0, "warning: the cache 'present_k' stays in floats: it is read by relu")
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])
    onnx.save(helper.make_model(helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])), model)
    refused(model, 1, "error: there is no KV cache to be kept in 8 bits")


def perplexity(artifact, ids, prompt=64):
    """Next-token perplexity: a prompt, then token after token, with states that the session keeps."""
    total, (inputs, targets) = 0.0, (ids[:, :-1], ids[:, 1:])
    with nnopt.Session(artifact) as session:
        for i in session.inputs[1:]:
            session.bind_state(i.name, i.name.replace("past", "present"), inputs.shape[1])
        for begin in range(0, len(inputs), 16):
            session.reset_states()
            for start, end in [(0, prompt)] + [(t, t + 1) for t in range(prompt, inputs.shape[1])]:
                z = session.run(["logits"], {"ids": inputs[begin:begin + 16, start:end]})[0].astype(np.float64)
                z -= z.max(-1, keepdims=True)
                z -= np.log(np.exp(z).sum(-1, keepdims=True))
                total -= np.take_along_axis(z, targets[begin:begin + 16, start:end, None], -1).sum()
    return float(np.exp(total / targets.size))


def language(folder, sequences):
    trained = os.path.join(SHARED, "trained")
    if not os.path.isdir(trained):
        print("skipped language: the model corpus is not there (see NNOPT_SHARED)")
        return
    ids = np.load(os.path.join(trained, "data", "kjv_eval.npz"))["ids"].astype(np.int64)[:sequences]
    found = {}
    for kind in ("f32", "int8"):
        artifact = os.path.join(folder, kind + ".so")
        nnopt.compile(os.path.join(trained, "lm_cache.onnx"), artifact, ["--quiet", f"--kv-cache={kind}"])
        found[kind] = perplexity(artifact, ids)
    print(f"perplexity of {len(ids)} sequences: {found['f32']:.4f} with floats, {found['int8']:.4f} with 8 bits")
    assert abs(found["int8"] - found["f32"]) < 0.005 * found["f32"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="")
    parser.add_argument("--sequences", type=int, default=16)
    options = parser.parse_args()
    x86.preload()
    tests = {"decoders": decoders, "bf16": bf16, "export": export, "memory": memory, "refusals": refusals, "language": lambda f: language(f, options.sequences)}
    passed = failed = 0
    for name, test in tests.items():
        if options.only not in name:
            continue
        try:
            with tempfile.TemporaryDirectory() as folder:
                test(folder)
            passed += 1
        except Exception:  # noqa: BLE001
            failed += 1
            print(f"FAILED {name}")
            traceback.print_exc()
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
