#!/usr/bin/env python3
"""Compression by the command line: budgets, recipes, wrong files and flags.

    run.py [--full] [--only=NAME]

The model is examples/models/fashion.onnx with its 16 images; with the model corpus (see NNOPT_SHARED) and --full also
resnet20 with its calibration and evaluation data. Ends with `N passed, N failed`.
"""
import argparse
import filecmp
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "support"), os.path.join(HERE, "..", "models")]
import numpy as np
import onnx
from onnx import helper, numpy_helper
from corpus import SHARED
from nnopt import BUILD, ROOT, Session, reference_session

MODEL = os.path.join(ROOT, "examples", "models", "fashion.onnx")



class Folder:
    """A folder with data for the example model, and the compiler run in it."""

    def __init__(self, path):
        self.path = path
        image = np.load(os.path.join(ROOT, "examples", "models", "fashion.npz"))["image"]
        labels = np.load(os.path.join(ROOT, "examples", "models", "fashion-expected.npz"))["labels"]
        self.image, self.labels = image, labels
        np.savez(self / "calib.npz", image=image)
        np.savez_compressed(self / "eval.npz", image=image, labels=labels)

    def __truediv__(self, name):
        return os.path.join(self.path, name)

    def compile(self, *flags, model=MODEL, code=0, says=()):
        done = subprocess.run([os.path.join(BUILD, "bin", "nnopt-compile"), model, *flags], cwd=self.path,
                              capture_output=True, text=True, timeout=1500)
        assert done.returncode == code, f"{flags}: exit {done.returncode}, expected {code}\n{done.stderr}"
        for text in says:
            assert text in done.stderr, f"{flags}: '{text}' is not in:\n{done.stderr}"
        return done.stderr

    def replay(self, stem, *flags, model=MODEL):
        """The recipe STEM.json gives the bytes of STEM.so again, and of itself."""
        self.compile(f"--recipe={stem}.json", "-o", "again.so", "--recipe-out=again.json", *flags, model=model)
        assert filecmp.cmp(self / f"{stem}.so", self / "again.so", shallow=False), f"{stem}: the recipe gives another artifact"
        assert filecmp.cmp(self / f"{stem}.json", self / "again.json", shallow=False), f"{stem}: the recipe is written differently"

    def export(self, stem):
        """The model that --emit=onnx writes for STEM.json gives in onnxruntime what STEM.so gives."""
        self.compile(f"--recipe={stem}.json", "--emit=onnx", "-o", f"{stem}.onnx")
        with Session(self / f"{stem}.so") as session:
            ours = session.run(None, {"image": self.image})[0]
        theirs = reference_session(self / f"{stem}.onnx", optimize=False).run(None, {"image": self.image})[0]
        assert np.abs(ours - theirs).max() < 1e-4 * np.abs(theirs).max(), "onnxruntime gives something else"


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


