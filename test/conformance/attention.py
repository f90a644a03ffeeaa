#!/usr/bin/env python3
"""Random cases of attention and its kin, against the reference evaluator of the onnx package: Attention in all modes,
FlexAttention, LinearAttention, CausalConvWithState, optimizers.

    attention.py [--only=Attention,Adam] [--cases=N]

Run as irregular.py runs its cases. Ends with `N passed, N failed`.
"""
import itertools
import sys

import numpy as np
from onnx import TensorProto, helper

import irregular
from irregular import Case, drop_none, node, package_outputs

F32 = TensorProto.FLOAT


def attention(rng, count):
    for i in range(count):
        batch, key_heads, group = int(rng.choice([1, 2])), int(rng.choice([1, 2])), int(rng.choice([1, 3]))
        queries, size, value_size = int(rng.choice([1, 4, 17])), int(rng.choice([3, 8])), int(rng.choice([5, 8]))
        kind = [np.float32, np.float32, np.float16][i % 3]
        draw = lambda *shape: rng.standard_normal(shape).astype(kind)
        heads, past = key_heads * group, int(rng.choice([1, 6]))
        cache = ["none", "past", "external"][i % 3 if i % 2 else 0]
        keys = queries if cache == "past" else queries + int(rng.choice([0, 5]))
        values = {"q": draw(batch, heads, queries, size), "k": draw(batch, key_heads, keys, size),
                  "v": draw(batch, key_heads, keys, value_size)}
        names = ["q", "k", "v", None, None, None, None]
        attributes = {"is_causal": int(i // 2 % 2)}
        total = keys
        if cache == "past":
            values |= {"pk": draw(batch, key_heads, past, size), "pv": draw(batch, key_heads, past, value_size)}
            names[4:6] = ["pk", "pv"]
            total += past
        if cache == "external":
            values["lengths"], names[6] = rng.integers(1, keys + 1, batch), "lengths"
        if i % 4:
            shape = [(batch, heads, queries, total), (queries, total), (heads, queries, total)][i // 4 % 3]
            mask = rng.random(shape) < 0.7
            values["m"], names[3] = mask if i % 4 == 1 else np.where(mask, draw(*shape), -np.inf).astype(kind), "m"
        if i % 5 == 3:
            attributes |= {"left_window_size": 2, "right_window_size": [-1, 1][i % 2]}
        if i % 5 == 4:
            attributes["softcap"] = 2.0
        if i % 7 == 3:
            attributes["softmax_precision"] = [TensorProto.FLOAT, TensorProto.DOUBLE][i % 2]
        outputs = ["y", "key", "value", "scores"][:4 if i % 3 == 1 else 1]
        if i % 3 == 1:
            attributes["qk_matmul_output_mode"] = i // 3 % 4
            # The package applies the soft cap even to the first output, which is that before it.
            if attributes["qk_matmul_output_mode"] == 0:
                attributes.pop("softcap", None)
        yield Case(f"Attention_{i}", node("Attention", drop_none(names), outputs, **attributes), values, outputs,
                   tolerance=2e-5 if kind == np.float32 else 4e-3, opset=25, reference=package_outputs,
                   static=tuple(n for n in values if n != "lengths") if group > 1 or cache != "none" or i % 4 else ())


def flex_attention(rng, count):
    info = lambda name, kind: helper.make_tensor_value_info(name, kind, [None] * 4)
    for i in range(count):
        kind = [np.float32, np.float16, np.float64][i % 3]
        inner = {np.float32: F32, np.float16: F32, np.float64: TensorProto.DOUBLE}[kind]
        size, heads = 8, [1, 4][i % 2]
        draw = lambda *shape: rng.standard_normal(shape).astype(kind)
        values = {"q": draw(2, heads, 5, size), "k": draw(2, 1, 7, size), "v": draw(2, 1, 7, 3)}
        attributes = {}
        if i % 4:
            attributes["score_mod"] = helper.make_graph([helper.make_node("Tanh", ["s"], ["t"])], "score", [info("s", inner)],
                                                        [info("t", inner)])
        if i % 4 > 1:
            attributes["prob_mod"] = helper.make_graph([helper.make_node("Mul", ["p", "p"], ["r"])], "prob", [info("p", inner)],
                                                       [info("r", inner)])
        if i % 5 == 4:
            attributes["scale"] = 0.3
        yield Case(f"FlexAttention_{i}", helper.make_node("FlexAttention", ["q", "k", "v"], ["y"], "flex",
                                                          domain="ai.onnx.preview", **attributes),
                   values, ["y"], tolerance=2e-5 if kind != np.float16 else 4e-3, opset=25, reference=package_outputs,
                   static=tuple(values))


def linear_attention(rng, count):
    for i in range(count):
        rule = ["linear", "gated", "delta", "gated_delta"][i % 4]
        batch, length, key_heads, group = int(rng.choice([1, 2])), int(rng.choice([1, 6])), int(rng.choice([1, 3])), 1 + i % 3
        size, value_size = int(rng.choice([1, 4, 9])), int(rng.choice([3, 16]))
        draw = lambda *shape: (rng.standard_normal(shape) * 0.5).astype(np.float32)
        values = {"q": draw(batch, length, key_heads * group * size), "k": draw(batch, length, key_heads * size),
                  "v": draw(batch, length, key_heads * value_size)}
        names = ["q", "k", "v", None, None, None]
        if i % 2:
            values["past"], names[3] = draw(batch, key_heads, size, value_size), "past"
        if "gated" in rule:
            values["decay"], names[4] = -np.abs(draw(batch, length, key_heads * (size if i // 4 % 2 else 1))), "decay"
        if "delta" in rule:
            values["beta"], names[5] = np.abs(draw(batch, length, key_heads if i // 4 % 2 else 1)), "beta"
        yield Case(f"LinearAttention_{i}",
                   node("LinearAttention", drop_none(names), ["y", "state"], update_rule=rule, q_num_heads=key_heads * group,
                        kv_num_heads=key_heads, scale=[0.0, 0.7][i % 2]), values, ["y", "state"], tolerance=2e-5, opset=27,
                   reference=package_outputs, static=tuple(values))


def causal_conv(rng, count):
    for i in range(count):
        batch, channels, length, size = int(rng.choice([1, 3])), int(rng.choice([1, 8])), int(rng.choice([1, 2, 9])), 1 + i % 4
        draw = lambda *shape: rng.standard_normal(shape).astype(np.float32)
        values, constants = {"x": draw(batch, channels, length)}, {"w": draw(channels, 1, size)}
        names = ["x", "w", None, None]
        if i % 3:
            constants["b"], names[2] = draw(channels), "b"
        if i % 2:
            values["past"], names[3] = draw(batch, channels, size - 1), "past"
        yield Case(f"CausalConvWithState_{i}", node("CausalConvWithState", drop_none(names), ["y", "state"],
                                                    activation=["none", "silu", "swish"][i % 3]),
                   values, ["y", "state"], constants, tolerance=1e-5, opset=27, reference=package_outputs)


def single_outputs(path, inputs):
    """The package computes some scalars of optimizers in f64, and for one tensor the results stay that."""
    return [v.astype(np.float32) for v in package_outputs(path, inputs)]


def optimizers(rng, count):
    domain = "ai.onnx.preview.training"
    for i in range(count):
        op, states = [("Adagrad", 1), ("Adam", 2), ("Momentum", 1)][i % 3]
        tensors = 1 + i // 3 % 2
        draw = lambda *shape: rng.uniform(0.1, 1, shape).astype(np.float32)
        values = {"rate": np.array(0.1, np.float32), "steps": np.array(int(rng.choice([0, 4])), np.int64)}
        names, outputs = ["rate", "steps"], []
        for kind in "xg" + "vh"[:states]:
            for t in range(tensors):
                values[f"{kind}{t}"] = draw(3 + t, 2)
                names.append(f"{kind}{t}")
        for kind in "xvh"[:1 + states]:
            outputs += [f"new_{kind}{t}" for t in range(tensors)]
        attributes = {"norm_coefficient": [0.0, 0.01][i % 2]}
        if op == "Momentum":
            attributes |= {"mode": ["standard", "nesterov"][i // 3 % 2], "alpha": 0.9, "beta": 0.5}
        else:
            attributes["epsilon"] = 1e-3
        if op == "Adam":
            attributes["norm_coefficient_post"] = [0.0, 0.02][i % 2]
        yield Case(f"{op}_{i}", helper.make_node(op, names, outputs, op, domain=domain, **attributes), values, outputs,
                   tolerance=1e-5, reference=single_outputs)


def cases(count):
    rng = np.random.default_rng(1)
    yield from itertools.chain(attention(rng, 3 * count), flex_attention(rng, count // 2), linear_attention(rng, count),
                               causal_conv(rng, count), optimizers(rng, count))


if __name__ == "__main__":
    sys.exit(irregular.main(cases, __doc__))
