#!/usr/bin/env python3
"""Feed-forward networks as mixtures of experts: --moe by the command line.

    moe.py [--only=NAME] [--trained] [--write-docs]

The models are small networks whose neurons come in groups that respond to the same inputs, made here. --trained, and
--write-docs, which writes the table into docs/compression.md, measure the trained transformers of the model corpus (see
NNOPT_SHARED) instead. Ends with `N passed, N failed`.
"""
import argparse
import filecmp
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "support"), os.path.join(HERE, "..", "models"), HERE]
import numpy as np
import onnx
import tables
from corpus import SHARED
from nnopt import BUILD, Session, reference_session
from onnx import helper, numpy_helper

IN, OUT, ROWS = 19, 21, 7  # sizes that fill no vector


def network(path, activation="Relu", groups=10, size=16, gate=False, threshold=0.6, seed=0):
    """x [batch, 7, 19] through two networks in a row; in a group, neurons respond to nearly the same direction."""
    rng = np.random.default_rng(seed)
    hidden, nodes, weights, value = groups * size, [], {}, "x"

    def linear(x, name, matrix, bias):
        weights[name + ".weight"], weights[name + ".bias"] = matrix, bias
        nodes.append(helper.make_node("MatMul", [x, name + ".weight"], [name + ".product"]))
        nodes.append(helper.make_node("Add", [name + ".product", name + ".bias"], [name + ".sum"]))
        return name + ".sum"

    for layer, (width, out) in enumerate(((IN, IN), (IN, OUT))):
        kinds = rng.standard_normal((width, groups))
        kinds /= np.linalg.norm(kinds, axis=0)
        first = kinds[:, rng.permutation(hidden) % groups] + 0.02 * rng.standard_normal((width, hidden))
        up = linear(value, f"up{layer}", first, np.full(hidden, -threshold))
        nodes.append(helper.make_node(activation, [up], [f"h{layer}"]))
        h = f"h{layer}"
        if gate:
            other = linear(value, f"gate{layer}", rng.standard_normal((width, hidden)) / 4, rng.standard_normal(hidden))
            nodes.append(helper.make_node("Mul", [other, h], [f"g{layer}"]))
            h = f"g{layer}"
        value = linear(h, f"down{layer}", rng.standard_normal((hidden, out)) / size, rng.standard_normal(out))
    nodes[-1].output[0] = "y"
    tensor = lambda name, last: helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", ROWS, last])
    graph = helper.make_graph(nodes, "network", [tensor("x", IN)], [tensor("y", OUT)],
                              [numpy_helper.from_array(w.astype(np.float32), n) for n, w in weights.items()])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path)


class Folder:
    def __init__(self, path):
        self.path = path
        rng = np.random.default_rng(1)
        np.savez(self / "calib.npz", x=rng.standard_normal((300, ROWS, IN), np.float32))
        self.x = rng.standard_normal((5, ROWS, IN), np.float32)

    def __truediv__(self, name):
        return os.path.join(self.path, name)

    def compile(self, model, *flags, code=0, says=()):
        done = subprocess.run([os.path.join(BUILD, "bin", "nnopt-compile"), model, *flags], cwd=self.path,
                              capture_output=True, text=True, timeout=1500)
        assert done.returncode == code, f"{flags}: exit {done.returncode}, expected {code}\n{done.stderr}"
        for text in says:
            assert text in done.stderr, f"{flags}: '{text}' is not in:\n{done.stderr}"
        return done

    def run(self, artifact):
        with Session(self / artifact) as session:
            return session.run(None, {"x": self.x})[0]

    def reference(self, model):
        return reference_session(self / model).run(None, {"x": self.x})[0]


def difference(a, b):
    return np.abs(a - b).max() / np.abs(b).max()


def exact(f):
    """With all neurons kept, only their order changes; the same with a gate beside the activation."""
    for gate, groups, size in ((False, 10, 16), (True, 8, 32)):
        network(f / "net.onnx", gate=gate, groups=groups, size=size)
        f.compile("net.onnx", "--moe=100%", "--calib=calib.npz", "-o", "all.so", says=["2 layers 100%"])
        error = difference(f.run("all.so"), f.reference("net.onnx"))
        assert error < 1e-6, f"gate={gate}: error {error}"


def half(f):
    """Half of the neurons give nearly the outputs, at --opt=0 and in onnxruntime too; the recipe gives the same bytes."""
    for gate, groups, size in ((False, 8, 32), (True, 10, 16)):
        network(f / "net.onnx", gate=gate, groups=groups, size=size)
        f.compile("net.onnx", "--moe=50%", "--calib=calib.npz", "-o", "half.so", "--recipe-out=half.json", "--verify",
                  says=["2 layers 50%"])
        half, dense = f.run("half.so"), f.reference("net.onnx")
        error = np.square(half - dense).sum() / np.square(dense - dense.mean((0, 1))).sum()
        assert 1e-9 < error < 0.05, f"gate={gate}: relative squared error {error}"
        steps = json.load(open(f / "half.json"))["steps"]
        assert [s["option"] for s in steps] == ["50%", "50%"] and steps[0]["parameters"]["experts"] == groups, steps
        f.compile("net.onnx", "--recipe=half.json", "-o", "again.so", "--recipe-out=again.json")
        assert filecmp.cmp(f / "half.so", f / "again.so", shallow=False), "the recipe gives another artifact"
        assert filecmp.cmp(f / "half.json.npz", f / "again.json.npz", shallow=False), "the recipe is written differently"
        f.compile("net.onnx", "--recipe=half.json", "--emit=onnx", "-o", "half.onnx")
        assert difference(half, f.reference("half.onnx")) < 1e-5, "onnxruntime gives other outputs"