def sparse(f):
    """--prune=sparse: exactly the share of zeros, in the exported model too; its recipe gives the same bytes."""
    import onnx
    calib = ("--calib=calib.npz", "--eval=eval.npz")
    f.compile("--prune=sparse:70%", *calib, "-o", "s.so", "--recipe-out=s.json", says=["2 layers 70%", "top1 100.00 % (float top1 100.00 %"])
    notes = json.load(open(f / "s.json"))
    steps = [s for s in notes["steps"] if s["technique"] == "prune-sparse"]
    sizes, zeros = [32 * 16 * 9, 64 * 32 * 9], []
    f.compile("--recipe=s.json", "--emit=onnx", "-o", "s.onnx")
    exported = [onnx.numpy_helper.to_array(i) for i in onnx.load(f / "s.onnx").graph.initializer]
    for step, size in zip(steps, sizes):
        weights = np.load(f / "s.json.npz")[step["tensors"]["weights"]]
        assert weights.size == size and 0 <= step["parameters"]["error"] < 0.5, step["parameters"]
        zeros.append(int((weights == 0).sum()))
        assert any(e.size == size and (e.reshape(weights.shape) == weights).all() for e in exported), f"{step['site']}: not exported"
    assert abs(sum(zeros) - 0.7 * sum(sizes)) <= 1, zeros
    assert {v["variant"] for v in notes["variants"]} == {"uniform", "global", "between"}, notes["variants"]
    # The layers around are solved anew, and keep all weights.
    assert [s["site"] for s in notes["steps"] if s["technique"] == "refit"] == ["conv1+bn1", "linear"], notes["steps"]
    reasons = {r["site"]: r["reason"] for r in notes["refused"]}
    assert "first layer" in reasons["conv1+bn1"] and "last layer" in reasons["linear"], reasons
    f.replay("s")
    f.compile("--prune=sparse:2:4", *calib, "-o", "g.so", "--recipe-out=g.json", says=["2 layers 2:4"])
    arrays = np.load(f / "g.json.npz")
    for step in json.load(open(f / "g.json"))["steps"]:
        if step["technique"] == "prune-sparse":
            weights = arrays[step["tensors"]["weights"]]
            assert ((weights.reshape(len(weights), -1, 4) != 0).sum(-1) <= 2).all(), step["site"]
    # Blocks of a vector's out channels, and of four in channels at one place of the kernel.
    for kind, target, rows, columns in (("f32", "x86-64-v4", 16, 1), ("int8", "x86-64-v3", 8, 4)):
        f.compile(f"--prune=sparse:75%,block={kind}", f"--target={target}", *calib, "-o", "b.so", "--recipe-out=b.json",
                  says=[f"2 layers 75%,block={rows}x{columns}"])
        arrays = np.load(f / "b.json.npz")
        for step in json.load(open(f / "b.json"))["steps"]:
            if step["technique"] == "prune-sparse":
                weights = arrays[step["tensors"]["weights"]]
                kept = weights.reshape(len(weights) // rows, rows, -1, columns, 9) != 0
                assert abs(kept.mean() - kept.any((1, 3)).mean()) < 1e-9, step["site"]
    broken = json.load(open(f / "s.json"))
    for change, says in (({"pattern": "7"}, "it needs a 'pattern'"), ({"zeros": 2}, "a share of 'zeros'")):
        broken["steps"][0]["parameters"] = {**steps[0]["parameters"], **change}
        json.dump(broken, open(f / "s.json", "w"))
        f.compile("--recipe=s.json", code=3, says=["recipe: prune-sparse of", says])
    f.compile("--prune=70%", calib[0], code=2, says=["expected sparse:"])
    for spec in ("", "70", "0%", "100%", "4:2", "70%,block=0x1", "70%,2:4"):
        f.compile(f"--prune=sparse:{spec}", calib[0], code=2, says=["expected sparse:SHARE%"])
    f.compile("--prune=sparse:70%", code=2, says=["needs calibration data"])


def targets(f):
    """A budget measures the kernels of the target, and says so where this machine cannot run them."""
    data = ("--calib=calib.npz", "--eval=eval.npz", "--budget=drop=5%", "--emit=obj", "--cache-dir=targets", "--recipe-out=t.json")
    warning = f.compile("--target=x86-64-v2", *data, "-o", "t.o") if platform.machine() == "x86_64" else ""
    assert "cannot run" not in warning, warning
    assert platform.machine() != "x86_64" or json.load(open(f / "t.json"))["measured"] == "x86-64-v2"
    other = "x86_64-linux-gnu:x86-64" if platform.machine() != "x86_64" else "aarch64-linux-gnu:neoverse-n1"
    f.compile(f"--target={other}", *data, "-o", "t.o", says=[f"cannot run code for {other}"])
    assert json.load(open(f / "t.json"))["measured"] == "native"


def prune(f):
    """--prune=structured: fewer multiply-adds and parameters, the recipe gives the same bytes, what stays is listed; a budget on top."""
    data = ("--calib=calib.npz", "--eval=eval.npz")
    f.compile("--prune=structured:30%", *data, "-o", "p.so", "--recipe-out=p.json",
              says=["(float top1 100.00 %", "of the multiply-adds", "groups of channels smaller"])
    recipe = json.load(open(f / "p.json"))
    notes = recipe["structured"]
    assert notes["multiply_adds"]["compressed"] <= 0.7 * notes["multiply_adds"]["float"], notes["multiply_adds"]
    assert notes["parameters"]["compressed"] < notes["parameters"]["float"], notes["parameters"]
    assert notes["output_error"] < 0.3, notes["output_error"]
    # The last layer gives the outputs.
    assert {r["site"]: r["reason"] for r in notes["refused"]} == {"linear": "an output of the model needs all of its channels"}, notes
    keeps = [s for s in recipe["steps"] if s["option"] == "keep"]
    assert keeps and all(s["technique"] == "prune-structured" and s["parameters"]["keep"] for s in keeps), keeps
    f.replay("p", "--verify")
    f.export("p")
    # Channels go first; what a budget does comes on top, in one recipe. Its limits are those of the model as it was.
    mlp(f / "mlp.onnx", [96, 256, 256, 20])
    np.savez(f / "mlp.npz", x=np.random.default_rng(1).standard_normal((256, 96)).astype(np.float32))
    f.compile("--prune=structured:30%,criterion=fluctuation,steps=2", "--budget=size=0.4x", "--calib=mlp.npz", "-o", "both.so", "--recipe-out=both.json",
              model="mlp.onnx", says=["of the multiply-adds"])
    assert {s["technique"] for s in json.load(open(f / "both.json"))["steps"]} > {"prune-structured"}
    f.compile("-o", "mlp.so", model="mlp.onnx")
    assert os.path.getsize(f / "both.so") <= 0.4 * os.path.getsize(f / "mlp.so")
    f.replay("both", model="mlp.onnx")
    f.compile("--prune=structured:99.9%", "--calib=mlp.npz", "-o", "no.so", model="mlp.onnx", code=1, says=["of the multiply-adds can go"])
    mlp(f / "one.onnx", [96, 20])
    f.compile("--prune=structured:10%", "--calib=mlp.npz", "-o", "no.so", model="one.onnx", code=1,
              says=["no channels can be removed: 'linear0': an output of the model needs all of its channels"])
    assert not os.path.exists(f / "no.so"), "an artifact was written"
    # Recipes that do not fit.
    for change, says in (({"site": "none"}, "no such group of channels"), ({"parameters": {"keep": [0, 0]}}, "different units"),
                         ({"parameters": {"keep": []}}, "different units"), ({"parameters": {"keep": [10 ** 6]}}, "different units"),
                         ({"parameters": 1}, "different units"), ({"option": "shrink"}, "no option 'shrink'"),
                         ({"option": "weights", "site": "none"}, "no such layer"), ({"option": "weights", "site": "linear"}, "'weights'")):
        with open(f / "w.json", "w") as file:
            json.dump({"nnopt_recipe": 1, "steps": [{**keeps[0], **change}]}, file)
        f.compile("--recipe=w.json", code=3, says=["prune-structured", says])
    for spec in ("", "25", "0%", "100%", "x%", "25%,criterion=best", "25%,steps=0", "25%,fast"):
        f.compile(f"--prune=structured:{spec}", data[0], code=2, says=[f"--prune=structured:{spec}: "])
    f.compile("--prune=structured:25%", code=2, says=["--prune needs calibration data"])
    f.compile("--prune=structured:25%", "--recipe=p.json", data[0], code=2, says=["give one of them"])


def low_rank(f):
    """--low-rank: stages in place of layers, the same bytes from its recipe, standard ONNX, and a budget that refuses it."""
    common = ("--low-rank=50%,error=100%", "--calib=calib.npz", "--eval=eval.npz")
    f.compile(*common, "-o", "l.so", "--recipe-out=l.json", says=["(float top1 100.00 %", "2 not eligible"])
    notes = json.load(open(f / "l.json"))
    tensors = np.load(f / "l.json.npz")
    assert [s["site"] for s in notes["steps"] if s["technique"] == "low-rank"] == ["conv2+bn2", "conv3+bn3"], notes["steps"]
    assert all("multiple of 8" in r["reason"] for r in notes["refused"]), notes["refused"]
    assert notes["repair"]["output_error_after"] < notes["repair"]["output_error_before"], notes["repair"]
    stages = sum(tensors[name].size for s in notes["steps"] if "tensors" in s for name in s["tensors"].values() if "stage" in name)
    assert 0.3 * (32 * 16 * 9 + 64 * 32 * 9) < stages <= 0.5 * (32 * 16 * 9 + 64 * 32 * 9), stages
    f.replay("l", "--verify")
    f.export("l")
    f.compile(*common[:2], "--metric=cosine", "--budget=drop=0.00001,size=0.6x", "-o", "no.so", code=1,
              says=["the budget cannot be met", "cosine", "conv3+bn3"])
    assert not os.path.exists(f / "no.so"), "an artifact was written"
    for spec in ("50", "0%", "most"):
        f.compile(f"--low-rank={spec}", "--calib=calib.npz", code=2, says=[f"--low-rank={spec}: expected the share"])
    notes["steps"][0]["parameters"]["ranks"] = [3, 3]
    with open(f / "l.json", "w") as file:
        json.dump(notes, file)
    f.compile("--recipe=l.json", code=3, says=["conv2+bn2", "do not fit"])


def spoiled(f):
    """Layers of which low rank, or zeros, spoil the outputs stay, the others are solved for what is left; where all do the model stays."""
    mlp(f / "s.onnx", [64, 128, 128, 16])
    model = onnx.load(f / "s.onnx")
    rng = np.random.default_rng(6)
    for initializer in model.graph.initializer:
        if initializer.name == "w1": # nearly of rank 16
            w = rng.standard_normal((128, 16)) @ rng.standard_normal((16, 128)) / 40 + 0.002 * rng.standard_normal((128, 128))
            initializer.CopyFrom(numpy_helper.from_array(w.astype(np.float32), "w1"))
    onnx.save(model, f / "s.onnx")
    x = rng.standard_normal((512, 64)).astype(np.float32)
    np.savez(f / "s.npz", x=x)
    np.savez(f / "t.npz", x=x[:64])
    compile = lambda *flags, **more: f.compile(*flags, "--calib=s.npz", "--metric=cosine", "-o", "s.so", "--recipe-out=s.json", model="s.onnx", **more)

    def sites():
        return json.load(open(f / "s.json")), {s["site"] for s in json.load(open(f / "s.json"))["steps"] if s["technique"] != "refit"}

    compile("--low-rank=50%,error=10%", says=["low-rank in all layers changes the outputs by", "of which 10.0 % are allowed: not in"])
    notes, taken = sites()
    assert taken == {"linear1"} and notes["output_error"] <= 0.01 < notes["output_error_of_all"], (taken, notes["output_error"])
    reasons = {r["site"]: r["reason"] for r in notes["refused"]}
    assert all("changes the outputs by" in reasons[s] and reasons[s].endswith("left as it is") for s in ("linear0", "linear2")), reasons
    f.replay("s", model="s.onnx")
    f.compile("-o", "plain.so", model="s.onnx")
    results = []
    for artifact in ("s.so", "plain.so"):
        with Session(f / artifact) as session:
            results.append(session.run(None, {"x": x})[0])
    assert np.linalg.norm(results[0] - results[1]) <= 0.1 * np.linalg.norm(results[1]), "the outputs change by more than is allowed"
    compile("--low-rank=50%,error=200%")
    assert sites()[1] == {"linear0", "linear1", "linear2"}, "error= allows everything"
    # What is allowed by default is exceeded by all layers together.
    compile("--low-rank=25%", says=["low-rank in all layers changes the outputs by"])
    assert "linear0" not in sites()[1], sites()[1]
    compile("--low-rank=50%,error=0.01%", says=["and so do the least sensitive ones: the model stays as it is", "3 left as they are"])
    notes, taken = sites()
    assert not taken and notes["output_error"] == 0, notes
    compile("--prune=sparse:90%,error=5%", says=["prune-sparse in all layers changes the outputs by"])
    notes, taken = sites()
    assert "linear1" not in taken and notes["output_error"] <= 0.0025, notes["output_error"]
    compile("--quantize=w4,error=1%", says=["quantize in all layers changes the outputs by"])
    assert len(sites()[1]) < 3 and sites()[0]["output_error"] <= 1e-4
    f.replay("s", model="s.onnx")
    for spec in ("50%,error=", "50%,error=5", "50%,error=-1%"):
        compile(f"--low-rank={spec}", code=2, says=["error=3% bounds what changes in the outputs"])


def drop_layer(f):
    """A recipe leaves residual blocks out, and names what is none; its --emit=onnx is what onnxruntime computes."""
    import onnx
    from onnx import helper, numpy_helper
    rng = np.random.default_rng(0)
    nodes, weights, h = [], [], "x"
    for i in range(3):
        weights += [numpy_helper.from_array(rng.standard_normal((8, 8)).astype(np.float32), f"w{i}")]
        nodes += [helper.make_node("MatMul", [h, f"w{i}"], [f"h{i}"], name=f"product{i}"), helper.make_node("Tanh", [f"h{i}"], [f"t{i}"]),
                  helper.make_node("Add", [f"t{i}", h], [f"y{i}"], name=f"sum{i}")]
        h = f"y{i}"
    value = lambda name: helper.make_tensor_value_info(name, 1, ["n", 4, 8])
    model = helper.make_model(helper.make_graph(nodes, "g", [value("x")], [value(h)], weights), opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, f / "blocks.onnx")
    x = rng.standard_normal((64, 4, 8)).astype(np.float32)
    np.savez(f / "x.npz", x=x)

    def recipe(site):
        steps = [{"technique": "drop-layer", "site": site, "option": "drop", "parameters": {}}]
        with open(f / "d.json", "w") as file:
            json.dump({"nnopt_recipe": 1, "steps": steps}, file)
        return "--recipe=d.json"

    f.compile(recipe("sum1"), "-o", "d.so", model="blocks.onnx")
    f.compile(recipe("sum1"), "--emit=onnx", "-o", "d.onnx", model="blocks.onnx")
    expected = x
    for i in (0, 2):
        expected = expected + np.tanh(expected @ numpy_helper.to_array(weights[i]))
    with Session(f / "d.so") as session:
        ours = session.run(None, {"x": x})[0]
    theirs = reference_session(f / "d.onnx").run(None, {"x": x})[0]
    for got in (ours, theirs):
        assert np.abs(got - expected).max() < 1e-5 * np.abs(expected).max()
    f.compile(recipe("product1"), "-o", "d.so", model="blocks.onnx", code=3, says=["product1", "no such layer"])
    # In a budget it is an option among others, with its error and its time.
    f.compile("--budget=drop=0.5", "--metric=cosine", "--calib=x.npz", "--recipe-out=d.json", "-o", "d.so", model="blocks.onnx")
    layers = {layer["site"]: layer for layer in json.load(open(f / "d.json"))["layers"]}
    options = {o["name"]: o for o in layers["sum0"]["options"]}
    assert {"drop", "linear"} <= set(options), layers
    assert 0 < options["linear"]["error"] < options["drop"]["error"], options
    # By the flag those go whose outputs are most like their inputs.
    for i, size in enumerate((1, 0.03, 0.1)):
        w = numpy_helper.to_array(weights[i]) * size
        model.graph.initializer[i].CopyFrom(numpy_helper.from_array(w.astype(np.float32), f"w{i}"))
    onnx.save(model, f / "blocks.onnx")
    for spec, gone, name in (("1", ["sum1"], "drop"), ("2", ["sum1", "sum2"], "drop"), ("2,linear", ["sum1", "sum2"], "linear"), ("2,error=15%", ["sum1"], "drop")):
        f.compile(f"--drop-layers={spec}", "--calib=x.npz", "--metric=cosine", "-o", "d.so", "--recipe-out=d.json", model="blocks.onnx")
        steps = json.load(open(f / "d.json"))["steps"]
        assert [s["site"] for s in steps] == gone and all(s["option"] == name and 0 < s["parameters"]["influence"] < 0.2 for s in steps), (spec, steps)
        f.replay("d", model="blocks.onnx")
    refused = {r["site"]: r["reason"] for r in json.load(open(f / "d.json"))["refused"]}
    assert "changes its input more than those that go" in refused["sum0"] and "are allowed" in refused["sum2"], refused
    for spec in ("", "0", "2,all", "50%"):
        f.compile(f"--drop-layers={spec}", "--calib=x.npz", model="blocks.onnx", code=2, says=["expected the number of residual blocks"])


def parallel_blocks(f):
    """The second of two residual blocks reads what the first one reads; they share a normalization then."""
    rng = np.random.default_rng(3)
    weights = [(rng.standard_normal((32, 32)) * size).astype(np.float32) for size in (0.02, 0.1, 0.1, 0.1, 0.1)]
    nodes, h = [], "x"
    for i in range(len(weights)):
        nodes += [helper.make_node("LayerNormalization", [h, f"s{i}"], [f"n{i}"]), helper.make_node("MatMul", [f"n{i}", f"w{i}"], [f"h{i}"]),
                  helper.make_node("Tanh", [f"h{i}"], [f"t{i}"]), helper.make_node("Add", [f"t{i}", h], [f"y{i}"], name=f"sum{i}")]
        h = f"y{i}"
    value = lambda name: helper.make_tensor_value_info(name, 1, ["n", 4, 32])
    scales = [rng.uniform(0.5, 2, 32).astype(np.float32) for _ in weights]
    constants = [numpy_helper.from_array(a, f"{name}{i}") for name, arrays in (("w", weights), ("s", scales)) for i, a in enumerate(arrays)]
    graph = helper.make_graph(nodes, "g", [value("x")], [value(h)], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), f / "pairs.onnx")
    x = rng.standard_normal((64, 4, 32)).astype(np.float32)
    np.savez(f / "pairs.npz", x=x)
    flags = ("--calib=pairs.npz", "--metric=cosine", "-o", "p.so", "--recipe-out=p.json")
    # The pairs are (0, 1) and (2, 3): of the first one, the first block does least.
    for count, sites in ((1, ["sum1"]), (2, ["sum1", "sum3"]), (9, ["sum1", "sum3"])):
        text = f.compile(f"--parallel-blocks={count}", *flags, model="pairs.onnx")
        assert [s["site"] for s in json.load(open(f / "p.json"))["steps"]] == sites
        assert f"{10 - len(sites)} launches" in text, text # a normalization for each pair
        want = x
        for i in range(5):
            before = want if f"sum{i}" not in sites else before
            normal = (before - before.mean(-1, keepdims=True)) / np.sqrt(before.var(-1, keepdims=True) + 1e-5) * scales[i]
            want = want + np.tanh(normal @ weights[i])
        with Session(f / "p.so") as session:
            got = session.run(None, {"x": x})[0]
        assert np.abs(got - want).max() < 1e-5 * np.abs(want).max(), count
    f.replay("p", model="pairs.onnx")
    f.compile("--recipe=p.json", "--emit=onnx", "-o", "p.onnx", model="pairs.onnx")
    assert np.abs(reference_session(f / "p.onnx").run(None, {"x": x})[0] - want).max() < 1e-5 * np.abs(want).max()
    f.compile("--budget=drop=0.5", *flags, model="pairs.onnx")
    options = {layer["site"]: {o["name"] for o in layer["options"]} for layer in json.load(open(f / "p.json"))["layers"] if "options" in layer}
    assert "parallel" in options["sum1"] and "parallel" not in options["sum2"], options
    json.dump({"nnopt_recipe": 1, "steps": [{"technique": "parallel-blocks", "site": "sum0", "option": "parallel", "parameters": {}}]}, open(f / "p.json", "w"))
    f.compile("--recipe=p.json", "-o", "p.so", model="pairs.onnx", code=3, says=["sum0"])
    for spec in ("", "0", "50%"):
        f.compile(f"--parallel-blocks={spec}", "--calib=pairs.npz", model="pairs.onnx", code=2, says=["expected the number of pairs"])


