#!/usr/bin/env python3
"""The data of --report: fields, and figures that must agree with what the tools say otherwise.

    python test/report/data.py [-k SUBSTRING]

Closes with `N passed, N failed`.
"""
import json
import os
import re
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from nnopt import ROOT, tool

FASHION = os.path.join(ROOT, "examples", "models", "fashion.onnx")
passed, failed = 0, 0
substring = sys.argv[sys.argv.index("-k") + 1] if "-k" in sys.argv else ""


def test(function):
    """Runs a test in a folder of its own."""
    global passed, failed
    if substring not in function.__name__:
        return
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            function()
            passed += 1
            print("ok   ", function.__name__)
        except Exception as error:
            failed += 1
            print("FAIL ", function.__name__, "\n      ", f"{type(error).__name__}: {error}".replace("\n", "\n       "))
        finally:
            os.chdir(ROOT)


def run(name, *arguments, code=0):
    result = subprocess.run([tool(name), *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert result.returncode == code, f"{name} {' '.join(arguments)}: exit {result.returncode}\n{result.stderr}"
    return result


def report(model, *arguments):
    run("nnopt-compile", model, "-o", "model.so", "--report=report.json", *arguments)
    with open("report.json", encoding="utf-8") as stream:
        return json.load(stream)


def equal(got, want, what):
    assert got == want, f"{what}: {got}, expected {want}"


def save(nodes, inputs, outputs, weights, path="model.onnx"):
    graph = helper.make_graph(nodes, "g", inputs, outputs, [numpy_helper.from_array(v, k) for k, v in weights.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def tensor(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def operations(text):
    """Names of the operations in printed IR, but for constants and yields."""
    names = re.findall(r"(?:^|= )\"?nn\.(\w+)", re.sub(r"^\s+", "", text, flags=re.M), re.M)
    return sorted(n for n in names if n not in ("constant", "yield"))


# ------------------------------------------------------------------------------- tests
@test
def fields_are_there():
    data = report(FASHION)
    equal(data["format"], 1, "format")
    equal(sorted(data), ["format", "graphs", "layers", "model", "nnopt", "options", "passes", "remarks", "sizes",
                         "stages", "target", "totals"], "keys")
    equal(data["model"]["file"], "fashion.onnx", "model.file")
    equal(data["options"], {"target": "native", "opt": 2, "dims": [], "exact_conv": False, "sparse": "auto"}, "options")
    equal(data["sizes"], {"batch": 1}, "sizes")
    for layer in data["layers"]:
        for key in ("id", "op", "kernel", "emitter", "nodes", "flops", "bytes"):
            assert key in layer, f"layer without {key}: {layer}"
    for remark in data["remarks"]:
        assert remark["kind"] in ("passed", "missed", "failed", "analysis") and remark["pass"] and remark["name"], remark
    equal(data["totals"]["artifact_bytes"], os.path.getsize("model.so"), "artifact_bytes")


@test
def graphs_match_emit_nn():
    data = report(FASHION)
    for side, level in (("after", "2"), ("before", "0")):
        text = run("nnopt-compile", FASHION, "--emit=nn", "--opt=" + level).stdout
        equal(sorted(n["op"] for n in data["graphs"][side]["nodes"]), operations(text), side)
        equal(data["totals"][side]["nodes"], len(data["graphs"][side]["nodes"]), "totals of " + side)


@test
def before_is_the_onnx_graph():
    data = report(FASHION)
    nodes = [n for n in onnx.load(FASHION).graph.node if n.op_type != "Constant"]
    origins = {name for n in data["graphs"]["before"]["nodes"] for name in n["origins"]}
    missing = [n.name for n in nodes if n.name not in origins]
    equal(missing, [], "ONNX nodes without an operation")


@test
def values_connect():
    for graph in report(FASHION)["graphs"].values():
        known = {v["id"] for v in graph["inputs"] + graph["constants"]}
        for node in graph["nodes"]:
            assert known.issuperset(node["inputs"]), f"{node} reads what nothing made"
            known.update(v["id"] for v in node["outputs"])
        assert known.issuperset(v["id"] for v in graph["outputs"])


@test
def layers_match_a_profile():
    data = report(FASHION, "--report-dim=batch=3")
    run("nnopt-run", "model.so", "--dim=batch=3", "--warmup=0", "--repeat=1", "--profile=trace.json")
    with open("trace.json") as stream:
        events = json.load(stream)["traceEvents"]
    equal([l["kernel"] for l in data["layers"]], [e["args"]["kernel"] for e in events], "kernels")
    equal([",".join(l["nodes"]) for l in data["layers"]], [e["args"]["nodes"] for e in events], "nodes")
    run("nnopt-run", "model.so", "--dim=batch=3", "--warmup=0", "--repeat=1", "--profile", "--json=run.json")
    with open("run.json") as stream:
        figures = json.load(stream)
    equal(data["totals"]["weight_bytes"], figures["weight_bytes"], "weight_bytes")
    by_kernel = {k["kernel"]: k for k in figures["kernels"]}
    for kernel, profiled in by_kernel.items():
        mine = [l for l in data["layers"] if l["kernel"] == kernel]
        for key in ("flops", "bytes"):
            if profiled[key] >= 0:
                equal(sum(l[key] for l in mine), profiled[key], f"{key} of {kernel}")


@test
def profile_adds_times():
    data = report(FASHION, "--report-profile", "--report-dim=batch=2")
    assert data["profile"]["ms"] > 0 and data["profile"]["runs"] >= 3 and data["profile"]["threads"] >= 1
    equal(data["profile"]["inputs"], "random", "inputs")
    for layer in data["layers"]:
        assert layer["ms"] >= 0 and layer.get("calls", 1) == 1, layer
    assert sum(l["ms"] for l in data["layers"]) > 0


@test
def profile_takes_sizes_from_its_inputs():
    np.savez("in.npz", **{onnx.load(FASHION).graph.input[0].name: np.zeros((5, 1, 28, 28), np.float32)})
    data = report(FASHION, "--report-profile=in.npz")
    equal((data["sizes"], data["profile"]["inputs"]), ({"batch": 5}, "in.npz"), "sizes, inputs")


@test
def remarks_tell_done_and_refused():
    w = np.ones((4, 3, 1, 1), np.float32)
    bn = {k: np.ones(4, np.float32) for k in ("s", "b", "m", "v")}
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"], "the_conv"),
             helper.make_node("BatchNormalization", ["c", *bn], ["y"], "the_bn"),
             helper.make_node("Relu", ["c"], ["z"], "other_reader")]
    path = save(nodes, [tensor("x", [1, 3, 4, 4])], [tensor("y", [1, 4, 4, 4]), tensor("z", [1, 4, 4, 4])],
                {"w": w, **bn})
    data = report(path)
    about = [r for r in data["remarks"] if r["pass"] == "fold-batch-norm"]
    assert any(r["kind"] == "missed" and "the_bn" in r["nodes"] and r["message"] for r in about), about
    data = report(FASHION)
    done = [r for r in data["remarks"] if r["kind"] == "passed" and r["pass"] == "fold-batch-norm"]
    equal(sorted(n for r in done for n in r["nodes"] if n.startswith("bn")), ["bn1", "bn2", "bn3"], "folded")


@test
def macs_and_parameters():
    w = np.ones((8, 2, 3, 3), np.float32)
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"], "conv", group=2, pads=[1] * 4)]
    data = report(save(nodes, [tensor("x", ["n", 4, 5, 6])], [tensor("c", ["n", 8, 5, 6])], {"w": w}), "--report-dim", "n=7")
    # 7 * 8 channels * 5 * 6 positions, each a sum of 2 * 3 * 3 products.
    for side in ("before", "after"):
        equal(data["totals"][side], {"nodes": len(data["graphs"][side]["nodes"]), "parameters": 8 * 2 * 9,
                                     "macs": 7 * 8 * 30 * 18}, side)
    a = [helper.make_node("Einsum", ["x", "y"], ["z"], "einsum", equation="bik,bkj->bij")]
    data = report(save(a, [tensor("x", [2, 3, 4]), tensor("y", [2, 4, 5])], [tensor("z", [2, 3, 5])], {}))
    equal(data["totals"]["before"]["macs"], 2 * 3 * 4 * 5, "einsum")


@test
def loops_have_parents():
    body = helper.make_graph([helper.make_node("Identity", ["go"], ["go_on"], "keep"),
                              helper.make_node("Add", ["s", "x"], ["t"], "inner_add")], "body",
                             [tensor("i", [], TensorProto.INT64), tensor("go", [], TensorProto.BOOL), tensor("s", [4])],
                             [tensor("go_on", [], TensorProto.BOOL), tensor("t", [4])])
    nodes = [helper.make_node("Loop", ["count", "", "x"], ["y"], "the_loop", body=body)]
    data = report(save(nodes, [tensor("count", [], TensorProto.INT64), tensor("x", [4])], [tensor("y", [4])], {}),
                  "--report-profile")
    nodes = data["graphs"]["before"]["nodes"]
    loop = next(n for n in nodes if n["op"] == "loop")
    inner = [n for n in nodes if n.get("parent") == loop["id"]]
    assert any("inner_add" in name for n in inner for name in n["origins"]), nodes
    assert loop["arguments"] and loop["yields"], loop
    assert any(l.get("block") for l in data["layers"]), data["layers"]


@test
def branches_that_do_not_run_have_no_time():
    branches = {name: helper.make_graph([helper.make_node(op, ["x"], [name], name + "_op")], name, [],
                                        [tensor(name, [4])]) for name, op in (("yes", "Exp"), ("no", "Sin"))}
    nodes = [helper.make_node("If", ["c"], ["y"], "the_if", then_branch=branches["yes"], else_branch=branches["no"])]
    path = save(nodes, [tensor("c", [], TensorProto.BOOL), tensor("x", [4])], [tensor("y", [4])], {})
    np.savez("in.npz", c=np.array(True), x=np.ones(4, np.float32))
    layers = report(path, "--report-profile=in.npz")["layers"]
    calls = {n: (l["calls"], "ms" in l) for l in layers for n in l["nodes"] if n.endswith("_op")}
    equal(sorted(calls.values()), [(0, False), (1, True)], f"calls of {calls}")


@test
def graph_outputs_end_with_the_graph():
    for kind, name in (("nn", "x.mlir"), ("onnx", "x.onnx")):
        run("nnopt-compile", FASHION, "--emit=" + kind, "-o", name, "--report=r.json")
        with open("r.json") as stream:
            data = json.load(stream)
        assert "layers" not in data and data["graphs"]["after"]["nodes"] and data["remarks"], kind
        os.remove("r.json")


@test
def artifact_is_the_same_with_a_report():
    report(FASHION)
    run("nnopt-compile", FASHION, "-o", "plain.so")
    with open("model.so", "rb") as a, open("plain.so", "rb") as b:
        assert a.read() == b.read(), "a report changes the artifact"


@test
def page_holds_the_data():
    hostile = "</script><!-- & \"quote\" \u7f51"
    nodes = [helper.make_node("Relu", ["x"], ["y"], hostile)]
    report(save(nodes, [tensor("x", [4])], [tensor("y", [4])], {}), "--report=page.html")
    with open("page.html", encoding="utf-8") as stream:
        page = stream.read()
    text = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S).group(1)
    with open("report.json", encoding="utf-8") as stream:
        equal(json.loads(text), json.load(stream), "data of the page")
    equal(json.loads(text)["graphs"]["before"]["nodes"][0]["origins"], [hostile], "name")
    left = re.findall(r"@[\w.-]+@", page.replace(text, ""))
    equal(left, [], "marks left in the page")
    loads = re.findall(r"""(?:src|href)\s*=\s*["'](?!data:)[^"'#]|@import|\bfetch\(|url\((?!data:)""", page.replace(text, ""))
    equal(loads, [], "things the page would load")


@test
def wrong_usage():
    for arguments, words in ((["--report=x.pdf"], ".html or .json"), (["--report=x"], ".html or .json"),
                             (["--report=x.json", "-o", "x.json"], "another file"),
                             (["--report=x.json", "--check"], "--check"),
                             (["--report-profile"], "--report"), (["--report-dim=batch=2"], "--report"),
                             (["--report=x.json", "--report-dim=batch"], "NAME=SIZE"),
                             (["--report=x.json", "--report-dim=width=2"], "batch"),
                             (["--report=x.json", "--report-profile", "--emit=exec"], "--emit")):
        result = run("nnopt-compile", FASHION, *arguments, code=2)
        assert words in result.stderr.splitlines()[0], f"{arguments}: {result.stderr}"
        equal(os.listdir("."), [], f"files after {arguments}")


@test
def failures_leave_nothing():
    result = run("nnopt-compile", FASHION, "-o", "f.so", "--report=nowhere/r.json", code=1)
    assert "nowhere/r.json: cannot write" in result.stderr, result.stderr
    equal(os.listdir("."), ["f.so"], "files")
    path = save([helper.make_node("Reshape", ["x", "shape"], ["y"], "reshape")], [tensor("x", ["n"])],
                [tensor("y", [2, "m"])], {"shape": np.array([2, 4])}, "odd.onnx")
    result = run("nnopt-compile", path, "-o", "f.so", "--report=r.html", "--report-profile", code=3)
    assert "--report-dim" in result.stderr, result.stderr
    os.remove(path)
    np.savez("in.npz", wrong=np.zeros(3))
    result = run("nnopt-compile", FASHION, "-o", "f.so", "--report=r.html", "--report-profile=in.npz", code=3)
    assert "no array" in result.stderr, result.stderr
    equal(sorted(os.listdir(".")), ["f.so", "in.npz"], "files")


print(f"{passed} passed, {failed} failed")
sys.exit(failed > 0)
