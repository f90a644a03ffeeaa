#!/usr/bin/env python3
"""Which operators have no import rule: walks all schemas of the standard domain in the onnx package, for every opset
since 6 in which an operator changed, and a list of com.microsoft's. What is missing must be in MISSING with a reason, and
what is there must not be.

    coverage.py [--list]

Each is one model of one node with meaningless operands: `nnopt-compile --check` says whether it knows the operator
before it looks at them. Ends with `N passed, N failed`.
"""
import argparse
import concurrent.futures
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
import onnx
from onnx import TensorProto, helper

from nnopt import tool

OLDEST = 6
# Operators without an import rule, by reason: {"reason": "Operator Other:8"}.
REASONS = {}
MISSING = {name: reason for reason, names in REASONS.items() for name in names.split()}


# What exporters and onnxruntime's optimizer write into models; test/conformance/quantized.py compares what they compute.
CONTRIB = "com.microsoft"
CONTRIB_OPERATORS = """Attention BiasGelu BiasSplitGelu CDist DequantizeLinear DynamicQuantizeMatMul EmbedLayerNormalization
FastGelu FusedConv FusedGemm FusedMatMul GatherBlockQuantized Gelu GroupNorm GroupQueryAttention Inverse LayerNormalization MatMulIntegerToFloat
MatMulNBits MoE MultiHeadAttention NGramRepeatBlock NhwcMaxPool Pad QAttention QGemm QLinearAdd QLinearAveragePool QLinearConcat
QLinearConv QLinearGlobalAveragePool QLinearLeakyRelu QLinearMul QLinearSigmoid QLinearSoftmax QLinearWhere QMoE QuantizeLinear
QuickGelu RotaryEmbedding SimplifiedLayerNormalization SkipGroupNorm SkipLayerNormalization SkipSimplifiedLayerNormalization
TransposeMatMul Unique""".split()


def schemas():
    """(operator, opset) for each version that models of opset 6 and later can mean."""
    versions = {}
    for s in onnx.defs.get_all_schemas_with_history():
        if s.domain == "":
            versions.setdefault(s.name, {})[s.since_version] = s
    for name, known in sorted(versions.items()):
        used = [v for v in known if v >= OLDEST]
        if any(v < OLDEST for v in known):
            used.append(max(v for v in known if v < OLDEST))
        for v in sorted(used):
            if not known[v].deprecated:
                yield name, max(v, OLDEST), known[v]


def is_known(case):
    name, opset, schema = case
    inputs = [f"x{i}" for i in range(max(1, schema.min_input))][:schema.max_input] if schema else ["x"]
    node = helper.make_node(name, inputs, ["y"], "n", domain="" if schema else CONTRIB)
    infos = [helper.make_tensor_value_info(i, TensorProto.FLOAT, [1]) for i in inputs]
    graph = helper.make_graph([node], "g", infos, [helper.make_empty_tensor_value_info("y")])
    opsets = [helper.make_opsetid("", opset if schema else 17)] + ([] if schema else [helper.make_opsetid(CONTRIB, opset)])
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "m.onnx")
        onnx.save(model, path)
        run = subprocess.run([tool("nnopt-compile"), path, "--check"], capture_output=True, text=True)
    rows = [" ".join(line.split()) for line in (run.stdout + run.stderr).splitlines()]
    full_name = name if schema else f"{CONTRIB}.{name}"
    unknown = any(r.startswith(f"{full_name} {opset} operator not supported") for r in rows)
    if run.returncode < 0 or run.returncode == 1:
        return f"exit {run.returncode}: {run.stderr[:300]}"
    return not unknown


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="print what is missing")
    options = parser.parse_args()
    cases = list(schemas()) + [(name, 1, None) for name in CONTRIB_OPERATORS]
    passed = failed = 0
    listed = set()
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for (name, opset, _), known in zip(cases, pool.map(is_known, cases)):
            entry = next((k for k in (name, f"{name}:{opset}") if k in MISSING), None)
            listed.update([entry] if entry else [])
            problem = None
            if known not in (True, False):
                problem = known
            elif known and entry:
                problem = f"has an import rule, but is listed as missing ({MISSING[entry]})"
            elif not known and not entry:
                problem = "has no import rule"
            if options.list and not known:
                print(f"{name} {opset}: {MISSING.get(entry)}")
            passed, failed = passed + (not problem), failed + bool(problem)
            if problem:
                print(f"FAIL  {name} (opset {opset}): {problem}")
    for entry in sorted(set(MISSING) - listed):
        failed += 1
        print(f"FAIL  {entry} is listed as missing, but is no operator")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
