#!/usr/bin/env python3
"""Budgets, metrics, wrong flags and files.

    limits.py [--full] [--only=NAME]

With --full and the model corpus (see NNOPT_SHARED) also resnet20 with its evaluation data. Ends with `N passed, N failed`.
"""
import glob
import json
import os
import platform
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "support"), os.path.join(HERE, "..", "models")]
import numpy as np
import onnx
from onnx import helper, numpy_helper
from corpus import SHARED
from example import MODEL, main, mlp
from nnopt import BUILD, Session


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
    """A limit of the size is used up, but for less than what two layers save; a few bytes below a choice it is another one."""
    mlp(f / "deep.onnx", [256] * 11)
    x = np.random.default_rng(2).standard_normal((64, 256)).astype(np.float32)
    np.savez(f / "deep.npz", x=x)
    f.compile("-o", "dense.so", model="deep.onnx")
    dense = os.path.getsize(f / "dense.so")
    limit = 0.6 * dense
    flags = ("--quantize=w8", "--metric=cosine", "--calib=deep.npz", "-o", "d.so", "--recipe-out=d.json")
    f.compile(*flags, "--budget=size=0.6x", model="deep.onnx")
    steps = [s for s in json.load(open(f / "d.json"))["steps"] if s["technique"] == "quantize"]
    assert 0 < len(steps) < 10, steps
    size = os.path.getsize(f / "d.so")
    assert limit - 2 * 3 * 256 * 256 <= size <= limit, (size, limit, len(steps))
    notes = json.load(open(f / "d.json"))
    assert notes["compressed"]["bytes"] == size, notes["compressed"]
    # Time has no limit: that is no reason.
    assert {layer["why"] for layer in notes["layers"] if layer["chosen"] == "float"} == {"the outputs would change too much"}, notes["layers"]
    f.compile(*flags, f"--budget=size={(size - 1) / notes['float']['bytes']:.9f}x", model="deep.onnx")
    assert limit - 3 * 3 * 256 * 256 <= os.path.getsize(f / "d.so") < size, (os.path.getsize(f / "d.so"), size)


def repaired(f):
    """Limits that hold with weights solved anew alone: the mildest choice is solved before it is refused."""
    mlp(f / "few.onnx", [256] * 6)
    np.savez(f / "few.npz", x=np.random.default_rng(2).standard_normal((256, 256)).astype(np.float32))
    flags = ("--quantize=int8", "--metric=cosine", "--calib=few.npz", "-o", "r.so", "--recipe-out=r.json")
    f.compile(*flags, "--budget=size=0.4x,drop=0", model="few.onnx", code=1, says=["the mildest choice loses"])
    rounded = json.load(open(f / "r.json"))["points"][-1]["quality"]
    f.compile(*flags, "--budget=size=0.4x", model="few.onnx")
    solved = json.load(open(f / "r.json"))["compressed"]["quality"]
    assert rounded < solved, (rounded, solved)
    drop = 1 - (rounded + solved) / 2
    f.compile(*flags, f"--budget=size=0.4x,drop={drop:.7f}", model="few.onnx")
    assert json.load(open(f / "r.json"))["compressed"]["quality"] >= 1 - drop


def underestimated(f):
    """Where layers by themselves promise too little for a limit, the compiled whole says what can be saved."""
    mlp(f / "deep.onnx", [512] * 9)
    np.savez(f / "deep.npz", x=np.random.default_rng(2).standard_normal((64, 512)).astype(np.float32))
    flags = ("--quantize=w8", "--metric=cosine", "--calib=deep.npz", "--cache-dir=costs", "-o", "u.so", "--recipe-out=u.json")
    f.compile(*flags, "--budget=latency=0.95x", model="deep.onnx")
    costs = {path: json.load(open(path)) for path in glob.glob(os.path.join(f / "costs", "*layer-*"))}
    most = max(size for ms, size in costs.values())
    assert len(costs) > 1, costs
    for path, (ms, size) in costs.items():
        json.dump([1.0 if size == most else 0.98, size], open(path, "w"))
    f.compile(*flags, "--budget=latency=0.9x", model="deep.onnx")
    layers = json.load(open(f / "u.json"))["layers"]
    assert all(layer["ms"] == 1 for layer in layers) and any(layer["chosen"] != "float" for layer in layers), layers


def spoiler(f):
    """A layer with a small error that the metric does not bear at all is left out, and others with larger errors are taken."""
    rng = np.random.default_rng(3)
    weights = [numpy_helper.from_array((scale * rng.standard_normal((256, 256))).astype(np.float32), name) for scale, name in ((1, "wa"), (3, "wb"))]
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w" + out], [out], name="layer_" + out) for out in "ab"], "g",
                              [helper.make_tensor_value_info("x", 1, ["n", 256])],
                              [helper.make_tensor_value_info(out, 1, ["n", 256]) for out in "ab"], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), f / "two.onnx")
    x = rng.standard_normal((32, 256)).astype(np.float32)
    np.savez(f / "two.npz", x=x)
    np.savez(f / "two-eval.npz", x=x, labels=x @ numpy_helper.to_array(weights[0]))
    with open(f / "same_a.py", "w") as script:
        script.write("import os, numpy as np\n"
                     "a, labels = np.load(os.environ['OUTPUTS'])['a'], np.load(os.environ['EVAL'])['labels']\n"
                     "print(float(np.abs(a - labels).max() < 1e-3))\n")
    f.compile("--quantize=w8", f"--metric=cmd:{sys.executable} same_a.py", "--budget=size=0.7x,drop=0", "--calib=two.npz",
              "--eval=two-eval.npz", "-o", "two.so", "--recipe-out=two.json", model="two.onnx")
    notes = json.load(open(f / "two.json"))
    assert [s["site"] for s in notes["steps"]] == ["layer_b"], notes["steps"]
    assert notes["layers"][0]["why"] == "by itself it would lose too much", notes["layers"]
    assert notes["layers"][0]["options"][0]["output_error"] < notes["layers"][1]["options"][0]["output_error"], notes["layers"]


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


def targets(f):
    """A budget measures the kernels of the target, and says so where this machine cannot run them."""
    data = ("--calib=calib.npz", "--eval=eval.npz", "--budget=drop=5%", "--emit=obj", "--cache-dir=targets", "--recipe-out=t.json")
    warning = f.compile("--target=x86-64-v2", *data, "-o", "t.o") if platform.machine() == "x86_64" else ""
    assert "cannot run" not in warning, warning
    assert platform.machine() != "x86_64" or json.load(open(f / "t.json"))["measured"] == "x86-64-v2"
    other = "x86_64-linux-gnu:x86-64" if platform.machine() != "x86_64" else "aarch64-linux-gnu:neoverse-n1"
    f.compile(f"--target={other}", *data, "-o", "t.o", says=[f"cannot run code for {other}"])
    assert json.load(open(f / "t.json"))["measured"] == "native"


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


if __name__ == "__main__":
    sys.exit(main(__doc__, [plans, near_limit, repaired, underestimated, spoiler, budget, targets, memory, interrupted, metrics, command, wrong], [resnet20]))