def sparse_activations(f):
    """The share of zeros over the calibration data, those that count least; a product that reads no weights for them."""
    rng = np.random.default_rng(0)
    w1, w2 = (rng.standard_normal(shape).astype(np.float32) / 8 for shape in ((64, 256), (256, 64)))
    w2 *= np.exp(rng.standard_normal((256, 1))).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w1"], ["h"], name="up"), helper.make_node("Sigmoid", ["h"], ["s"]),
             helper.make_node("Mul", ["h", "s"], ["a"], name="silu"), helper.make_node("MatMul", ["a", "w2"], ["y"], name="down")]
    value = lambda name, width: helper.make_tensor_value_info(name, 1, ["n", width])
    graph = helper.make_graph(nodes, "g", [value("x", 64)], [value("y", 64)], [numpy_helper.from_array(w, n) for n, w in (("w1", w1), ("w2", w2))])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), f / "ffn.onnx")
    x = rng.standard_normal((200, 64)).astype(np.float32)
    np.savez(f / "x.npz", x=x)
    flags = ("--sparse-activations=60%", "--calib=x.npz", "--metric=cosine", "-o", "a.so", "--recipe-out=a.json")
    f.compile(*flags, "--dim=n=1", model="ffn.onnx", says=["1 layers 60%"])
    step, = json.load(open(f / "a.json"))["steps"]
    thresholds = np.load(f / "a.json.npz")[step["tensors"]["threshold"]].reshape(-1)
    hidden = x @ w1
    hidden = hidden / (1 + np.exp(-hidden))
    kept = np.abs(hidden) > thresholds
    assert abs(kept.mean() - 0.4) < 0.02, kept.mean()
    # One number for all channels, times the norm of the weights: what is left out counts least.
    counts = np.abs(hidden) * np.linalg.norm(w2, axis=1)
    assert counts[~kept].max() <= counts[kept].min() * 1.0001
    assert abs(step["parameters"]["lost"] - (counts[~kept] ** 2).sum() / (counts ** 2).sum()) < 0.01, step
    with Session(f / "a.so") as session:
        for i in range(3):
            got, want = session.run(None, {"x": x[i:i + 1]})[0], np.where(kept, hidden, 0)[i:i + 1] @ w2
            assert np.abs(got - want).max() < 1e-5 * np.abs(want).max(), i
    profile = subprocess.run([os.path.join(BUILD, "bin", "nnopt-run"), f / "a.so", "--profile"], capture_output=True, text=True).stdout
    assert "matmul_sparse_row_64x256" in profile, profile
    f.replay("a", "--dim=n=1", model="ffn.onnx")
    f.compile("--recipe=a.json", "--emit=onnx", "--dim=n=1", "-o", "a.onnx", model="ffn.onnx")
    assert np.abs(reference_session(f / "a.onnx").run(None, {"x": x[:1]})[0] - np.where(kept, hidden, 0)[:1] @ w2).max() < 1e-4
    # Of several rows few channels are zero in all.
    for dims, reason in (((), "a number of rows that is not known"), (("--dim=n=4",), "it multiplies 4 rows")):
        f.compile(*flags, *dims, model="ffn.onnx", says=["no layer can be compressed", "'down'", reason])
    for spec in ("", "50", "0%", "100%"):
        f.compile(f"--sparse-activations={spec}", "--calib=x.npz", model="ffn.onnx", code=2, says=["expected the share of activations"])


