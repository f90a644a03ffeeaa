#!/usr/bin/env python3
"""Token merging (--merge-tokens): encoders as numpy computes them with merged tokens, recipes, export, refusals.

    tokens.py [--only=NAME]
    tokens.py --write-docs      # accuracy and time of trained transformers, into docs/compression.md (needs the model corpus)

Ends with `N passed, N failed`.
"""
import json
import os
import platform
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "support"), os.path.join(HERE, "..", "models")]
import numpy as np
import onnx
from onnx import helper, numpy_helper
import example
import tables
from corpus import SHARED
from nnopt import BUILD, Session, reference_session

BEGIN, END = "<!-- tokens.py: table -->", "<!-- tokens.py: end -->"
TRAINED, COUNTS = ("vit", "relu_transformer"), (1, 2, 4, 8)


def softmax(s):
    e = np.exp(s - s.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


class Encoder:
    """A transformer with random weights: blocks of attention and a feed-forward network. `output`: tokens, or their mean."""

    def __init__(self, tokens, width, heads, blocks, output="tokens", mask=None):
        rng = np.random.default_rng(blocks + tokens)
        self.tokens, self.width, self.heads, self.blocks, self.output, self.mask = tokens, width, heads, blocks, output, mask
        matrix = lambda rows, columns: rng.standard_normal((rows, columns)) / np.sqrt(rows)
        self.weights = [{"q": 2 * matrix(width, width), "k": 2 * matrix(width, width), "v": matrix(width, width), "p": matrix(width, width),
                         "up": matrix(width, 3 * width), "down": matrix(3 * width, width), "s": rng.uniform(0.5, 2, width)} for _ in range(blocks)]

    def save(self, path):
        t, w, h = self.tokens, self.width, self.heads
        nodes, constants = [], []

        def node(op, inputs, name, **attributes):
            nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
            return name

        def constant(name, value):
            constants.append(numpy_helper.from_array(np.asarray(value), name))
            return name

        constant("split", np.array([0, t, h, w // h]))
        constant("join", np.array([0, t, w]))
        constant("scale", np.float32(np.sqrt(w // h)))
        if self.mask is not None:
            constant("mask", self.mask.astype(np.float32))
        x = "x"
        for i, block in enumerate(self.weights):
            for name, value in block.items():
                constant(f"{name}{i}", value.astype(np.float32))
            norm = lambda v, at: node("LayerNormalization", [v, f"s{i}"], f"norm{i}{at}", axis=-1)
            n = norm(x, "a")
            q, k, v = (node("Transpose", [node("Reshape", [node("MatMul", [n, f"{c}{i}"], f"{c}_{i}"), "split"], f"{c}s{i}")], f"{c}t{i}",
                            perm=[0, 2, 1, 3] if c != "k" else [0, 2, 3, 1]) for c in "qkv")
            scores = node("Div", [node("MatMul", [q, k], f"qk{i}"), "scale"], f"scores{i}")
            if self.mask is not None:
                scores = node("Add", [scores, "mask"], f"masked{i}")
            a = node("MatMul", [node("Softmax", [scores], f"soft{i}", axis=-1), v], f"a{i}")
            a = node("Reshape", [node("Transpose", [a], f"at{i}", perm=[0, 2, 1, 3]), "join"], f"ar{i}")
            x = node("Add", [x, node("MatMul", [a, f"p{i}"], f"proj{i}")], f"attended{i}")
            up = node("Relu", [node("MatMul", [norm(x, "f"), f"up{i}"], f"hidden{i}")], f"relu{i}")
            x = node("Add", [x, node("MatMul", [up, f"down{i}"], f"out{i}")], f"block{i}")
        if self.output == "mean":
            x = node("ReduceMean", [x], "mean", axes=[1], keepdims=0)
        value = lambda name, shape: helper.make_tensor_value_info(name, 1, shape)
        graph = helper.make_graph(nodes, "g", [value("x", ["n", t, w])], [value(x, ["n", w] if self.output == "mean" else ["n", t, w])], constants)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)

    def __call__(self, x, counts):
        """With counts[i] tokens merged behind the attention of block i: of one sequence, in 64 bits."""
        x = x.astype(np.float64)
        size, place = np.ones(self.tokens), np.arange(self.tokens)
        norm = lambda v, scale: (v - v.mean(-1, keepdims=True)) / np.sqrt(v.var(-1, keepdims=True) + 1e-5) * scale
        for block, count in zip(self.weights, counts):
            n = norm(x, block["s"])
            q, k, v = ((n @ block[c]).reshape(len(x), self.heads, -1).transpose(1, 0, 2) for c in "qkv")
            p = softmax(q @ k.transpose(0, 2, 1) / np.sqrt(q.shape[-1]) + np.log(size))
            x = x + (p @ v).transpose(1, 0, 2).reshape(len(x), -1) @ block["p"]
            if count:
                x, size, rows = merged(x, k.mean(0), size, count)
                place = rows[place]
            x = x + np.maximum(norm(x, block["s"]) @ block["up"], 0) @ block["down"]
        x = x[place]
        return x.mean(0) if self.output == "mean" else x

    def data(self, count):
        """Sequences with tokens that are alike."""
        rng = np.random.default_rng(7)
        kinds = rng.standard_normal((count, 3, self.width))[np.arange(count)[:, None], rng.integers(0, 3, (count, self.tokens))]
        return (kinds + 0.3 * rng.standard_normal(kinds.shape)).astype(np.float32)


def merged(x, metric, size, count):
    """Bipartite soft matching of one sequence: fewer tokens, their sizes, and for each token the row that it went into."""
    unit = metric / np.linalg.norm(metric, axis=-1, keepdims=True)
    alike = unit[0::2] @ unit[1::2].T
    best = alike.max(1)
    best[0] = -2
    order = np.argsort(-best, kind="stable")
    stay = len(alike) - count
    odd, odd_size, place = (x * size[:, None])[1::2], size[1::2].copy(), np.empty(len(x), int)
    for a in order[:count]:
        b = alike[a].argmax()
        odd[b] += x[2 * a] * size[2 * a]
        odd_size[b] += size[2 * a]
        place[2 * a] = stay + b
    place[2 * order[count:]] = np.arange(stay)
    place[1::2] = stay + np.arange(len(odd))
    kept = 2 * order[count:]
    return np.concatenate([x[kept], odd / odd_size[:, None]]), np.concatenate([size[kept], odd_size]), place


def outputs(f, artifact, x):
    with Session(f / artifact) as session:
        return session.run(None, {"x": x})[0]


def encoders(f):
    """Outputs for each token and of their mean as numpy merges, at --opt=0, in onnxruntime by --emit=onnx, and again by the recipe."""
    for encoder, count, counts in ((Encoder(9, 20, 2, 2), 3, (3, 2)), (Encoder(16, 32, 4, 3), 3, (3, 3, 3)),
                                   (Encoder(16, 32, 2, 2, "mean"), 4, (4, 4)), (Encoder(16, 32, 2, 1), 3, (3,))):
        encoder.save(f / "e.onnx")
        x = encoder.data(40)
        np.savez(f / "e.npz", x=x)
        f.compile(f"--merge-tokens={count}", "--calib=e.npz", "-o", "e.so", "--recipe-out=e.json", model="e.onnx",
                  says=[f"{count} tokens merged behind each of {encoder.blocks} attentions", "ms (float"])
        notes = json.load(open(f / "e.json"))
        assert [s["parameters"]["count"] for s in notes["steps"]] == list(counts), notes["steps"]
        assert 0 < notes["tokens"]["output_error"] < 1, notes["tokens"]
        expected = np.stack([encoder(sequence, counts) for sequence in x])
        f.replay("e", "--verify", model="e.onnx")
        f.compile("--recipe=e.json", "--emit=onnx", "-o", "m.onnx", model="e.onnx")
        f.compile("--recipe=e.json", "--opt=0", "-o", "e0.so", model="e.onnx")
        theirs = reference_session(f / "m.onnx").run(None, {"x": x})[0]
        for got in (theirs, outputs(f, "e.so", x), outputs(f, "e0.so", x)):
            error = np.abs(got - expected).max() / np.abs(expected).max()
            assert error < 1e-4, f"{encoder.tokens} tokens: {error}"
        # Tokens that are equal are merged without a trace; with sizes attention sees each of them.
        if encoder.blocks == 1:
            twins = np.repeat(x[:, : encoder.tokens // 2], 2, axis=1)
            plain = reference_session(f / "e.onnx").run(None, {"x": twins})[0]
            assert np.abs(outputs(f, "e.so", twins) - plain).max() < 1e-4 * np.abs(plain).max(), "equal tokens differ"
        broken = x[:2].copy()
        broken[0, 1] = np.nan
        assert np.abs(outputs(f, "e.so", broken)[1] - expected[1]).max() < 1e-4 * np.abs(expected).max(), "NaN in another sequence"


def beside(f):
    """Other techniques behind merged tokens, in one recipe; a budget tries them by itself."""
    encoder = Encoder(16, 96, 4, 2, "mean")
    encoder.save(f / "b.onnx")
    np.savez(f / "b.npz", x=encoder.data(64))
    f.compile("--merge-tokens=2", "--budget=size=0.85x", "--metric=cosine", "--calib=b.npz", "-o", "b.so", "--recipe-out=b.json", model="b.onnx",
              says=["2 tokens merged behind each of 2 attentions"])
    techniques = {s["technique"] for s in json.load(open(f / "b.json"))["steps"]}
    assert "merge-tokens" in techniques and len(techniques) > 1, techniques
    f.compile("-o", "plain.so", model="b.onnx")
    assert os.path.getsize(f / "b.so") <= 0.85 * os.path.getsize(f / "plain.so")
    f.replay("b", model="b.onnx")
    f.compile("--merge-tokens=2", "--quantize=int8", "--calib=b.npz", model="b.onnx", code=2, says=["exclude each other"])
    f.compile("--budget=drop=0.2", "--metric=cosine", "--calib=b.npz", "-o", "b.so", "--recipe-out=b.json", model="b.onnx")
    plans = json.load(open(f / "b.json"))["plans"]
    assert [p["tokens_merged"] for p in plans if "tokens_merged" in p][:1] == [1], plans


def refusals(f):
    """Causal attention, other masks, unknown numbers of tokens, models without attention, wrong recipes and flags."""
    t = 8
    causal = np.where(np.tri(t), 0, -np.inf)
    padding = np.where(np.arange(t) < 6, 0, -np.inf)[None]
    for mask, says in ((causal, "a token that is merged would know what comes after it"), (padding, "its attention has a mask")):
        encoder = Encoder(t, 16, 2, 1, mask=mask)
        encoder.save(f / "m.onnx")
        np.savez(f / "m.npz", x=encoder.data(32))
        f.compile("--merge-tokens=2", "--calib=m.npz", "-o", "no.so", model="m.onnx", code=1, says=["attended0", says])
    f.compile("--merge-tokens=2", "--calib=calib.npz", "-o", "no.so", code=1, says=["no block of attention behind which tokens can be merged"])
    assert not os.path.exists(f / "no.so"), "an artifact was written"
    Encoder(t, 16, 2, 1).save(f / "m.onnx")
    step = {"technique": "merge-tokens", "site": "attended0", "option": "merge", "parameters": {"count": 2}}
    for change, says in (({"site": "block0"}, "no such block of attention"), ({"parameters": {"count": 4}}, "of 8 tokens at most 3"),
                         ({"parameters": {}}, "'count'"), ({"option": "drop"}, "'count'")):
        with open(f / "w.json", "w") as file:
            json.dump({"nnopt_recipe": 1, "steps": [{**step, **change}]}, file)
        f.compile("--recipe=w.json", model="m.onnx", code=3, says=["merge-tokens of", says])
    for spec in ("", "0", "25%", "x"):
        f.compile(f"--merge-tokens={spec}", "--calib=m.npz", model="m.onnx", code=2, says=["expected how many tokens"])
    f.compile("--merge-tokens=2", model="m.onnx", code=2, says=["needs calibration data"])


def trained(model, count):
    folder = os.path.join(SHARED, "trained")
    with tempfile.TemporaryDirectory() as path:
        subprocess.run([sys.executable, "to_npz.py", f"{model}.onnx", path], cwd=folder, check=True, capture_output=True)
        recipe = os.path.join(path, "r.json")
        done = subprocess.run([os.path.join(BUILD, "bin", "nnopt-compile"), os.path.join(folder, f"{model}.onnx"), f"--merge-tokens={count}",
                               f"--calib={path}/calib.npz", f"--eval={path}/eval.npz", "-o", f"{path}/m.so", f"--recipe-out={recipe}"],
                              capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        notes = json.load(open(recipe))
        tokens = 49 - sum(s["parameters"]["count"] for s in notes["steps"])
        return {"model": model, "count": count, "left": tokens, "float": notes["float"], "merged": notes["compressed"],
                "error": 100 * notes["tokens"]["output_error"] ** 0.5}


def write_docs():
    rows = [trained(model, count) for model in TRAINED for count in COUNTS]
    text = (f"Written by `test/compress/tokens.py --write-docs` ({platform.machine()}): accuracy in % on 2,000 images, no training; milliseconds "
            "of one thread at batch 1; of 49 tokens.\n\n| model | merged behind each attention | tokens at the end | float | merged | "
            "outputs changed by | latency, ms |\n|---|---|---|---|---|---|---|\n")
    for r in rows:
        a, b = r["float"]["latency_ms"], r["merged"]["latency_ms"]
        text += (f"| {r['model']} | {r['count']} | {r['left']} | {r['float']['quality']:.2f} | {r['merged']['quality']:.2f} | {r['error']:.1f} % | "
                 f"{a:.3f} → {b:.3f} ({100 * (b / a - 1):+.0f} %) |\n")
        print(r, flush=True)
    tables.write_part("compression.md", BEGIN, END, f"{BEGIN}\n\n{text}\n{END}")


if __name__ == "__main__":
    if "--write-docs" in sys.argv:
        sys.exit(write_docs())
    sys.exit(example.main(__doc__, [encoders, beside, refusals]))
