"""Small models with fixed seeds, for machines without the model corpus."""
import os

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

NAMES = ["tiny_cnn", "tiny_transformer", "tiny_lstm"]


def _save(name, folder, nodes, inputs, outputs, weights):
    initializers = [numpy_helper.from_array(v, k) for k, v in weights.items()]
    graph = helper.make_graph(nodes, name, inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, name + ".onnx")
    onnx.save(model, path)
    return path


def _tensor(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def _cnn(folder, rng):
    """Convolutions (plain, depthwise, strided) with batch normalization, a residual sum, pooling, Gemm."""
    nodes, weights = [], {}

    def conv(x, name, cin, cout, size, stride=1, group=1):
        fan = cin // group * size * size
        weights[name + "_w"] = rng.normal(0, fan ** -0.5, (cout, cin // group, size, size)).astype(np.float32)
        for part, low, high in (("scale", 0.5, 1.5), ("bias", -0.2, 0.2), ("mean", -0.2, 0.2), ("var", 0.5, 1.5)):
            weights[f"{name}_{part}"] = rng.uniform(low, high, cout).astype(np.float32)
        nodes.append(helper.make_node("Conv", [x, name + "_w"], [name + "_c"], name, strides=[stride] * 2,
                                      pads=[size // 2] * 4, group=group))
        nodes.append(helper.make_node("BatchNormalization", [name + "_c"] + [f"{name}_{p}" for p in
                                                                             ("scale", "bias", "mean", "var")],
                                      [name + "_b"], name + "_bn"))
        nodes.append(helper.make_node("Relu", [name + "_b"], [name], name + "_relu"))
        return name

    x = conv("x", "stem", 3, 24, 3, 2)
    y = conv(x, "expand", 24, 48, 1)
    y = conv(y, "depthwise", 48, 48, 3, 1, 48)
    y = conv(y, "project", 48, 24, 1)
    nodes.append(helper.make_node("Add", [x, y], ["sum"], "residual"))
    y = conv("sum", "down", 24, 40, 3, 2)
    nodes.append(helper.make_node("GlobalAveragePool", [y], ["pooled"], "pool"))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["flat"], "flatten"))
    weights["fc_w"] = rng.normal(0, 0.15, (40, 10)).astype(np.float32)
    weights["fc_b"] = rng.normal(0, 0.1, 10).astype(np.float32)
    nodes.append(helper.make_node("Gemm", ["flat", "fc_w", "fc_b"], ["logits"], "fc"))
    path = _save("tiny_cnn", folder, nodes, [_tensor("x", ["batch", 3, "height", "width"])],
                 [_tensor("logits", ["batch", 10])], weights)
    draw = lambda *shape: {"x": rng.standard_normal(shape, dtype=np.float32)}
    return path, draw(1, 3, 40, 40), draw(3, 3, 33, 50)


def _transformer(folder, rng):
    """One pre-norm layer over token ids: embedding, attention, GELU feed-forward, tied output."""
    width, heads, vocabulary = 48, 4, 100
    weights = {"embedding": rng.normal(0, 1, (vocabulary, width)).astype(np.float32),
               "qkv_shape": np.array([0, 0, 3, heads, width // heads], np.int64),
               "merged_shape": np.array([0, 0, width], np.int64), "scale": np.float32((width // heads) ** -0.5),
               "ln1_w": np.ones(width, np.float32), "ln1_b": np.zeros(width, np.float32),
               "ln2_w": np.ones(width, np.float32), "ln2_b": np.zeros(width, np.float32),
               "root2": np.float32(2 ** 0.5), "one": np.float32(1), "half": np.float32(0.5)}
    for name, shape in (("qkv_w", (width, 3 * width)), ("out_w", (width, width)), ("up_w", (width, 4 * width)),
                        ("down_w", (4 * width, width)), ("head_w", (width, vocabulary))):
        weights[name] = rng.normal(0, shape[0] ** -0.5, shape).astype(np.float32)
    node = helper.make_node
    nodes = [
        node("Gather", ["embedding", "ids"], ["e"], "embed"),
        node("LayerNormalization", ["e", "ln1_w", "ln1_b"], ["n1"], "ln1"),
        node("MatMul", ["n1", "qkv_w"], ["qkv"], "qkv"),
        node("Reshape", ["qkv", "qkv_shape"], ["split_in"], "split_heads"),
        node("Transpose", ["split_in"], ["parts"], "to_heads", perm=[2, 0, 3, 1, 4]),
        node("Split", ["parts"], ["q1", "k1", "v1"], "split", axis=0, num_outputs=3),
    ]
    weights["zero"] = np.array([0], np.int64)
    for x in "qkv":
        nodes.append(node("Squeeze", [x + "1", "zero"], [x], "squeeze_" + x))
    nodes += [
        node("Transpose", ["k"], ["kt"], "kt", perm=[0, 1, 3, 2]),
        node("MatMul", ["q", "kt"], ["s0"], "scores"),
        node("Mul", ["s0", "scale"], ["s"], "scaled"),
        node("Softmax", ["s"], ["p"], "softmax", axis=-1),
        node("MatMul", ["p", "v"], ["c"], "context"),
        node("Transpose", ["c"], ["ct"], "from_heads", perm=[0, 2, 1, 3]),
        node("Reshape", ["ct", "merged_shape"], ["cm"], "merge"),
        node("MatMul", ["cm", "out_w"], ["o"], "out"),
        node("Add", ["e", "o"], ["r1"], "residual1"),
        node("LayerNormalization", ["r1", "ln2_w", "ln2_b"], ["n2"], "ln2"),
        node("MatMul", ["n2", "up_w"], ["u"], "up"),
        node("Div", ["u", "root2"], ["g0"], "gelu0"),
        node("Erf", ["g0"], ["g1"], "gelu1"),
        node("Add", ["g1", "one"], ["g2"], "gelu2"),
        node("Mul", ["u", "g2"], ["g3"], "gelu3"),
        node("Mul", ["g3", "half"], ["g"], "gelu4"),
        node("MatMul", ["g", "down_w"], ["d"], "down"),
        node("Add", ["r1", "d"], ["r2"], "residual2"),
        node("MatMul", ["r2", "head_w"], ["logits"], "head"),
    ]
    path = _save("tiny_transformer", folder, nodes, [_tensor("ids", ["batch", "sequence"], TensorProto.INT64)],
                 [_tensor("logits", ["batch", "sequence", vocabulary])], weights)
    draw = lambda *shape: {"ids": rng.integers(0, vocabulary, shape)}
    return path, draw(2, 17), draw(1, 40)


def _lstm(folder, rng):
    """A bidirectional LSTM with initial states."""
    hidden, width = 40, 24
    weights = {}
    for name, shape in (("w", (2, 4 * hidden, width)), ("r", (2, 4 * hidden, hidden)), ("b", (2, 8 * hidden))):
        weights[name] = rng.normal(0, 0.15, shape).astype(np.float32)
    nodes = [helper.make_node("LSTM", ["x", "w", "r", "b", "", "h0", "c0"], ["y", "h", "c"], "lstm", hidden_size=hidden,
                              direction="bidirectional")]
    state = [2, "batch", hidden]
    path = _save("tiny_lstm", folder, nodes, [_tensor("x", ["sequence", "batch", width]), _tensor("h0", state),
                                              _tensor("c0", state)],
                 [_tensor("y", ["sequence", 2, "batch", hidden]), _tensor("h", state), _tensor("c", state)], weights)

    def draw(steps, batch):
        return {"x": rng.standard_normal((steps, batch, width), dtype=np.float32),
                "h0": rng.standard_normal((2, batch, hidden), dtype=np.float32),
                "c0": rng.standard_normal((2, batch, hidden), dtype=np.float32)}
    return path, draw(11, 1), draw(6, 5)


def make(name, folder):
    """Writes the model; returns its path and two sets of inputs of different sizes."""
    builders = {"tiny_cnn": _cnn, "tiny_transformer": _transformer, "tiny_lstm": _lstm}
    return builders[name](folder, np.random.default_rng(NAMES.index(name)))