def plans(f):
    """A budget that no other technique meets removes channels by itself, and says what it compared; its recipe gives the same bytes."""
    mlp(f / "wide.onnx", [128, 1024, 64])
    x = np.random.default_rng(2).standard_normal((256, 128)).astype(np.float32)
    np.savez(f / "wide.npz", x=x)
    f.compile("--budget=size=0.12x", "--metric=cosine", "--calib=wide.npz", "-o", "w.so", "--recipe-out=w.json", model="wide.onnx",
              says=["compared: as it is (", "of the multiply-adds gone"])
    notes = json.load(open(f / "w.json"))
    assert {"prune-structured"} < {s["technique"] for s in notes["steps"]}, {s["technique"] for s in notes["steps"]}
    assert notes["plans"][0]["multiply_adds_gone"] == 0 and len(notes["plans"]) > 1, notes["plans"]
    f.compile("-o", "dense.so", model="wide.onnx")
    assert os.path.getsize(f / "w.so") <= 0.12 * os.path.getsize(f / "dense.so")
    f.replay("w", model="wide.onnx")


def near_limit(f):
    """A limit of the size is used up, but for less than what two layers save."""
    mlp(f / "deep.onnx", [256] * 11)
    x = np.random.default_rng(2).standard_normal((64, 256)).astype(np.float32)
    np.savez(f / "deep.npz", x=x)
    f.compile("-o", "dense.so", model="deep.onnx")
    limit = 0.6 * os.path.getsize(f / "dense.so")
    f.compile("--quantize=w8", "--budget=size=0.6x", "--metric=cosine", "--calib=deep.npz", "-o", "d.so", "--recipe-out=d.json", model="deep.onnx")
    steps = [s for s in json.load(open(f / "d.json"))["steps"] if s["technique"] == "quantize"]
    assert 0 < len(steps) < 10, steps
    assert limit - 2 * 3 * 256 * 256 <= os.path.getsize(f / "d.so") <= limit, (os.path.getsize(f / "d.so"), limit, len(steps))


