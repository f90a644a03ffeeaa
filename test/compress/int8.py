#!/usr/bin/env python3
"""--quantize=int8: numbers of layers, recipes, exported models, ranges from noise, weights solved anew, sensitive layers.

    int8.py [--only=NAME]

Ends with `N passed, N failed`.
"""
import json
import os
import platform
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "support"), os.path.join(HERE, "..", "models")]
import numpy as np
import onnx
from onnx import helper, numpy_helper
from corpus import SHARED
from example import MODEL, main, mlp
from nnopt import BUILD, Session, reference_session


def quantize(f):
    """--quantize=int8 keeps the classes, computes on integers, and its recipe gives the same bytes."""
    f.compile("--quantize=int8", "--calib=calib.npz", "--eval=eval.npz", "-o", "q.so", "--recipe-out=q.json",
              says=["top1 100.00 % (float top1 100.00 %", "4 layers int8"])
    steps = json.load(open(f / "q.json"))["steps"]
    assert len(steps) == 4 and all(0 <= s["parameters"]["zero_point"] <= 255 for s in steps), steps
    f.replay("q")
    f.compile("-o", "float.so")
    weights = []
    for name in ("q.so", "float.so"):
        with Session(f / name) as session:
            session.run(None, {"image": f.image})
            weights.append(session.memory().weights)
    assert weights[0] < 0.4 * weights[1], f"weights: {weights}"
    graph = subprocess.run([os.path.join(BUILD, "bin", "nnopt-compile"), MODEL, "--recipe=q.json", "--emit=nn"], cwd=f.path,
                           capture_output=True, text=True).stdout
    products = [line for line in graph.splitlines() if "nn.conv" in line or "nn.matmul" in line]
    assert len(products) == 4 and all("xui8>" in line for line in products), graph


def residuals(f):
    """Quantized networks keep all between their convolutions in bytes: no map but at the image and the mean at the end."""
    if not os.path.isdir(os.path.join(SHARED, "trained")):
        return
    for name, convolutions in (("resnet20", 21), ("mobilenetv2", 25)):
        recipe = os.path.join(HERE, "recipes", f"{name}-int8.json")
        graph = subprocess.run([os.path.join(BUILD, "bin", "nnopt-compile"), os.path.join(SHARED, "trained", name + ".onnx"),
                                f"--recipe={recipe}", "--emit=nn"], capture_output=True, text=True, check=True).stdout.splitlines()
        convs = [line for line in graph if " nn.conv " in line]
        assert len(convs) == convolutions, (name, len(convs))
        # The last one gives floats, which are averaged.
        assert all("xui8>" in line.split("->")[-1] for line in convs[:-1]), (name, convs)
        others = sorted(op for line in graph for op in re.findall(r" = nn\.(\w+)", line) if op not in ("conv", "constant"))
        assert others == ["map", "map", "matmul", "reduce", "reshape", "reshape"], (name, others)


def export(f):
    """--emit=onnx of a recipe is a QDQ model that onnxruntime runs to nearly the same outputs."""
    f.compile("--recipe=q.json", "--emit=onnx", "-o", "q.onnx")
    with Session(f / "q.so") as session:
        ours = session.run(None, {"image": f.image})[0]
    theirs = reference_session(f / "q.onnx", optimize=False).run(None, {"image": f.image})[0]
    error = np.abs(ours - theirs).max() / np.abs(theirs).max()
    assert error < 0.03, f"error {error}"


def noise(f):
    """--quantize=int8 without data: ranges of noise and of batch normalizations, labelled so; the recipe gives the same bytes."""
    f.compile("--quantize=int8", "-o", "n.so", "--recipe-out=n.json", says=["warning: without --calib", "know for 3 values", "4 layers int8"])
    notes = json.load(open(f / "n.json"))
    assert notes["calibration"] == {"source": "noise", "samples": 64, "normalized": 3}, notes["calibration"]
    f.replay("n")
    with Session(f / "n.so") as session:
        assert (session.run(None, {"image": f.image})[0].argmax(1) == f.labels).all(), "classes differ"
    graph = helper.make_graph([helper.make_node("Gather", ["w", "ids"], ["e"]), helper.make_node("MatMul", ["e", "w"], ["y"])], "g",
                              [helper.make_tensor_value_info("ids", 7, ["n"])], [helper.make_tensor_value_info("y", 1, ["n", 8])],
                              [numpy_helper.from_array(np.eye(8, dtype=np.float32), "w")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), f / "ids.onnx")
    f.compile("--quantize=int8", model=f / "ids.onnx", code=2, says=["input 'ids' is", "give calibration data"])