def refusal(f):
    """Dense activations are refused with what was measured; so are hidden layers that do not divide."""
    network(f / "gelu.onnx", activation="Gelu", threshold=0)
    done = f.compile("gelu.onnx", "--moe=25%", "--calib=calib.npz", "-o", "gelu.so",
                     says=["no layer can be compressed", "its activations are dense: the largest 25% hold"])
    assert difference(f.run("gelu.so"), f.reference("gelu.onnx")) < 1e-5, done.stderr
    network(f / "odd.onnx", groups=5, size=9)
    f.compile("odd.onnx", "--moe=50%", "--calib=calib.npz", "-o", "odd.so", says=["its hidden layer of 45 neurons does not divide"])


def wrong(f):
    """Wrong texts are exit 2, recipes that do not fit exit 3."""
    network(f / "net.onnx")
    for spec in ("50", "0%", "101%", "half", "", "50%%", "-5%"):
        f.compile("net.onnx", f"--moe={spec}", "--calib=calib.npz", code=2, says=["--moe=", "expected the share"])
    f.compile("net.onnx", "--moe=50%", code=2, says=["--moe needs calibration data"])
    f.compile("net.onnx", "--moe=50%", "--quantize=int8", "--calib=calib.npz", code=2, says=["exclude each other"])
    f.compile("net.onnx", "--moe=50%", "--calib=calib.npz", "-o", "net.so", "--recipe-out=net.json")
    network(f / "wide.onnx", groups=12)
    f.compile("wide.onnx", "--recipe=net.json", code=3, says=["recipe: dense-to-moe of", "'order' must be a permutation of its 192 neurons"])
    network(f / "other.onnx", activation="Sigmoid")
    f.compile("other.onnx", "--recipe=net.json", code=3, says=["has no such layer"])
    assert not os.path.exists(f / "wide.so") and not os.path.exists(f / "other.so"), "an artifact was written"


# ------------------------------------------------------------------ trained models
TRAINED = [("relu_transformer", "75%"), ("relu_transformer", "50%"), ("relu_transformer", "25%"), ("vit", "50%")]
# Accuracy that relu_transformer must keep: with k-means over rows of the first matrix and a ridge router, mixtures of 8
# and 4 of 16 experts reach 87.55 and 84.75.
LEAST = {("relu_transformer", "50%"): 87.5, ("relu_transformer", "25%"): 86.0}


def trained(model, spec):
    """One row of the table: what is computed, and the quality before and after."""
    folder = os.path.join(SHARED, "trained")
    with tempfile.TemporaryDirectory() as path:
        subprocess.run([sys.executable, "to_npz.py", f"{model}.onnx", path], cwd=folder, check=True, capture_output=True)
        recipe = os.path.join(path, "moe.json")
        done = subprocess.run([os.path.join(BUILD, "bin", "nnopt-compile"), os.path.join(folder, f"{model}.onnx"), f"--moe={spec}",
                               f"--calib={path}/calib.npz", f"--eval={path}/eval.npz", "-o", f"{path}/moe.so",
                               f"--recipe-out={recipe}"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        if not os.path.exists(recipe):
            reason = done.stderr.split("no layer can be compressed: ", 1)[1].split("': ", 1)[1].splitlines()[0]
            return {"model": model, "share": spec, "refused": reason}
        notes = json.load(open(recipe))
        return {"model": model, "share": spec, "float": notes["float"]["quality"], "quality": notes["compressed"]["quality"],
                "experts": notes["steps"][0]["parameters"]["experts"], "size": notes["steps"][0]["parameters"]["size"],
                "kept": min(s["parameters"]["activation_kept"] for s in notes["steps"])}


def table(rows):
    lines = ["| model | neurons computed | experts | activation kept at best | float | mixture |", "|---|---|---|---|---|---|"]
    for r in rows:
        if "refused" in r:
            lines.append(f"| {r['model']} | {r['share']} | | refused: {r['refused']} | | |")
        else:
            lines.append(f"| {r['model']} | {r['share']} | {r['experts']} of {r['size']} | {100 * r['kept']:.1f} % | "
                         f"{r['float']:.2f} % | {r['quality']:.2f} % |")
    return "\n".join(lines)


def write_docs(rows):
    begin, end = "<!-- moe.py --write-docs -->", "<!-- end -->"
    tables.write_part("compression.md", begin, end, f"{begin}\n{table(rows)}\n{end}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="one of the tests, by name")
    parser.add_argument("--trained", action="store_true")
    parser.add_argument("--write-docs", action="store_true")
    options = parser.parse_args()
    failed = passed = 0
    if options.trained or options.write_docs:
        if not os.path.isdir(os.path.join(SHARED, "trained")):
            print("skipped: the model corpus is not there (see NNOPT_SHARED)\n0 passed, 0 failed")
            return 0
        rows = []
        for model, spec in TRAINED:
            rows.append(trained(model, spec))
            ok = ("refused" in rows[-1]) == (model == "vit") and rows[-1].get("quality", 100) >= LEAST.get((model, spec), 0)
            print("ok   " if ok else "FAIL ", rows[-1], flush=True)
            passed, failed = passed + ok, failed + (not ok)
        if options.write_docs:
            write_docs(rows)
    else:
        with tempfile.TemporaryDirectory() as path:
            folder = Folder(path)
            for test in (exact, half, refusal, wrong):
                if options.only and test.__name__ != options.only:
                    continue
                start = time.time()
                try:
                    test(folder)
                    passed += 1
                    print(f"ok    {test.__name__}: {test.__doc__.splitlines()[0]} ({time.time() - start:.0f} s)", flush=True)
                except Exception:
                    failed += 1
                    print(f"FAIL  {test.__name__}: {traceback.format_exc()}", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