def mlp(path, sizes):
    """A model of matrix products with random weights, relu between them; its input is x [n, sizes[0]]."""
    rng = np.random.default_rng(0)
    constants, nodes, value = [], [], "x"
    for i, (depth, columns) in enumerate(zip(sizes, sizes[1:])):
        w = (rng.standard_normal((depth, columns)) * rng.uniform(0.5, 2, columns) / np.sqrt(depth)).astype(np.float32)
        constants += [numpy_helper.from_array(w, f"w{i}"), numpy_helper.from_array(w[0].copy(), f"b{i}")]
        nodes.append(helper.make_node("Gemm", [value, f"w{i}", f"b{i}"], [f"y{i}"], name=f"linear{i}"))
        value = f"y{i}"
        if i + 2 < len(sizes):
            nodes.append(helper.make_node("Relu", [value], [f"r{i}"], name=f"relu{i}"))
            value = f"r{i}"
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", 1, ["n", sizes[0]])],
                              [helper.make_tensor_value_info(value, 1, ["n", sizes[-1]])], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)


def weight_only(f):
    """--quantize=w8, w4, bf16, f16: sizes as promised, small errors, recipes that replay, models that onnxruntime runs."""
    mlp(f / "mlp.onnx", [96, 256, 256, 20])
    x = np.random.default_rng(1).standard_normal((256, 96)).astype(np.float32) @ \
        np.random.default_rng(2).standard_normal((96, 96)).astype(np.float32) / 8
    np.savez(f / "mlp.npz", x=x[:192])

    def run(artifact):
        with Session(f / artifact) as session:
            y = session.run(None, {"x": x[192:]})[0]
            return y, session.memory().weights

    compile = lambda *flags, **more: f.compile(*flags, model=f / "mlp.onnx", **more)
    compile("-o", "mlp.so")
    want, wide = run("mlp.so")
    data = "--calib=mlp.npz"
    # The relative error of outputs, and the share of the weights' bytes that is left: bits, scales and biases.
    for spec, error, share in (("w8", 0.02, 0.28), ("w4", 0.16, 0.20), ("w4,group=64", 0.18, 0.18), ("w4,rank=16", 0.13, 0.29),
                               ("bf16", 0.01, 0.52), ("f16", 0.001, 0.52)):
        # f16 weights that are not normal numbers there would be coarse; these are not.
        compile(f"--quantize={spec}", data, "-o", "w.so", "--recipe-out=w.json", says=[f"3 layers {spec.split(',')[0]}"])
        got, bytes = run("w.so")
        distance = np.linalg.norm(got - want) / np.linalg.norm(want)
        assert distance < error, f"{spec}: error {distance}"
        assert bytes < share * wide, f"{spec}: {bytes} of {wide} bytes of weights"
        f.replay("w", model="mlp.onnx")
        compile("--recipe=w.json", "--emit=onnx", "-o", "w.onnx")
        # As the graph says: onnxruntime's own optimizations would quantize activations too.
        theirs = reference_session(f / "w.onnx", optimize=False).run(None, {"x": x[192:]})[0]
        assert np.abs(theirs - got).max() <= 2e-5 * np.abs(got).max(), f"{spec}: onnxruntime differs by {np.abs(theirs - got).max()}"
        # What was written is read as the same: no weights become floats on the way.
        f.compile("-o", "read.so", model=f / "w.onnx")
        again, read = run("read.so")
        assert np.abs(again - got).max() <= 2e-5 * np.abs(got).max() and read < share * wide, f"{spec}: {read} bytes when read again"
        if spec == "w4":
            assert json.load(open(f / "w.json"))["repair"]["kept"], "rounding with feedback did not help"
            shutil.copy(f / "w.json", f / "w4.json")
            shutil.copy(f / "w.json.npz", f / "w4.json.npz")
        if spec == "w4,rank=16":
            steps = json.load(open(f / "w.json"))
            assert [s["parameters"]["rank"] for s in steps["steps"]] == [16, 16, 16], steps
            steps["steps"][0]["site"], steps["steps"][1]["site"] = steps["steps"][1]["site"], steps["steps"][0]["site"]
            shutil.copy(f / "w.json.npz", f / "other.json.npz")
            json.dump(steps, open(f / "other.json", "w"))
            compile("--recipe=other.json", code=3, says=["their shapes do not fit"])
    # A size decides among them, layer by layer.
    compile("--budget=size=0.45x", data, "-o", "b.so", "--recipe-out=b.json")
    assert os.path.getsize(f / "b.so") <= 0.45 * os.path.getsize(f / "mlp.so")
    # Arrays of another layer, and of wrong numbers.
    steps = json.load(open(f / "w4.json"))
    steps["steps"][0]["site"], steps["steps"][2]["site"] = steps["steps"][2]["site"], steps["steps"][0]["site"]
    json.dump(steps, open(f / "w4.json", "w"))
    compile("--recipe=w4.json", code=3, says=["their shapes do not fit"])
    for spec, says in (("w3", "expected int8, int8,error=3%, w8"), ("int8,error=3", "'error=3': error=3% bounds"),
                       ("int8,group=8", "expected int8, int8,error=3%"), ("w4,group=12", "multiples of 8"),
                       ("w8,group=32", "only w4 and w4a8 have more to say"), ("w4,64", "only w4 and w4a8 have more to say"),
                       ("w4,rank=0", "ranks are from 1"), ("w8,rank=16", "only w4"), ("w4a8,rank=16", "only w4")):
        compile(f"--quantize={spec}", data, code=2, says=[says])


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


