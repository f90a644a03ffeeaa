#!/usr/bin/env python3
"""Random cases of the operators with irregular kernels, against onnxruntime: recurrent cells, Resize, TopK, ArgMax,
CumSum, Scatter*, OneHot, Trilu, NonZero, Unique, NonMaxSuppression, losses, axes that are data, windows of any size, If, Loop.

    irregular.py [--only=LSTM,Resize] [--cases=N] [-v]

Each case is a model of one node with its own attributes and sizes (empty and one-element dimensions included),
compiled with all dimensions symbolic and with fixed ones, by default and with --opt=0, and run with 1 and 3 threads.
Ends with `N passed, N failed`.
"""
import argparse
import itertools
import multiprocessing
import os
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import isolated
from nnopt import BUILD, Session, compile, difference, reference_session

F32, I64 = TensorProto.FLOAT, TensorProto.INT64


class Case:
    """A model of one node (or several) with data. `constants` are initializers, `inputs` graph inputs; the shapes of
    those named in `static` have no symbols (a pair fixes one axis: input, axis). `reference` gives the outputs that are right for the path of a model and
    its inputs, unless they are given as `expected`; `defined` has, for an output, where its elements are defined.
    `modes` are the pairs (dynamic, level of --opt) to compile."""

    def __init__(self, name, nodes, inputs, outputs, constants=None, tolerance=5e-6, opset=18, static=(), reference=None,
                 expected=None, defined=None, modes=tuple(itertools.product((False, True), (2, 0)))):
        self.name, self.inputs, self.tolerance, self.static = name, inputs, tolerance, static
        self.reference = reference or onnxruntime_outputs
        self.known, self.defined, self.modes = expected, defined or {}, modes
        self.constants = constants or {}
        self.nodes, self.outputs, self.opset = nodes if isinstance(nodes, list) else [nodes], outputs, opset

    def model(self, dynamic):
        """Sizes above 1 become names where `dynamic` is set: the same name for the same input and axis."""
        infos = []
        for name, value in self.inputs.items():
            fixed = lambda i: not dynamic or name in self.static or (name, i) in self.static
            shape = [d if fixed(i) else f"{name}{i}" for i, d in enumerate(value.shape)]
            infos.append(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), shape))
        outputs = [helper.make_empty_tensor_value_info(o) for o in self.outputs]
        initializers = [numpy_helper.from_array(v, k) for k, v in self.constants.items()]
        graph = helper.make_graph(self.nodes, "case", infos, outputs, initializers)
        domains = sorted({n.domain for n in self.nodes} - {""})
        opsets = [helper.make_opsetid("", self.opset)] + [helper.make_opsetid(d, 1) for d in domains]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def onnxruntime_outputs(path, inputs):
    reference = reference_session(path, 1)
    names = [i.name for i in reference.get_inputs()]
    return reference.run(None, {k: v for k, v in inputs.items() if k in names})


def package_outputs(path, inputs):
    """The reference evaluator of the onnx package, for what onnxruntime lacks."""
    from onnx.reference import ReferenceEvaluator
    with np.errstate(all="ignore"):
        return ReferenceEvaluator(path).run(None, inputs)


def node(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs, outputs, op + "_0", **attributes)


def drop_none(inputs):
    """Names of inputs, with "" for absent ones and no absent ones at the end."""
    names = [n or "" for n in inputs]
    while names and not names[-1]:
        names.pop()
    return names