def channels(f):
    """int8 of a value with channels of very different sizes: factors for channels, which are exact for what they divide."""
    mlp(f / "wide.onnx", [64, 128, 16])
    rng = np.random.default_rng(3)
    x = (rng.standard_normal((128, 64)) * np.exp2(rng.uniform(-7, 0, 64))).astype(np.float32)
    np.savez(f / "wide.npz", x=x[:96])
    # Small channels count: their weights are as much larger.
    model = onnx.load(f / "wide.onnx")
    w = numpy_helper.to_array(model.graph.initializer[0]) / np.abs(x).max(0)[:, None]
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(w.astype(np.float32), "w0"))
    onnx.save(model, f / "wide.onnx")
    f.compile("--quantize=int8", "--calib=wide.npz", "-o", "c.so", "--recipe-out=c.json", model="wide.onnx", says=["2 layers int8"])
    notes = json.load(open(f / "c.json"))
    steps = {s["site"]: s for s in notes["steps"]}
    assert len(steps["linear0"]["parameters"]["channel_scales"]) == 64, steps
    want = reference_session(f / "wide.onnx").run(None, {"x": x[96:]})[0]
    one = rounded(notes)
    json.dump(one, open(f / "many.json", "w"))
    lo, hi = float(x.min()), float(x.max())
    next(s for s in one["steps"] if s["site"] == "linear0")["parameters"] = {"scale": (hi - lo) / 255, "zero_point": round(-lo * 255 / (hi - lo))}
    json.dump(one, open(f / "one.json", "w"))
    errors = []
    for name in ("many", "one"):
        f.compile(f"--recipe={name}.json", "-o", name + ".so", model="wide.onnx")
        with Session(f / (name + ".so")) as session:
            got = session.run(None, {"x": x[96:]})[0]
        errors.append(np.linalg.norm(got - want) / np.linalg.norm(want))
    assert errors[0] < 0.03 and errors[0] < errors[1] / 4, f"errors {errors}"
    with Session(f / "c.so") as session:
        got = session.run(None, {"x": x[96:]})[0]
    f.compile("--recipe=c.json", "--emit=onnx", "-o", "c.onnx", model="wide.onnx")
    theirs = reference_session(f / "c.onnx", optimize=False).run(None, {"x": x[96:]})[0]
    assert np.abs(theirs - got).max() < 0.02 * np.abs(got).max(), "onnxruntime differs"
    steps["linear0"]["parameters"]["channel_scales"].pop()
    json.dump(notes, open(f / "c.json", "w"))
    f.compile("--recipe=c.json", model="wide.onnx", code=3, says=["linear0", "a positive number for each of its 64 in channels"])


def rounded(notes):
    """A recipe without the arrays of its int8 steps: weights are rounded to the nearest then."""
    notes = json.loads(json.dumps(notes))
    for step in notes["steps"]:
        step.pop("tensors", None)
    return notes