def budget(f):
    """A drop that can be met; and budgets that cannot: exit 1, no artifact, the best recipe, the layers in the way."""
    f.compile("--budget=drop=0%", "--calib=calib.npz", "--eval=eval.npz", "-o", "b.so", "--recipe-out=b.json",
              says=["top1 100.00 % (float top1 100.00 %"])
    notes = json.load(open(f / "b.json"))
    assert {"quality", "latency_ms", "bytes"} <= set(notes["float"]) and "quality" in notes["compressed"], notes
    assert all("ms" in layer and "options" in layer for layer in notes["layers"]), notes["layers"]
    f.compile("--budget=drop=0%,latency=0.001x", "--calib=calib.npz", "--eval=eval.npz", "-o", "no.so", code=1,
              says=["the budget cannot be met", "conv", "fashion.recipe.json"])
    assert not os.path.exists(f / "no.so"), "an artifact was written"
    f.compile("--recipe=fashion.recipe.json", "-o", "best.so")


def memory(f):
    """memory=: weights and arena."""
    f.compile("--budget=memory=0.7x", "--calib=calib.npz", "--eval=eval.npz", "-o", "m.so", says=["layers int8"])
    f.compile("--budget=memory=1KB", "--calib=calib.npz", "--eval=eval.npz", "-o", "no.so", code=1, says=["cannot be met"])
    assert not os.path.exists(f / "no.so"), "an artifact was written"