# --------------------------------------------------------------------- generators
def recurrent(op, rng, count):
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[op]
    functions = {"LSTM": 3, "GRU": 2, "RNN": 1}[op]
    for i in range(count):
        direction = ["forward", "reverse", "bidirectional"][i % 3]
        d = 2 if direction == "bidirectional" else 1
        seq, batch = int(rng.choice([1, 2, 5, 9])), int(rng.choice([1, 2, 3, 4, 6]))
        width, hidden = int(rng.choice([1, 3, 8, 17])), int(rng.choice([1, 5, 16, 20, 33, 64]))
        draw = lambda *shape: rng.uniform(-0.5, 0.5, shape).astype(np.float32)
        values = {"x": draw(seq, batch, width), "w": draw(d, gates * hidden, width), "r": draw(d, gates * hidden, hidden)}
        names = ["x", "w", "r", None, None, None]
        if i % 4 != 1:
            values["b"], names[3] = draw(d, 2 * gates * hidden), "b"
        if i % 5 == 3:
            values["lens"], names[4] = rng.integers(1, seq + 1, batch).astype(np.int32), "lens"
        if i % 2:
            values["h0"], names[5] = draw(d, batch, hidden), "h0"
        attributes = {"hidden_size": hidden, "direction": direction}
        outputs = ["y", "y_h"]
        if op == "LSTM":
            names += [None, None]
            outputs.append("y_c")
            if i % 3 == 1:
                values["c0"], names[6] = draw(d, batch, hidden), "c0"
            if i % 4 == 2:
                values["p"], names[7] = draw(d, 3 * hidden), "p"
        if op == "GRU":
            attributes["linear_before_reset"] = i // 2 % 2
        if i % 6 == 4:
            attributes["clip"] = 0.3
        if i % 7 == 5:
            attributes["activations"] = [str(rng.choice(["Sigmoid", "Tanh", "Relu"])) for _ in range(functions * d)]
        if i % 7 in (1, 3):  # with parameters (onnxruntime has other defaults where the lists end)
            chosen = [str(rng.choice(["Affine", "LeakyRelu", "ThresholdedRelu", "ScaledTanh", "HardSigmoid", "Elu", "Softsign",
                                      "Softplus"])) for _ in range(functions * d)]
            attributes["activations"] = chosen
            attributes["activation_alpha"] = [0.25, 0.5, 0.75, 0.3, 0.9, 0.6]
            attributes["activation_beta"] = [0.3, 0.2, 0.9, 0.6, 0.4, 0.7]
        if i % 6 == 5 and "lens" not in values:
            variable = {"x", "h0", "c0", "w", "r"}  # weights that are not constant
        else:
            variable = {"x", "lens", "h0", "c0"}
        yield Case(f"{op}_{i}", node(op, drop_none(names), outputs, **attributes),
                   {k: v for k, v in values.items() if k in variable}, outputs,
                   {k: v for k, v in values.items() if k not in variable})


