#!/usr/bin/env python3
"""Techniques by their flags: sparse, structured, weights in fewer bits, low rank, dropped and parallel layers, sparse activations.

    techniques.py [--only=NAME]

Ends with `N passed, N failed`.
"""
import json
import os
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "support"), os.path.join(HERE, "..", "models")]
import numpy as np
import onnx
from onnx import helper, numpy_helper
from example import main, mlp
from nnopt import BUILD, Session, reference_session


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
    f.compile(*flags, "--dim=n=1", model="ffn.onnx", says=["1 layer 60%"])
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


if __name__ == "__main__":
    sys.exit(main(__doc__, [sparse, prune, weight_only, low_rank, spoiled, drop_layer, sparse_activations, parallel_blocks]))