def interrupted(f):
    """Ctrl-C keeps the best so far: exit 0, a warning, an artifact that runs."""
    process = subprocess.Popen([os.path.join(BUILD, "bin", "nnopt-compile"), MODEL, "--budget=drop=0%", "--calib=calib.npz",
                                "--eval=eval.npz", "--cache-dir=", "-o", "i.so"], cwd=f.path, stderr=subprocess.PIPE, text=True)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, text = process.communicate(timeout=300)
    assert process.returncode == 0, f"exit {process.returncode}\n{text}"
    assert "interrupted" in text, text
    with Session(f / "i.so") as session:
        session.run(None, {"image": f.image})


def metrics(f):
    """Each metric on data that it can be worked out for by hand."""
    helper = onnx.helper
    identity = helper.make_model(
        helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"], "m")], "g",
                          [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 4, 6])],
                          [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 4, 6])],
                          [onnx.numpy_helper.from_array(np.eye(6, dtype=np.float32), "w")]),
        ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    onnx.save(identity, f / "identity.onnx")
    # Steps 1 1 0 2 and 3 0 3 3: the sequences 1 2 and 3 3.
    x = np.zeros((2, 4, 6), np.float32)
    for s, steps in enumerate(([1, 1, 0, 2], [3, 0, 3, 3])):
        for t, c in enumerate(steps):
            x[s, t, c] = 1
    def quality(metric, labels):
        np.savez(f / "x.npz", x=x, labels=labels)
        text = f.compile("--quantize=int8", "--calib=x.npz", "--eval=x.npz", f"--metric={metric}", "-o", "x.so", model="identity.onnx")
        return float(text.split("(float " + metric)[1].split()[0].rstrip(";)"))
    assert quality("characters", np.array([[1, 2, -1], [3, 4, 3]])) == 100 * (1 + 2 / 3) / 2 // 0.01 / 100, "characters"
    assert quality("words", np.array([[1, 2, -1], [3, 4, 3]])) == 50
    assert quality("top1", np.argmax(x, -1)) == 100
    worst = np.argsort(-x, axis=-1, kind="stable")
    assert quality("top5", worst[..., 4]) == 100 and quality("top5", worst[..., 5]) == 0
    assert quality("max", x + np.float32(0.25)) == 0.25
    p = np.exp(1) / (np.exp(1) + 5)
    assert abs(quality("perplexity", np.argmax(x, -1)) - 1 / p) < 1e-3