def resize(rng, count):
    coordinates = ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"]
    nearest = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]
    for i in range(count):
        mode = ["nearest", "linear", "cubic"][i % 3]
        shape = [int(rng.choice([1, 2, 3])), int(rng.choice([1, 3, 20])), int(rng.integers(2, 19)), int(rng.integers(2, 40))]
        if mode == "nearest" and i % 4 == 0:
            shape = shape[:2] + shape[3:]
        attributes = {"mode": mode, "coordinate_transformation_mode": coordinates[i // 3 % 4]}
        # With scales, onnxruntime aligns the corners of the rounded size, ONNX those of the exact one.
        sizes_only = attributes["coordinate_transformation_mode"] == "align_corners"
        if mode == "nearest":
            attributes["nearest_mode"] = nearest[i // 2 % 4]
        if mode == "cubic":
            attributes["cubic_coeff_a"] = [-0.75, -0.5][i % 2]
            attributes["exclude_outside"] = int(i % 4 == 2)
        x = rng.standard_normal(shape, dtype=np.float32)
        constants = {}
        if i % 2 or sizes_only:
            size = shape[:2] + [int(rng.integers(1, 40)) for _ in shape[2:]]
            constants["sizes"] = np.array(size, np.int64)
            names = ["x", "", "", "sizes"]
        else:
            scales = [1.0, 1.0] + [float(rng.choice([2.0, 0.5, 1.0, 3.0, 1.5])) for _ in shape[2:]]
            constants["scales"] = np.array(scales, np.float32)
            names = ["x", "", "scales"]
        yield Case(f"Resize_{i}", node("Resize", names, ["y"], **attributes), {"x": x}, ["y"], constants, tolerance=1e-5)


def arg_reduce(rng, count):
    types = [np.float32, np.float64, np.int32, np.int8, np.uint8]
    for i in range(count):
        shape = [int(rng.choice([1, 2, 5, 17])) for _ in range(i % 3 + 1)]
        x = rng.integers(0, 6, shape).astype(types[i % 5])
        op = "ArgMax" if i % 2 else "ArgMin"
        yield Case(f"{op}_{i}", node(op, ["x"], ["y"], axis=i % len(shape), keepdims=i // 2 % 2,
                                     select_last_index=i // 4 % 2), {"x": x}, ["y"])


def topk(rng, count):
    types = [np.float32, np.float64, np.int64, np.int32]
    for i in range(count):
        shape = [int(rng.choice([1, 2, 5, 17, 100])) for _ in range(i % 3 + 1)]
        axis = i % len(shape)
        x = (rng.integers(0, 9, shape) if i % 2 else rng.standard_normal(shape) * 100).astype(types[i // 2 % 4])
        k = np.array([rng.integers(0 if i % 5 == 4 else 1, shape[axis] + 1)], np.int64)
        inputs, constants = ({"x": x, "k": k}, {}) if i % 3 == 2 else ({"x": x}, {"k": k})
        yield Case(f"TopK_{i}", node("TopK", ["x", "k"], ["v", "i"], axis=axis, largest=i // 3 % 2, sorted=1),
                   inputs, ["v", "i"], constants)


def cum_sum(rng, count):
    types = [np.float32, np.float64, np.int32, np.int64]
    for i in range(count):
        shape = [int(rng.choice([1, 3, 7, 40])) for _ in range(i % 3 + 1)]
        x = (rng.standard_normal(shape) * 9).astype(types[i % 4])
        axis = np.array(int(rng.integers(-len(shape), len(shape))), np.int64)
        inputs, constants = ({"x": x, "axis": axis}, {}) if i % 3 == 2 else ({"x": x}, {"axis": axis})
        yield Case(f"CumSum_{i}", node("CumSum", ["x", "axis"], ["y"], exclusive=i % 2, reverse=i // 2 % 2), inputs, ["y"],
                   constants)


def scatter(rng, count):
    for i in range(count):
        reduction = ["none", "add", "mul", "max", "min"][i % 5]
        kind = [np.float32, np.int32, np.int64][i % 3]
        shape = [int(rng.choice([2, 3, 6])) for _ in range(i % 3 + 1)]
        x = rng.integers(-4, 5, shape).astype(kind)
        if i % 2:
            axis = i % len(shape)
            part = [int(rng.integers(1, s + 1)) for s in shape]
            if reduction == "none":
                lines = np.argsort(rng.random(part[:axis] + [shape[axis]] + part[axis + 1:]), axis=axis)
                indices = np.take(lines, range(part[axis]), axis=axis).astype(np.int64)
                indices = np.where(rng.random(indices.shape) < 0.3, indices - shape[axis], indices)
            else:
                indices = rng.integers(-shape[axis], shape[axis], part)
            updates = rng.integers(-4, 5, indices.shape).astype(kind)
            yield Case(f"ScatterElements_{i}", node("ScatterElements", ["x", "i", "u"], ["y"], axis=axis, reduction=reduction),
                       {"x": x, "i": indices, "u": updates}, ["y"])
        else:
            depth = int(rng.integers(1, len(shape) + 1))
            tuples = np.stack([rng.integers(0, s, 5) for s in shape[:depth]], axis=-1)
            if reduction == "none":
                tuples = np.unique(tuples, axis=0)
            updates = rng.integers(-4, 5, [len(tuples), *shape[depth:]]).astype(kind)
            case = Case(f"ScatterND_{i}", node("ScatterND", ["x", "i", "u"], ["y"], reduction=reduction),
                        {"x": x, "u": updates}, ["y"], {"i": tuples})
            yield case


def select(rng, count):
    for i in range(count):
        shape = [int(rng.choice([1, 3, 8])) for _ in range(1 + i % 3)]
        indices = rng.integers(-5, 5, shape)
        depth = np.array(5, np.int64)
        values = np.array([2, 7], [np.float32, np.int64][i % 2])
        inputs, constants = ({"i": indices, "d": depth}, {"v": values}) if i % 3 == 2 else ({"i": indices}, {"d": depth, "v": values})
        yield Case(f"OneHot_{i}", node("OneHot", ["i", "d", "v"], ["y"], axis=int(rng.integers(-len(shape) - 1, len(shape) + 1))),
                   inputs, ["y"], constants)
        matrix = rng.standard_normal([*shape[1:], int(rng.integers(1, 9)), int(rng.integers(1, 9))]).astype(
            [np.float32, np.float64, np.int64][i % 3])
        k = np.array(int(rng.integers(-4, 5)), np.int64)
        inputs, constants = ({"x": matrix, "k": k}, {}) if i % 3 == 1 else ({"x": matrix}, {"k": k})
        yield Case(f"Trilu_{i}", node("Trilu", ["x", "k"], ["y"], upper=i % 2), inputs, ["y"], constants)
        data = rng.integers(0, 3, [*shape[1:], 4]).astype([np.float32, np.int64, np.bool_][i % 3])
        yield Case(f"NonZero_{i}", node("NonZero", ["x"], ["y"]), {"x": data}, ["y"])
        nodes = [node("NonZero", ["x"], ["n"]), helper.make_node("Transpose", ["n"], ["t"]),
                 helper.make_node("GatherND", ["x", "t"], ["g"]), helper.make_node("Add", ["g", "g"], ["y"])]
        yield Case(f"NonZeroChain_{i}", nodes, {"x": rng.integers(0, 3, [*shape[1:], 4]).astype(np.float32)}, ["y"])


def unique(rng, count):
    types = [np.float32, np.int64, np.float64, np.int8]
    for i in range(count):
        shape = [int(rng.choice([1, 2, 5, 30])) for _ in range(1 + i % 3)]
        x = rng.integers(-2, 3, shape).astype(types[i % 4])
        attributes = {"axis": int(rng.integers(-len(shape), len(shape)))} if i % 2 else {}
        yield Case(f"Unique_{i}", node("Unique", ["x"], ["y", "at", "inverse", "counts"], sorted=i // 2 % 2, **attributes),
                   {"x": x}, ["y", "at", "inverse", "counts"])


def suppression(rng, count):
    for i in range(count):
        images, classes, boxes = int(rng.choice([1, 2])), int(rng.choice([1, 3])), int(rng.choice([1, 5, 40]))
        corners = rng.random((images, boxes, 4), dtype=np.float32)
        scores = np.round(rng.random((images, classes, boxes), dtype=np.float32), 2)  # with ties
        constants = {"most": np.array([int(rng.choice([0, 1, 3, 100]))], np.int64),
                     "iou": np.array([rng.choice([0.0, 0.2, 0.5])], np.float32)}
        names = ["boxes", "scores", "most", "iou"]
        if i % 3:
            constants["least"] = np.array([0.4], np.float32)
            names.append("least")
        yield Case(f"NonMaxSuppression_{i}", node("NonMaxSuppression", names, ["y"], center_point_box=i % 2),
                   {"boxes": corners, "scores": scores}, ["y"], constants)


def losses(rng, count):
    for i in range(count):
        classes = int(rng.choice([1, 3, 20]))
        shape = [int(rng.choice([1, 2, 5])) for _ in range(i % 4)]
        batch = int(rng.choice([1, 3]))
        target = rng.integers(0, classes, [batch, *shape]).astype([np.int64, np.int32][i % 2])
        values = {"x": rng.standard_normal([batch, classes, *shape], dtype=np.float32), "t": target}
        names, attributes = ["x", "t"], {"reduction": ["none", "sum", "mean"][i % 3]}
        if i % 4 > 1:
            values["w"] = rng.uniform(0.1, 1, classes).astype(np.float32)
            names.append("w")
        if i % 5 > 2:
            attributes["ignore_index"] = -100
            # Not all of them: a mean of nothing is not defined.
            target[rng.random(target.shape) < 0.4] = -100
            target.flat[0] = 0
        yield Case(f"NegativeLogLikelihoodLoss_{i}", node("NegativeLogLikelihoodLoss", names, ["y"], **attributes), values,
                   ["y"], opset=13)
        yield Case(f"SoftmaxCrossEntropyLoss_{i}", node("SoftmaxCrossEntropyLoss", names, ["y", "log"], **attributes), values,
                   ["y", "log"], opset=13)


def data_axes(rng, count):
    """Axes that are operands of unknown content, and in every other case of unknown number where the rank follows from x."""
    for i in range(count):
        fixed = (lambda *names: ()) if i % 2 else (lambda *names: names)
        shape = [int(rng.choice([2, 3, 4])) for _ in range(1 + i % 3)]
        x = rng.standard_normal(shape, dtype=np.float32)
        rank = len(shape) + 2
        axes = rng.choice(rank, 2, replace=False)
        wide = np.expand_dims(x, tuple(int(a) for a in axes))
        axes = np.where(rng.random(2) < 0.5, axes - rank, axes).astype(np.int64)
        yield Case(f"Unsqueeze_axes_{i}", node("Unsqueeze", ["x", "a"], ["y"]), {"x": x, "a": axes}, ["y"], static=("a",))
        yield Case(f"Squeeze_axes_{i}", node("Squeeze", ["x", "a"], ["y"]), {"x": wide, "a": axes}, ["y"], static=("a",))
        one = np.array([rng.integers(-len(shape), len(shape))], np.int64)
        begin, end, step = (np.array([v], np.int64) for v in [(0, 2, 1), (-1, -9, -1), (1, 2**62, 2)][i % 3])
        yield Case(f"Slice_axes_{i}", node("Slice", ["x", "b", "e", "a", "s"], ["y"]),
                   {"x": x, "b": begin, "e": end, "a": one, "s": step}, ["y"], static=fixed("b", "e", "a", "s"))
        yield Case(f"Pad_axes_{i}", node("Pad", ["x", "p", "", "a"], ["y"]),
                   {"x": x, "p": np.array([1, 2], np.int64), "a": one}, ["y"], static=fixed("p", "a"))
        yield Case(f"ReduceSum_axes_{i}", node("ReduceSum", ["x", "a"], ["y"], keepdims=i % 2), {"x": x, "a": one}, ["y"],
                   static=fixed("a"))
        # A start whose sign depends on the sizes: the size of the result is computed from shapes when the model runs.
        nodes = [node("Shape", ["x"], ["n"], end=1), helper.make_node("Shape", ["z"], ["m"], end=1),
                 helper.make_node("Sub", ["n", "m"], ["start"]), helper.make_node("Slice", ["x", "start", "end"], ["y"])]
        z = np.zeros(int(rng.integers(1, 2 * shape[0])), np.float32)
        yield Case(f"Slice_shapes_{i}", nodes, {"x": x, "z": z}, ["y"], {"end": np.array([2**62], np.int64)})


def windows(rng, count):
    """Weights of any size, and padding that depends on sizes."""
    for i in range(count):
        group = 1 + i % 2
        c, m = group * int(rng.integers(1, 3)), group * int(rng.integers(1, 3))
        kernel, image = [int(k) for k in rng.integers(1, 4, 2)], [int(s) for s in rng.integers(5, 10, 2)]
        draw = lambda *shape: rng.standard_normal(shape, dtype=np.float32)
        x, strides = draw(2, c, *image), [int(s) for s in rng.integers(1, 4, 2)]
        same = ["SAME_UPPER", "SAME_LOWER"][i // 2 % 2]
        padding = [{"pads": [int(p) for p in rng.integers(0, 2, 4)], "dilations": [1, 2]}, {"auto_pad": same},
                   {"auto_pad": "VALID"}][i % 3]
        yield Case(f"Conv_{i}", node("Conv", ["x", "w", "b"], ["y"], group=group, strides=strides, **padding),
                   {"x": x, "w": draw(m, c // group, *kernel), "b": draw(m)}, ["y"])
        padding = [{"pads": [0, 0, 1, 0], "output_padding": [s - 1 for s in strides]},
                   {"output_shape": [(s - 1) * t + k for s, t, k in zip(image, strides, kernel)]}, {"dilations": [2, 1]}][i % 3]
        yield Case(f"ConvTranspose_{i}", node("ConvTranspose", ["x", "w", "b"], ["y"], group=group, strides=strides, **padding),
                   {"x": x, "w": draw(c, m // group, *kernel), "b": draw(m)}, ["y"], static=("w",) if i % 2 else ())
        # onnxruntime cannot average with strides above the size of the kernel.
        window = {"kernel_shape": [3, 2], "strides": [min(2, s) for s in strides], "auto_pad": same}
        yield Case(f"MaxPool_{i}", node("MaxPool", ["x"], ["y", "at"], storage_order=i % 2, **window), {"x": x}, ["y", "at"])
        yield Case(f"AveragePool_{i}", node("AveragePool", ["x"], ["y"], count_include_pad=i % 2, **window), {"x": x}, ["y"])


def control_flow(rng, count):
    value = helper.make_tensor_value_info
    for i in range(count):
        n = int(rng.integers(1, 9))
        x = rng.standard_normal([n, 3], dtype=np.float32)
        # If: branches of different sizes, values from outside.
        then = helper.make_graph([helper.make_node("Concat", ["x", "x"], ["a"], axis=0)], "then", [],
                                 [value("a", F32, None)])
        other = helper.make_graph([helper.make_node("Relu", ["x"], ["b"])], "else", [], [value("b", F32, None)])
        nodes = [helper.make_node("If", ["c"], ["z"], then_branch=then, else_branch=other),
                 helper.make_node("ReduceSum", ["z", "axis"], ["s"], keepdims=0), helper.make_node("Abs", ["z"], ["y"])]
        yield Case(f"If_{i}", nodes, {"x": x, "c": np.array(bool(i % 2))}, ["y", "s"], {"axis": np.array([1], np.int64)})

        # Loop: two carried values that swap, a scan output; ended by its trip count or its condition.
        body = helper.make_graph(
            [helper.make_node("Add", ["p", "q"], ["sum"]), helper.make_node("Identity", ["p"], ["q_out"]),
             helper.make_node("ReduceMax", ["sum"], ["m"], keepdims=0), helper.make_node("Less", ["m", "limit"], ["go"]),
             helper.make_node("Identity", ["cond"], ["same"])], "body",
            [value("iter", I64, []), value("cond", TensorProto.BOOL, []), value("p", F32, None), value("q", F32, None)],
            [value("go" if i % 2 else "same", TensorProto.BOOL, []), value("sum", F32, None), value("q_out", F32, None),
             value("p", F32, None)])
        trips = np.array(int(rng.integers(0, 6)), np.int64)
        inputs = {"x": x, "x2": x[:1] * 0.5}
        constants = {"limit": np.array(6.0, np.float32), "true": np.array(True)}
        (inputs if i % 3 else constants)["trips"] = trips
        nodes = [helper.make_node("Expand", ["x2", "shape"], ["w"]), helper.make_node("Shape", ["x"], ["shape"]),
                 helper.make_node("Loop", ["trips", "true", "x", "w"], ["y", "z", "scan"], body=body)]
        nodes = [nodes[1], nodes[0], nodes[2]]
        yield Case(f"Loop_{i}", nodes, inputs, ["y", "z", "scan"], constants, tolerance=1e-5)

        # Loop: a carried value that grows.
        body = helper.make_graph(
            [helper.make_node("Concat", ["p", "x"], ["grown"], axis=0), helper.make_node("Identity", ["cond"], ["same"])],
            "body", [value("iter", I64, []), value("cond", TensorProto.BOOL, []), value("p", F32, [None, 3])],
            [value("same", TensorProto.BOOL, []), value("grown", F32, [None, 3])])
        yield Case(f"LoopGrow_{i}", helper.make_node("Loop", ["trips", "", "x"], ["y"], body=body),
                   {"x": x, "trips": trips}, ["y"])


def empty(rng, _):
    """Dimensions of 0."""
    f = lambda *shape: rng.standard_normal(shape).astype(np.float32)
    i = lambda *shape: np.zeros(shape, np.int64)
    yield Case("CumSum_empty", node("CumSum", ["x", "axis"], ["y"]), {"x": f(3, 0, 2)}, ["y"], {"axis": np.array(1, np.int64)})
    yield Case("Trilu_empty", node("Trilu", ["x"], ["y"]), {"x": f(0, 3, 3)}, ["y"])
    yield Case("NonZero_empty", node("NonZero", ["x"], ["y"]), {"x": f(0, 3)}, ["y"])
    yield Case("ScatterElements_empty", node("ScatterElements", ["x", "i", "u"], ["y"], axis=0),
               {"x": f(3, 2), "i": i(0, 2), "u": f(0, 2)}, ["y"])
    yield Case("OneHot_empty", node("OneHot", ["i", "d", "v"], ["y"]), {"i": i(0, 2)}, ["y"],
               {"d": np.array(3, np.int64), "v": np.array([0, 1], np.float32)})
    yield Case("TopK_empty", node("TopK", ["x", "k"], ["v", "i"]), {"x": f(0, 4)}, ["v", "i"], {"k": np.array([2], np.int64)})
    for sort in (0, 1):
        yield Case(f"Unique_empty_{sort}", node("Unique", ["x"], ["y", "at", "inverse", "counts"], sorted=sort), {"x": f(0)},
                   ["y", "at", "inverse", "counts"], reference=package_outputs)
    yield Case("NonMaxSuppression_empty", node("NonMaxSuppression", ["boxes", "scores", "most"], ["y"]),
               {"boxes": f(1, 0, 4), "scores": f(1, 1, 0)}, ["y"], {"most": np.array([3], np.int64)})
    yield Case("ArgMax_empty", node("ArgMax", ["x"], ["y"], axis=1), {"x": f(0, 4)}, ["y"])


def cases(count):
    rng = np.random.default_rng(1)
    yield from itertools.chain(recurrent("LSTM", rng, count), recurrent("GRU", rng, count), recurrent("RNN", rng, count),
                               resize(rng, 2 * count), arg_reduce(rng, count), topk(rng, count), cum_sum(rng, count),
                               scatter(rng, count), select(rng, count), unique(rng, count), suppression(rng, count), losses(rng, count),
                               data_axes(rng, (count + 1) // 2), windows(rng, (count + 1) // 2), control_flow(rng, count), empty(rng, count))


# --------------------------------------------------------------------- running
def run_case(case):
    """None, or what went wrong."""
    with tempfile.TemporaryDirectory(dir=os.path.join(BUILD, "conformance")) as folder:
        path, artifact = os.path.join(folder, "m.onnx"), os.path.join(folder, "m.so")
        onnx.save(case.model(False), path)
        want = case.known or case.reference(path, case.inputs)
        for dynamic, level in case.modes:
            where = f"{'dynamic' if dynamic else 'static'} --opt={level}"
            onnx.save(case.model(dynamic), path)
            try:
                compile(path, artifact, [f"--opt={level}"], timeout=60)
                for threads in (1, 3):
                    with Session(artifact, threads) as session:
                        got = session.run(None, case.inputs)
                    for output, g, w in zip(case.outputs, got, want):
                        if g.size == w.size == 0:
                            continue  # onnxruntime forgets the other dimensions of a scan without iterations
                        if output in case.defined and g.shape == w.shape:
                            g, w = (np.where(case.defined[output], v, np.zeros_like(v)) for v in (g, w))
                        error = difference(g, w)
                        if not error <= case.tolerance:
                            return f"{where}, {threads} threads: output {output} of shape {list(g.shape)} (expected " \
                                   f"{list(w.shape)}): error {error:.1e}"
            except RuntimeError as e:
                return f"{where}: " + str(e)[:400]
    return None


def guarded(case):
    """run_case in a child, since a kernel may crash."""
    outcome, result = isolated.call(run_case, case, timeout=600)
    return case.name, result if outcome == "done" else f"{outcome} {result}"


def main(cases=cases, description=__doc__, default=12):
    """Runs all of cases(number of each operator)."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="beginnings of names, separated by commas")
    parser.add_argument("--cases", type=int, default=default, help="of each operator")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    os.makedirs(os.path.join(BUILD, "conformance"), exist_ok=True)
    chosen = [c for c in cases(options.cases) if not options.only or c.name.startswith(tuple(options.only.split(",")))]
    failed = 0
    with multiprocessing.get_context("fork").Pool(options.jobs) as pool:
        for name, problem in pool.imap(guarded, chosen):
            if problem:
                failed += 1
                print(f"FAIL  {name}: {problem}", flush=True)
    print(f"{len(chosen) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