def solved(f):
    """Weights and biases of int8 layers are solved anew: smaller errors than rounding to the nearest, on other data, too."""
    mlp(f / "deep.onnx", [48, 96, 96, 10])
    rng = np.random.default_rng(5)
    x = (rng.standard_normal((4608, 12)) @ rng.standard_normal((12, 48)) + 0.1 * rng.standard_normal((4608, 48))).astype(np.float32)
    np.savez(f / "deep.npz", x=x[:4096])
    # Most weights of the second layer are zero, and stay so.
    model = onnx.load(f / "deep.onnx")
    kept = rng.random((96, 96)) < 0.4
    w = numpy_helper.to_array(model.graph.initializer[2])
    assert w.shape == kept.shape, w.shape
    model.graph.initializer[2].CopyFrom(numpy_helper.from_array(w * kept, model.graph.initializer[2].name))
    onnx.save(model, f / "deep.onnx")
    compile = lambda *flags, **more: f.compile(*flags, model="deep.onnx", **more)
    compile("--quantize=int8", "--calib=deep.npz", "-o", "s.so", "--recipe-out=s.json", says=["3 layers int8"])
    notes = json.load(open(f / "s.json"))
    assert notes["repair"]["kept"] and notes["repair"]["output_error_after"] < 0.7 * notes["repair"]["output_error_before"], notes["repair"]
    assert all(set(step["tensors"]) == {"codes", "scales", "bias"} for step in notes["steps"]), notes["steps"]
    codes = np.load(f / "s.json.npz")["1/codes"]
    assert not codes[~kept.T].any() and np.count_nonzero(codes) > 0.9 * kept.sum(), "zeros did not stay"
    f.replay("s", model="deep.onnx")
    json.dump(rounded(notes), open(f / "r.json", "w"))
    compile("--recipe=r.json", "-o", "r.so")
    want = reference_session(f / "deep.onnx").run(None, {"x": x[4096:]})[0]
    got, errors = {}, {}
    for name in "sr":
        with Session(f / (name + ".so")) as session:
            got[name] = session.run(None, {"x": x[4096:]})[0]
        errors[name] = np.linalg.norm(got[name] - want) / np.linalg.norm(want)
    assert errors["s"] < 0.85 * errors["r"], errors
    compile("--recipe=s.json", "--emit=onnx", "-o", "s.onnx")
    theirs = reference_session(f / "s.onnx", optimize=False).run(None, {"x": x[4096:]})[0]
    assert np.linalg.norm(theirs - got["s"]) < 0.002 * np.linalg.norm(theirs), "onnxruntime differs"
    notes["steps"][1]["site"], notes["steps"][2]["site"] = notes["steps"][2]["site"], notes["steps"][1]["site"]
    json.dump(notes, open(f / "s.json", "w"))
    compile("--recipe=s.json", code=3, says=["their shapes do not fit"])


def sensitive(f):
    """Layers that int8 spoils get bf16 products where these do, else stay, and the recipe says why; the others are int8."""
    mlp(f / "s.onnx", [64, 128, 128, 16])
    plain = onnx.load(f / "s.onnx")
    rng = np.random.default_rng(4)
    for name in ("scales", "offset"):
        model = onnx.ModelProto()
        model.CopyFrom(plain)
        x = rng.standard_normal((128, 64)).astype(np.float32)
        if name == "scales": # each row is divided by its size behind the first product: one range does not hold all rows
            x *= np.exp(3 * rng.standard_normal((128, 1))).astype(np.float32)
            model.graph.node[0].input.pop()
            model.graph.node.insert(1, helper.make_node("LpNormalization", ["y0"], ["p0"], axis=1))
            model.graph.node[2].input[0] = "p0"
        else: # what all elements have in common cancels: 8 bits of precision are too few, whatever the exponents
            x += 100
            w = numpy_helper.to_array(model.graph.initializer[0])
            model.graph.initializer[0].CopyFrom(numpy_helper.from_array(w - w.mean(0), "w0"))
        onnx.save(model, f / "s.onnx")
        np.savez(f / "s.npz", x=x)
        text = f.compile("--quantize=int8,error=3%", "--calib=s.npz", "--metric=cosine", "-o", "s.so", "--recipe-out=s.json", model="s.onnx")
        notes = json.load(open(f / "s.json"))
        chosen = {s["site"]: s["option"] for s in notes["steps"]}
        bf16 = name == "scales" and "avx512_bf16" in open("/proc/cpuinfo").read()
        expected = {"linear1": "int8", "linear2": "int8", **({"linear0": "bf16-products"} if bf16 else {})}
        assert chosen == expected, (name, chosen, text)
        assert notes["output_error"] < 0.002 < notes["output_error_of_all"], notes
        reason = {r["site"]: r["reason"] for r in notes["refused"]}["linear0"]
        assert reason.endswith("bf16-products instead" if bf16 else "left as it is"), reason
        if platform.machine() == "x86_64": # without instructions for bf16 they stay
            f.compile("--quantize=int8,error=3%", "--calib=s.npz", "--target=x86-64-v2", "-o", "old.so", "--recipe-out=old.json", model="s.onnx")
            assert {s["option"] for s in json.load(open(f / "old.json"))["steps"]} == {"int8"}
        f.replay("s", model="s.onnx")


if __name__ == "__main__":
    sys.exit(main(__doc__, [quantize, residuals, export, noise, channels, solved, sensitive]))