def command(f):
    """--metric=cmd: reads $OUTPUTS and $EVAL."""
    with open(f / "score.py", "w") as script:
        script.write("import os, numpy as np\no, e = np.load(os.environ['OUTPUTS']), np.load(os.environ['EVAL'])\n"
                     "print('scored')\nprint((o[o.files[0]].argmax(1) == e['labels']).mean())\n")
    common = ("--quantize=int8", "--calib=calib.npz", "--eval=eval.npz", "-o", "c.so")
    f.compile(*common, f"--metric=cmd:{sys.executable} score.py", says=["cmd 1.0000 (float cmd 1.0000"])
    f.compile(*common, "--metric=cmd:echo none", code=1, says=["its last line is no number: 'none'"])


def wrong(f):
    """Wrong flags are exit 2, wrong files exit 3, and each says what would be right."""
    calib = "--calib=calib.npz"
    f.compile("--quantize=w8", code=2, says=["needs calibration data"])
    f.compile("--budget=drop=1%", code=2, says=["needs calibration data"])
    f.compile("--quantize=int3", calib, code=2, says=["expected int8"])
    f.compile("--quantize=int8", "--recipe=q.json", calib, code=2, says=["exclude each other"])
    f.compile(calib, code=2, says=["do nothing without"])
    for text in ("drop", "drop=1%,drop=2%", "size=big", "latency=-1x", "speed=2x"):
        f.compile(f"--budget={text}", calib, code=2, says=["--budget="])
    f.compile("--budget=drop=x", calib, "--eval=eval.npz", code=2, says=["no amount of top1"])
    f.compile("--quantize=int8", calib, "--metric=speed", code=2, says=["expected top1, top5"])
    f.compile("--quantize=int8", calib, "--metric=top1:nothing", code=2, says=["no output 'nothing'"])
    f.compile("--quantize=int8", calib, "--metric=top1", code=3, says=["needs an array 'labels'"])
    f.compile("--quantize=int8", "--calib=none.npz", code=3, says=["none.npz"])
    arrays = {"none": {"picture": f.image}, "type": {"image": f.image.astype(np.float64)}, "shape": {"image": f.image[:, :, 1:]},
              "rank": {"image": f.image[0, 0]}, "empty": {"image": f.image[:0]}, "labels": {"image": f.image, "labels": f.labels[:3]}}
    for name, content in arrays.items():
        np.savez(f / f"{name}.npz", **content)
        f.compile("--quantize=int8", f"--calib={name}.npz", code=3, says=[f"{name}.npz"])
    np.savez(f / "classes.npz", image=f.image, labels=f.labels + 10)
    f.compile("--quantize=int8", calib, "--eval=classes.npz", code=3, says=["is none of the 10 classes"])
    recipes = {"text": "no", "list": "[]", "version": '{"nnopt_recipe": 2, "steps": []}', "steps": '{"nnopt_recipe": 1}',
               "step": '{"nnopt_recipe": 1, "steps": [{"site": 3}]}',
               "technique": '{"nnopt_recipe": 1, "steps": [{"technique": "shrink", "site": "a", "option": "b"}]}',
               "site": '{"nnopt_recipe": 1, "steps": [{"technique": "quantize", "site": "a", "option": "int8"}]}',
               "parameters": '{"nnopt_recipe": 1, "steps": [{"technique": "quantize", "site": "linear", "option": "int8"}]}'}
    for name, text in recipes.items():
        with open(f / f"{name}.json", "w") as file:
            file.write(text)
        f.compile(f"--recipe={name}.json", code=3, says=["recipe"])
    f.compile("--recipe=missing.json", code=3, says=["missing.json"])
    assert not os.path.exists(f / "fashion.so"), "an artifact was written"


def resnet20(f):
    """A drop of half a point on a trained network, and a whole quantization."""
    folder = os.path.join(SHARED, "trained")
    subprocess.run([sys.executable, "to_npz.py", "resnet20.onnx", f.path], cwd=folder, check=True, capture_output=True)
    f.compile("--budget=drop=0.5%", f"--calib={f / 'calib.npz'}", f"--eval={f / 'eval.npz'}", "-o", "r.so", "--recipe-out=r.json",
              model=os.path.join(folder, "resnet20.onnx"))
    notes = json.load(open(f / "r.json"))
    assert notes["compressed"]["quality"] >= notes["float"]["quality"] - 0.5, notes["compressed"]


TESTS = [quantize, residuals, export, sparse, prune, weight_only, noise, channels, solved, sensitive, low_rank, spoiled, drop_layer, sparse_activations, parallel_blocks, plans, near_limit, budget, targets,
         memory, interrupted, metrics, command, wrong]


def main(description, tests, full_tests=()):
    """Runs tests, of which `full_tests` need the model corpus and are run with --full."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--only", help="one of the tests, by name")
    options = parser.parse_args()
    if options.full and os.path.isdir(os.path.join(SHARED, "trained")):
        tests = [*tests, *full_tests]
    elif options.full and full_tests:
        print(f"skipped: {', '.join(t.__name__ for t in full_tests)}, since the model corpus is not there (see NNOPT_SHARED)")
    tests = [t for t in tests if not options.only or t.__name__ == options.only]
    failed = 0
    with tempfile.TemporaryDirectory() as path:
        folder = Folder(path)
        for test in tests:
            start = time.time()
            try:
                test(folder)
                print(f"ok    {test.__name__}: {test.__doc__.splitlines()[0]} ({time.time() - start:.0f} s)", flush=True)
            except Exception:
                failed += 1
                print(f"FAIL  {test.__name__}: {traceback.format_exc()}", flush=True)
    print(f"{len(tests) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(__doc__, TESTS, [resnet20]))
