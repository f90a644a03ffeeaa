"""The hand-written cases of bad_models.py.

A case is (name, allowed exit codes, function of a folder that writes the model there and returns arguments).
@case takes functions that return a model, bytes, or (given the folder) a list of arguments.
"""
import os

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

DONE, INVALID, UNSUPPORTED, USAGE = 0, 3, 4, 2
F, I64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
CASES, VALID = [], []


# --------------------------------------------------------------------- making models
def value(name, shape=(2, 3), type=F):
    return helper.make_tensor_value_info(name, type, shape)


def tensor(name, array):
    return numpy_helper.from_array(np.asarray(array), name)


def ints(name, *values):
    return tensor(name, np.array(values, np.int64))


def node(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs.split(), outputs.split(), **attributes)


def graph(nodes, inputs=None, outputs=None, init=(), name="g", **more):
    inputs = [value("x")] if inputs is None else inputs
    outputs = [value("y", None)] if outputs is None else outputs
    return helper.make_graph(nodes, name, inputs, outputs, list(init), **more)


def model(nodes, inputs=None, outputs=None, init=(), opset=18, ir=9, functions=(), imports=(), **more):
    made = helper.make_model(graph(nodes, inputs, outputs, init, **more), ir_version=ir, functions=list(functions),
                             opset_imports=[helper.make_opsetid("", opset), *imports])
    return made


def save(folder, content, name="model.onnx"):
    path = os.path.join(folder, name)
    with open(path, "wb") as file:
        file.write(content if isinstance(content, bytes) else content.SerializeToString())
    return path


def add(name, allowed, content, *arguments):
    """A case whose model is made by calling `content`."""
    CASES.append((name, allowed, lambda folder: [save(folder, content()), *arguments]))


def case(*allowed, name=None):
    """Decorates a function of a folder that returns arguments."""
    def register(function):
        CASES.append((name or function.__name__.replace("_", "-"), allowed, function))
        return function
    return register


def one(name, allowed, nodes, inputs=None, outputs=None, init=(), **more):
    """A case of a graph given by its parts."""
    nodes = nodes if isinstance(nodes, list) else [nodes]
    add(name, allowed if isinstance(allowed, tuple) else (allowed,), lambda: model(nodes, inputs, outputs, init, **more))


# --------------------------------------------------------------------- valid models, to be mutated
def valid(function):
    VALID.append((function.__name__, function))
    add("valid/" + function.__name__, (DONE,), function)
    return function


@valid
def mlp():
    rng = np.random.default_rng(0)
    return model([node("Gemm", "x w b", "h", transB=1), node("Relu", "h", "r"), node("MatMul", "r v", "y")],
                 [value("x", ["batch", 8])], [value("y", ["batch", 4])],
                 [tensor("w", rng.normal(size=(16, 8)).astype(np.float32)), tensor("b", np.zeros(16, np.float32)),
                  tensor("v", rng.normal(size=(16, 4)).astype(np.float32))])


@valid
def conv_net():
    rng = np.random.default_rng(1)
    return model([node("Conv", "x w", "c", pads=[1, 1, 1, 1], strides=[2, 2]),
                  node("BatchNormalization", "c s t m v", "n"), node("Relu", "n", "r"),
                  node("MaxPool", "r", "p", kernel_shape=[2, 2], strides=[2, 2]), node("GlobalAveragePool", "p", "g"),
                  node("Flatten", "g", "y")],
                 [value("x", [1, 3, 16, 16])], [value("y", [1, 4])],
                 [tensor("w", rng.normal(size=(4, 3, 3, 3)).astype(np.float32)),
                  *[tensor(n, np.full(4, f, np.float32)) for n, f in (("s", 1), ("t", 0), ("m", 0), ("v", 1))]])


@valid
def shapes():
    return model([node("Shape", "x", "s"), node("Gather", "s zero", "b"), node("Unsqueeze", "b axis", "u"),
                  node("Concat", "u minus", "t", axis=0), node("Reshape", "x t", "f"), node("Softmax", "f", "y", axis=-1)],
                 [value("x", ["n", 4, "m"])], [value("y", ["n", None])],
                 [tensor("zero", np.int64(0)), ints("axis", 0), ints("minus", -1)])


@valid
def branches():
    then = graph([node("Add", "x one", "t")], [], [value("t", None)], name="then")
    other = graph([node("Mul", "x one", "e")], [], [value("e", None)], name="else")
    return model([node("ReduceSum", "x", "s", keepdims=0), node("Greater", "s zero", "c"),
                  node("If", "c", "y", then_branch=then, else_branch=other)],
                 init=[tensor("one", np.float32(1)), tensor("zero", np.float32(0))])


@valid
def loop():
    body = graph([node("Add", "a x", "b"), node("Identity", "c", "d"), node("Identity", "b", "s")],
                 [value("i", [], I64), value("c", [], BOOL), value("a")], [value("d", [], BOOL), value("b"), value("s")],
                 name="body")
    return model([node("Loop", "n t x", "y z", body=body)], outputs=[value("y", None), value("z", None)],
                 init=[tensor("n", np.int64(3)), tensor("t", np.array(True))])


def function(name="Twice", nodes=None, inputs=("a",), outputs=("r",), attributes=(), domain="local"):
    nodes = nodes or [node("Add", "a a", "r")]
    return helper.make_function(domain, name, list(inputs), list(outputs), nodes, [helper.make_opsetid("", 18)],
                                list(attributes))


def call(name="Twice", inputs="x", outputs="y", domain="local", **attributes):
    return helper.make_node(name, inputs.split(), outputs.split(), domain=domain, **attributes)


LOCAL = (helper.make_opsetid("local", 1),)


@valid
def functions():
    return model([call()], functions=[function()], imports=LOCAL)


@valid
def recurrent():
    rng = np.random.default_rng(2)
    return model([node("LSTM", "x w r", "y h c", hidden_size=4)], [value("x", ["steps", 1, 3])],
                 [value("y", None), value("h", None)],
                 [tensor("w", rng.normal(size=(1, 16, 3)).astype(np.float32)),
                  tensor("r", rng.normal(size=(1, 16, 4)).astype(np.float32))])


RELU = node("Relu", "x", "y")

# --------------------------------------------------------------------- files
for name, content in {"empty": b"", "one-byte": b"\x08", "zeros": bytes(4096), "text": b"not a model\n" * 20,
                      "zip": b"PK\x03\x04" + bytes(200), "elf": b"\x7fELF" + bytes(200), "ones": b"\xff" * 64,
                      "huge-length": b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
                      "long-varint": b"\x08" + b"\x80" * 20, "group-tag": b"\x0b\x0c", "field-zero": b"\x02\x00",
                      "random": np.random.default_rng(3).bytes(4096)}.items():
    add("file/" + name, (INVALID,), lambda content=content: content)


@case(INVALID, name="file/missing")
def _(folder):
    return [os.path.join(folder, "none.onnx")]


@case(INVALID, name="file/folder")
def _(folder):
    path = os.path.join(folder, "folder.onnx")
    os.mkdir(path)
    return [path]


@case(INVALID, name="file/fifo")
def _(folder):
    path = os.path.join(folder, "fifo.onnx")
    os.mkfifo(path)
    return [path]


@case(INVALID, name="file/dangling-link")
def _(folder):
    path = os.path.join(folder, "link.onnx")
    os.symlink(os.path.join(folder, "none"), path)
    return [path]


add("file/twice", (INVALID,), lambda: mlp().SerializeToString() * 2)
add("file/no-graph", (INVALID,), lambda: onnx.ModelProto(ir_version=9))
add("file/only-tensor", (INVALID,), lambda: tensor("t", np.zeros(4, np.float32)).SerializeToString())
for n in (1, 2, 3, 5, 7, 9):
    add(f"file/truncated-{n}", (INVALID,), lambda n=n: conv_net().SerializeToString()[: n * 60])


def nested(depth):
    """If in If: each level nests three messages."""
    inner = graph([node("Identity", "x", "o0")], [], [value("o0", None)])
    for i in range(1, depth):
        inner = graph([node("If", "c", f"o{i}", then_branch=inner, else_branch=inner)] if i < 4 else
                      [node("If", "c", f"o{i}", then_branch=inner,
                            else_branch=graph([node("Identity", "x", "e")], [], [value("e", None)]))],
                      [], [value(f"o{i}", None)])
    return model([node("If", "c", "y", then_branch=inner,
                       else_branch=graph([node("Identity", "x", "e")], [], [value("e", None)]))],
                 [value("x"), value("c", [], BOOL)])


add("file/nested-10", (DONE,), lambda: nested(10))
add("file/nested-25", (DONE, INVALID), lambda: nested(25))


def deep():
    """Hundreds of levels, written by hand: protobuf's Python side refuses to make them."""
    data = onnx.NodeProto(op_type="If", output=["y"]).SerializeToString()
    for _ in range(300):
        for tag in (b"\x0a", b"\x32", b"\x2a"):  # graph.node, attribute.g, node.attribute
            size, length = len(data), b""
            while size >= 0x80:
                length += bytes([size & 0x7f | 0x80])
                size >>= 7
            data = tag + length + bytes([size]) + data
    return b"\x08\x09" + b"\x3a" + onnx_varint(len(data)) + data


def onnx_varint(value):
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7f | 0x80])
        value >>= 7
    return out + bytes([value])


add("file/nested-900", (INVALID,), deep)

# --------------------------------------------------------------------- versions
for ir in (0, 1, 2):
    add(f"version/ir-{ir}", (UNSUPPORTED,), lambda ir=ir: model([RELU], ir=ir))
add("version/ir-99", (DONE,), lambda: model([RELU], ir=99))
add("version/ir-3", (DONE,), lambda: model([RELU], ir=3, opset=7))
for opset in (-1, 0, 5, 29, 10**18):
    add(f"version/opset-{opset}", (UNSUPPORTED,), lambda opset=opset: model([RELU], opset=opset))
for opset in (6, 7, 13, 26):
    add(f"version/opset-{opset}", (DONE,), lambda opset=opset: model([RELU], opset=opset))


def without(field, made):
    made.ClearField(field)
    return made


add("version/no-ir", (INVALID,), lambda: without("ir_version", model([RELU])))
add("version/no-opset", (INVALID,), lambda: without("opset_import", model([RELU])))
add("version/two-opsets", (INVALID,), lambda: model([RELU], imports=[helper.make_opsetid("", 17)]))
add("version/same-opset-twice", (DONE,), lambda: model([RELU], imports=[helper.make_opsetid("ai.onnx", 18)]))
one("version/op-too-new", UNSUPPORTED, node("Gelu", "x", "y"), opset=13)
one("version/op-too-old", UNSUPPORTED, node("Upsample", "x s", "y"), init=[tensor("s", np.ones(2, np.float32))], opset=18)

# --------------------------------------------------------------------- unsupported
one("unsupported/operator", UNSUPPORTED, node("NoSuchOperator", "x", "y"))
one("unsupported/domain", UNSUPPORTED, call("Fused", domain="com.example"))
one("unsupported/many", UNSUPPORTED, [node("NoSuch1", "x", "a"), node("NoSuch2", "a", "b"), node("NoSuch3", "b", "y")])
one("unsupported/thousands", UNSUPPORTED, [node("NoSuch", "x" if i == 0 else f"v{i - 1}", f"v{i}" if i < 4999 else "y")
                                           for i in range(5000)])
one("unsupported/string-operator", UNSUPPORTED, node("Relu", "x", "y"), [value("x", [2], TensorProto.STRING)])
one("unsupported/complex", UNSUPPORTED, node("Identity", "x", "y"), [value("x", [2], TensorProto.COMPLEX64)])
one("unsupported/float6", UNSUPPORTED, node("Identity", "x", "y"), [value("x", [2], TensorProto.FLOAT6E2M3)])
one("unsupported/contrib-operator", UNSUPPORTED, call("NoSuchOperator", domain="com.microsoft"),
    imports=[helper.make_opsetid("com.microsoft", 1)])
one("unsupported/sequence-of-sequences", UNSUPPORTED, node("Identity", "x", "y"),
    [helper.make_value_info("x", helper.make_sequence_type_proto(helper.make_sequence_type_proto(
        helper.make_tensor_type_proto(F, [2]))))])
one("unsupported/element-rank", UNSUPPORTED, node("SequenceAt", "x i", "y"),
    [helper.make_tensor_sequence_value_info("x", F, None), value("i", [], I64)])
one("unsupported/no-rank", UNSUPPORTED, RELU, [value("x", None)])
one("unsupported/dead-node", DONE, [RELU, node("NoSuchOperator", "x", "z")])
one("unsupported/training", UNSUPPORTED, node("BatchNormalization", "x s s s s", "y m", momentum=0.5), outputs=[value("m", None)],
    init=[tensor("s", np.ones(3, np.float32))], opset=9)
one("unsupported/number-of-axes", UNSUPPORTED, node("Unsqueeze", "x a", "y"), [value("x"), value("a", ["n"], I64)])
one("unsupported/scan-8-reverse", UNSUPPORTED,
    node("Scan", "l i x", "y", num_scan_inputs=1, directions=[1],
         body=graph([node("Add", "a b", "c")], [value("a", [3]), value("b", [3])], [value("c", [3])])),
    [value("l", [2], I64), value("i", [2, 3]), value("x", [2, 4, 3])], [value("y", None)], opset=8)
one("unsupported/empty-op", UNSUPPORTED, node("", "x", "y"))
one("unsupported/in-branch", UNSUPPORTED, node("If", "c", "y", then_branch=graph([node("NoSuch", "x", "t")], [], [value("t")]),
                                               else_branch=graph([node("Relu", "x", "e")], [], [value("e")])),
    [value("x"), value("c", [], BOOL)])

# --------------------------------------------------------------------- names
one("names/no-outputs", INVALID, RELU, outputs=[])
one("names/output-undefined", INVALID, RELU, outputs=[value("z", None)])
one("names/output-twice", INVALID, RELU, outputs=[value("y", None), value("y", None)])
one("names/output-is-input", DONE, [], outputs=[value("x")])
one("names/output-is-initializer", DONE, [], outputs=[value("w", [2])], init=[tensor("w", np.zeros(2, np.float32))])
one("names/output-empty", INVALID, RELU, outputs=[value("", None)])
one("names/empty-graph", INVALID, [], [], [])
one("names/input-undefined", INVALID, node("Add", "x z", "y"))
one("names/input-undefined-dead", INVALID, [RELU, node("Neg", "z", "d")])
one("names/cycle", INVALID, [node("Add", "x b", "a"), node("Neg", "a", "b"), node("Relu", "b", "y")])
one("names/self-loop", INVALID, node("Add", "x y", "y"))
one("names/unsorted", INVALID, [node("Relu", "a", "y"), node("Neg", "x", "a")])
one("names/defined-twice", INVALID, [RELU, node("Neg", "x", "y")])
one("names/defined-twice-in-node", INVALID, node("Split", "x", "y y", axis=0, num_outputs=2))
one("names/redefines-input", INVALID, [node("Neg", "x", "x"), RELU])
one("names/redefines-initializer", INVALID, [node("Neg", "x", "w"), node("Relu", "w", "y")],
    init=[tensor("w", np.zeros(2, np.float32))])
one("names/initializer-twice", INVALID, node("Add", "x w", "y"), init=[tensor("w", np.float32(1)), tensor("w", np.float32(2))])
one("names/initializer-unnamed", INVALID, RELU, init=[tensor("", np.float32(1))])
one("names/initializer-is-input", DONE, node("Add", "x w", "y"), [value("x"), value("w", [3])],
    init=[tensor("w", np.zeros(3, np.float32))])
one("names/input-twice", INVALID, RELU, [value("x"), value("x")])
one("names/input-unnamed", INVALID, RELU, [value("x"), value("")])
one("names/unicode", DONE, [node("Relu", "входные", "中間"), node("Neg", "中間", "sortie_é🙂", name="нейрон")],
    [value("входные")], [value("sortie_é🙂", None)])
one("names/duplicate-node-names", DONE, [node("Relu", "x", "a", name="n"), node("Neg", "a", "y", name="n")])
one("names/long", DONE, [node("Relu", "x", "a" * 100000), node("Neg", "a" * 100000, "y")])
one("names/control-characters", INVALID, node("Add", "x b\tc\x01", "y"))
one("names/newline-in-error", INVALID, helper.make_node("Add", ["x", "line1\nline2\r\n\x1b[31m"], ["y"], name="a\nb"))
one("names/quotes", DONE, [node("Relu", "x", "a\"'\\%s{0}", name="\"%n{1}"), node("Neg", "a\"'\\%s{0}", "y")])
one("names/format-in-error", INVALID, node("Add", "x {9}%s%n", "y"))
one("names/not-utf8", (DONE, INVALID), [helper.make_node("Relu", ["x"], ["placeholder"]), node("Neg", "placeholder", "y")])
CASES[-1] = (CASES[-1][0], CASES[-1][1], lambda folder: [save(
    folder, model([node("Relu", "x", "placeholder"), node("Neg", "placeholder", "y")]).SerializeToString().replace(
        b"placeholder", b"\xff\xfe\x80bad\xc0\xc1xy"[:11]))])
one("names/empty-output-name", (DONE, INVALID), helper.make_node("Relu", ["x"], [""]), outputs=[value("x")])
one("names/too-many-outputs", INVALID, node("Relu", "x", "y z"))
one("names/too-many-inputs", INVALID, node("Relu", "x x", "y"))
one("names/too-few-inputs", INVALID, node("Add", "x", "y"))
one("names/absent-input", INVALID, helper.make_node("Add", ["x", ""], ["y"]))

# --------------------------------------------------------------------- sizes
def chain(count, op="Relu"):
    return [node(op, "x" if i == 0 else f"v{i - 1}", f"v{i}" if i < count - 1 else "y") for i in range(count)]


one("size/chain-10000", DONE, chain(10000))
one("size/wide-10000", DONE, [node("Relu", "x", f"v{i}") for i in range(10000)] +
    [helper.make_node("Sum", [f"v{i}" for i in range(10000)], ["y"])])
one("size/dim-2^62", INVALID, RELU, [value("x", [2**62])])
one("size/dim-max", INVALID, RELU, [value("x", [2**63 - 1, 2])])
one("size/product-overflow", INVALID, RELU, [value("x", [2**20, 2**20, 2**20, 2**20])])
one("size/zero-times-huge", (DONE, INVALID), RELU, [value("x", [0, 2**62])])
one("size/zero-dim", DONE, RELU, [value("x", [0, 3])])
one("size/rank-0", DONE, RELU, [value("x", [])])
one("size/rank-64", (DONE, UNSUPPORTED), RELU, [value("x", [1] * 64)])
one("size/rank-5000", (DONE, INVALID, UNSUPPORTED), RELU, [value("x", [1] * 5000)])
one("size/doubling", INVALID, [helper.make_node("Concat", [f"v{i - 1}" if i else "x"] * 2, [f"v{i}" if i < 79 else "y"], axis=0)
                               for i in range(80)])
one("size/doubling-dynamic", (DONE, INVALID), [helper.make_node("Concat", [f"v{i - 1}" if i else "x"] * 2,
                                                                [f"v{i}" if i < 79 else "y"], axis=0) for i in range(80)],
    [value("x", ["n"])])
one("size/squaring-dynamic", (DONE, INVALID), [node("Shape", "x", "v0")] + [node("Mul", f"v{i} v{i}", f"v{i + 1}" if i < 29 else "s")
                                                                            for i in range(30)] +
    [node("ConstantOfShape", "s", "y")], [value("x", ["n", "m"])])
one("size/sums-of-dims", DONE, [node("Shape", f"x{i}", f"s{i}") for i in range(60)] +
    [node("Mul", "s0 s1", "p1")] + [node("Add", f"p{i - 1} s{i}", f"p{i}") for i in range(2, 60)] + [node("Identity", "p59", "y")],
    [value(f"x{i}", [f"n{i}"]) for i in range(60)], [value("y", None, I64)])
one("size/product-of-sums", (DONE, INVALID), [node("Shape", f"x{i}", f"s{i}") for i in range(40)] +
    [node("Add", f"s{i} s{i + 1}", f"a{i}") for i in range(0, 40, 2)] + [node("Mul", "a0 a2", "p2")] +
    [node("Mul", f"p{i - 2} a{i}", f"p{i}") for i in range(4, 40, 2)] + [node("ConstantOfShape", "p38", "y")],
    [value(f"x{i}", [f"n{i}"]) for i in range(40)])
one("size/constant-of-shape", (DONE, INVALID), node("ConstantOfShape", "s", "y"), [], init=[ints("s", 2**40, 2**40)])
one("size/expand-huge", (DONE, INVALID), node("Expand", "x s", "y"), [value("x", [1])], init=[ints("s", 2**62, 2**62)])
one("size/tile-huge", INVALID, node("Tile", "x r", "y"), init=[ints("r", 2**62, 2**62)])
one("size/pad-huge", INVALID, node("Pad", "x p", "y"), init=[ints("p", 2**62, 2**62, 2**62, 2**62)])
one("size/range-huge", (DONE, INVALID), node("Range", "a b c", "y"), [], init=[tensor("a", np.int64(-2**63)), tensor("b", np.int64(2**63 - 1)), tensor("c", np.int64(1))])
one("size/resize-huge", INVALID, onnx.NodeProto(op_type="Resize", input=["x", "", "s"], output=["y"]),
    init=[tensor("s", np.full(2, 1e30, np.float32))])
one("size/attribute-10^6", (DONE, INVALID), node("Transpose", "x", "y", perm=list(range(10**6))))
one("size/minus-dims", (DONE, INVALID), RELU, [value("x", [-1, -5])])

# --------------------------------------------------------------------- types
one("types/input-untyped", INVALID, RELU, [onnx.ValueInfoProto(name="x")])
one("types/input-undefined", INVALID, RELU, [value("x", [2], TensorProto.UNDEFINED)])
one("types/input-99", INVALID, RELU, [value("x", [2], 99)])
one("types/input-negative", INVALID, RELU, [value("x", [2], -7)])
one("types/mixed-add", INVALID, node("Add", "x z", "y"), [value("x"), value("z", type=I64)])
one("types/float-condition", INVALID, node("Where", "x x x", "y"))
one("types/float-index", INVALID, node("Gather", "x x", "y"))
one("types/float-shape", INVALID, node("Reshape", "x x", "y"))
one("types/int-conv", INVALID, node("Conv", "x w", "y"), [value("x", [1, 1, 4, 4], I64)],
    init=[tensor("w", np.ones((1, 1, 3, 3), np.int64))])
one("types/int-sigmoid", INVALID, node("Sigmoid", "x", "y"), [value("x", type=I64)])
one("types/not-float", INVALID, node("Not", "x", "y"))
one("types/declared-type", INVALID, RELU, outputs=[value("y", None, I64)])
one("types/declared-type-inside", INVALID, [node("Relu", "x", "a"), node("Neg", "a", "y")], value_info=[value("a", type=I64)])
one("types/declared-shape", DONE, RELU, outputs=[value("y", [7, 7])])
one("types/declared-rank", DONE, RELU, outputs=[value("y", [6])])
one("types/declared-sequence", INVALID, RELU, outputs=[helper.make_tensor_sequence_value_info("y", F, [2])])
one("types/cast-99", UNSUPPORTED, node("Cast", "x", "y", to=99))
one("types/sequence-operand", INVALID, node("Relu", "x", "y"), [helper.make_tensor_sequence_value_info("x", F, [2])])
one("types/sequence-of-both", INVALID, node("SequenceConstruct", "x z", "y"), [value("x"), value("z", type=I64)])
one("types/no-sequence", INVALID, node("SequenceLength", "x", "y"))
one("types/sequence-position", INVALID, [node("SequenceConstruct", "x x", "s"), node("SequenceAt", "s i", "y")],
    init=[tensor("i", np.int64(2))])
one("types/optional-of-optional", INVALID, [node("Optional", "x", "o"), node("Optional", "o", "y")])
one("types/optional-without-type", INVALID, node("Optional", "", "y"))
one("types/string-and-number", INVALID, node("Concat", "x z", "y", axis=0), [value("x", [2], TensorProto.STRING), value("z", [2], I64)])
one("types/equal-string-and-number", INVALID, node("Equal", "x z", "y"), [value("x", [2], TensorProto.STRING), value("z", [2], I64)],
    outputs=[value("y", None, BOOL)], opset=19)
one("types/split-number", INVALID, node("StringSplit", "x", "y z"), opset=20)
one("types/sequence-insert", INVALID, node("SequenceInsert", "s m", "y"),
    [value("m", [], I64), helper.make_tensor_sequence_value_info("s", F, [2])])


# --------------------------------------------------------------------- ai.onnx.ml
def ml(name, allowed, op, inputs=None, **attributes):
    add("ml/" + name, (allowed,), lambda: model(
        [helper.make_node(op, ["x"], ["y"], domain="ai.onnx.ml", **attributes)], inputs,
        [helper.make_empty_tensor_value_info("y")], imports=[helper.make_opsetid("ai.onnx.ml", 3)]))


def tree(**changes):
    return {**dict(nodes_treeids=[0, 0, 0], nodes_nodeids=[0, 1, 2], nodes_featureids=[0, 0, 0],
                   nodes_truenodeids=[1, 0, 0], nodes_falsenodeids=[2, 0, 0], nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"],
                   nodes_values=[0.0, 0.0, 0.0], target_treeids=[0, 0], target_nodeids=[1, 2], target_ids=[0, 0],
                   target_weights=[1.0, 2.0], n_targets=1), **changes}


ml("tree", DONE, "TreeEnsembleRegressor", **tree())
ml("tree-cycle", INVALID, "TreeEnsembleRegressor", **tree(
    nodes_treeids=[0] * 4, nodes_nodeids=[0, 1, 2, 3], nodes_featureids=[0] * 4, nodes_truenodeids=[1, 3, 0, 1],
    nodes_falsenodeids=[2, 2, 0, 2], nodes_modes=["BRANCH_LEQ", "BRANCH_LT", "LEAF", "BRANCH_GT"], nodes_values=[0.0] * 4))
ml("tree-without-root", INVALID, "TreeEnsembleRegressor", **tree(nodes_truenodeids=[0, 0, 0]))
ml("tree-child", INVALID, "TreeEnsembleRegressor", **tree(nodes_truenodeids=[7, 0, 0]))
ml("tree-feature", INVALID, "TreeEnsembleRegressor", **tree(nodes_featureids=[3, 0, 0]))
ml("tree-negative-feature", INVALID, "TreeEnsembleRegressor", **tree(nodes_featureids=[-1, 0, 0]))
ml("tree-target", INVALID, "TreeEnsembleRegressor", **tree(target_ids=[0, 1]))
ml("tree-lengths", INVALID, "TreeEnsembleRegressor", **tree(nodes_values=[0.0]))
ml("tree-twice", INVALID, "TreeEnsembleRegressor", **tree(nodes_nodeids=[0, 1, 1]))
ml("tree-mode", UNSUPPORTED, "TreeEnsembleRegressor", **tree(nodes_modes=["BRANCH_ODD", "LEAF", "LEAF"]))
ml("tree-targets-huge", INVALID, "TreeEnsembleRegressor", **tree(n_targets=0))
ml("labels-lengths", INVALID, "LabelEncoder", keys_floats=[1.0, 2.0], values_floats=[1.0])
ml("labels-type", INVALID, "LabelEncoder", keys_strings=["a"], values_floats=[1.0])
ml("labels-missing", INVALID, "LabelEncoder", keys_floats=[1.0])
ml("linear-lengths", INVALID, "LinearRegressor", coefficients=[1.0, 2.0, 3.0, 4.0], targets=3)
ml("svm-lengths", INVALID, "SVMClassifier", coefficients=[1.0], vectors_per_class=[1, 1], rho=[0.0], support_vectors=[1.0])
ml("svm-negative", INVALID, "SVMClassifier", coefficients=[1.0], vectors_per_class=[-1, 1], rho=[0.0], support_vectors=[1.0])
ml("svm-kernel", INVALID, "SVMRegressor", coefficients=[1.0], n_supports=1, support_vectors=[1.0, 2.0, 3.0], rho=[0.0], kernel_type="ODD")
ml("scaler-lengths", INVALID, "Scaler", offset=[1.0, 2.0])
ml("imputer-type", INVALID, "Imputer", imputed_value_int64s=[1])
ml("map-of-tensor", INVALID, "DictVectorizer", string_vocabulary=["a"])
ml("nothing", UNSUPPORTED, "NoSuchModel")
ngrams = dict(max_gram_length=2, min_gram_length=1, max_skip_count=0, mode="TF", ngram_indexes=[0, 1])
for wrong in (dict(ngram_counts=[0, 9]), dict(ngram_counts=[0, 2], ngram_indexes=[0]), dict(ngram_counts=[-1, 1]),
              dict(ngram_counts=[0, 1], ngram_indexes=[0, -4]), dict(ngram_counts=[0])):
    one(f"ngrams/{wrong}".replace(" ", "").replace("/{", "/").replace("'", "").rstrip("}"), INVALID,
        node("TfIdfVectorizer", "x", "y", pool_int64s=[1, 2, 3], **{**ngrams, **wrong}), [value("x", [4], I64)])
one("types/cast-missing", INVALID, node("Cast", "x", "y"))
one("types/einsum-mixed", INVALID, node("Einsum", "x z", "y", equation="ij,ij->i"), [value("x"), value("z", type=I64)])


# --------------------------------------------------------------------- tensors
def with_tensor(name, allowed, change, op="Add"):
    def build():
        made = model([node(op, "x w", "y")], init=[tensor("w", np.ones(3, np.float32))])
        change(made.graph.initializer[0])
        return made
    add("tensor/" + name, allowed if isinstance(allowed, tuple) else (allowed,), build)


def setter(**fields):
    def change(t):
        for key, content in fields.items():
            if isinstance(content, list):
                t.ClearField(key)
                getattr(t, key).extend(content)
            else:
                setattr(t, key, content)
    return change


def typed(**fields):
    def change(t):
        t.ClearField("raw_data")
        setter(**fields)(t)
    return change


with_tensor("raw-short", INVALID, setter(raw_data=b"\0" * 11))
with_tensor("raw-long", INVALID, setter(raw_data=b"\0" * 13))
with_tensor("raw-empty", INVALID, setter(raw_data=b""))
with_tensor("no-data", INVALID, typed())
with_tensor("typed", DONE, typed(float_data=[1, 2, 3]))
with_tensor("typed-short", INVALID, typed(float_data=[1, 2]))
with_tensor("typed-long", INVALID, typed(float_data=[1, 2, 3, 4]))
with_tensor("typed-wrong-field", INVALID, typed(int32_data=[1, 2, 3]))
with_tensor("dims-negative", INVALID, setter(dims=[-3]))
with_tensor("dims-huge", INVALID, setter(dims=[2**62]))
with_tensor("dims-overflow", INVALID, setter(dims=[2**32, 2**32]))
with_tensor("dims-overflow-to-3", INVALID, setter(dims=[2**62, 4, 3]))
with_tensor("dims-zero", INVALID, setter(dims=[0]))
with_tensor("dims-zero-empty", (DONE, INVALID), setter(dims=[0], raw_data=b""))
with_tensor("type-0", INVALID, setter(data_type=0))
with_tensor("type-99", INVALID, setter(data_type=99))
with_tensor("type-string", INVALID, setter(data_type=TensorProto.STRING))
with_tensor("type-float6", UNSUPPORTED, setter(data_type=TensorProto.FLOAT6E3M2))
with_tensor("int4-unpacked", INVALID, setter(data_type=TensorProto.INT4, raw_data=b"\1\2\3"), op="Identity")
with_tensor("int4-typed-short", INVALID, typed(data_type=TensorProto.INT4, int32_data=[0x21]), op="Identity")
with_tensor("type-double", INVALID, setter(data_type=TensorProto.DOUBLE))
with_tensor("segment", UNSUPPORTED, lambda t: t.segment.MergeFrom(TensorProto.Segment(begin=0, end=1)))
with_tensor("bool-values", DONE, setter(data_type=BOOL, dims=[3], raw_data=b"\0\2\xff"), op="Where")
CASES[-1] = ("tensor/bool-values", (DONE,), lambda folder: [save(folder, model(
    [node("Where", "w x x", "y")], init=[onnx.TensorProto(name="w", data_type=BOOL, dims=[3], raw_data=b"\0\2\xff")]))])


def sparse(values, indices, dims):
    made = model([node("Add", "x w", "y")])
    made.graph.sparse_initializer.append(helper.make_sparse_tensor(
        tensor("w", np.array(values, np.float32)), tensor("i", np.array(indices, np.int64)), dims))
    return made


add("tensor/sparse", (DONE,), lambda: sparse([1, 2], [0, 2], [3]))
add("tensor/sparse-index-large", (INVALID,), lambda: sparse([1, 2], [0, 3], [3]))
add("tensor/sparse-index-negative", (INVALID,), lambda: sparse([1, 2], [0, -1], [3]))
add("tensor/sparse-count", (INVALID,), lambda: sparse([1, 2], [0], [3]))
add("tensor/sparse-huge", (INVALID,), lambda: sparse([1, 2], [0, 1], [2**40]))


# --------------------------------------------------------------------- external data
def external(name, allowed, location="w.bin", offset=None, length=None, prepare=None, size=12, entries=None):
    """A model whose weight of 3 floats lies in a file of `size` bytes."""
    def build(folder):
        made = model([node("Add", "x w", "y")], init=[tensor("w", np.ones(3, np.float32))])
        t = made.graph.initializer[0]
        t.ClearField("raw_data")
        t.data_location = TensorProto.EXTERNAL
        items = entries if entries is not None else [("location", location), ("offset", offset), ("length", length)]
        for key, content in items:
            if content is not None:
                t.external_data.add(key=key, value=str(content).replace("@", folder))
        inner = os.path.join(folder, "m")
        os.mkdir(inner)
        with open(os.path.join(inner, "w.bin"), "wb") as file:
            file.write(bytes(size))
        with open(os.path.join(folder, "outside.bin"), "wb") as file:
            file.write(bytes(64))
        if prepare:
            prepare(folder, inner)
        return [save(inner, made)]
    CASES.append(("external/" + name, allowed if isinstance(allowed, tuple) else (allowed,), build))


external("plain", DONE)
external("offset", DONE, offset=4, size=16)
external("length", DONE, offset=4, length=12, size=20)
external("missing", INVALID, location="none.bin")
external("short", INVALID, size=11)
external("empty", INVALID, size=0)
external("short-length", INVALID, length=8)
external("long-length", INVALID, length=16, size=16)
external("length-beyond", INVALID, length=100)
external("offset-beyond", INVALID, offset=13)
external("offset-at-end", INVALID, offset=12)
external("offset-negative", INVALID, offset=-4)
external("offset-text", INVALID, offset="four")
external("offset-overflow", INVALID, offset=2**64 - 8, length=12)
external("offset-too-long", INVALID, offset="9" * 40)
external("length-negative", INVALID, length=-1)
external("parent", INVALID, location="../outside.bin")
external("parent-inside", INVALID, location="a/../../outside.bin")
external("absolute", INVALID, location="@/outside.bin")
external("etc-passwd", INVALID, location="/etc/passwd")
external("empty-location", INVALID, location="")
external("no-location", INVALID, entries=[("offset", 0)])
external("no-entries", INVALID, entries=[])
external("folder", INVALID, location="sub", prepare=lambda folder, inner: os.mkdir(os.path.join(inner, "sub")))
external("dot", INVALID, location=".")
external("nul", INVALID, location="w.bin\0/x")
external("backslash", INVALID, location="..\\outside.bin")
external("link-out", INVALID, location="link.bin",
         prepare=lambda folder, inner: os.symlink(os.path.join(folder, "outside.bin"), os.path.join(inner, "link.bin")))
external("link-folder-out", INVALID, location="sub/outside.bin",
         prepare=lambda folder, inner: os.symlink(folder, os.path.join(inner, "sub")))
external("link-inside", DONE, location="link.bin",
         prepare=lambda folder, inner: os.symlink("w.bin", os.path.join(inner, "link.bin")))
external("link-loop", INVALID, location="link.bin",
         prepare=lambda folder, inner: os.symlink("link.bin", os.path.join(inner, "link.bin")))
external("fifo", INVALID, location="pipe", prepare=lambda folder, inner: os.mkfifo(os.path.join(inner, "pipe")))
external("device", INVALID, location="zero",
         prepare=lambda folder, inner: os.symlink("/dev/zero", os.path.join(inner, "zero")))
external("unknown-key", DONE, entries=[("location", "w.bin"), ("checksum", "00"), ("color", "red")])
external("subfolder", DONE, location="sub/w.bin", prepare=lambda folder, inner: (
    os.mkdir(os.path.join(inner, "sub")), os.rename(os.path.join(inner, "w.bin"), os.path.join(inner, "sub", "w.bin"))))

# --------------------------------------------------------------------- attributes and operands
IMAGE = [value("x", [1, 4, 8, 8])]
W = tensor("w", np.ones((8, 4, 3, 3), np.float32))


def conv(name, allowed, w=W, x=None, op="Conv", **attributes):
    one("conv/" + name, allowed, node(op, "x w", "y", **attributes), x or IMAGE, init=[w])


conv("plain", DONE)
conv("same", DONE, auto_pad="SAME_UPPER")
conv("same-dynamic", DONE, x=[value("x", [1, 4, "h", "w"])], auto_pad="SAME_LOWER")
conv("auto-pad-unknown", INVALID, auto_pad="SAME")
conv("stride-0", INVALID, strides=[0, 1])
conv("stride-negative", INVALID, strides=[-1, 1])
conv("stride-count", INVALID, strides=[1])
conv("stride-huge", (DONE, INVALID), strides=[2**40, 1])
conv("dilation-0", INVALID, dilations=[0, 1])
conv("dilation-huge", INVALID, dilations=[2**31, 1])
conv("pads-count", INVALID, pads=[1, 1])
conv("pads-negative", UNSUPPORTED, pads=[-1, -1, -1, -1])
conv("pads-huge", INVALID, pads=[2**62, 2**62, 0, 0])
conv("group-0", INVALID, group=0)
conv("group-negative", INVALID, group=-1)
conv("group-3", INVALID, group=3)
conv("group-channels", INVALID, group=2)
conv("kernel-shape", INVALID, kernel_shape=[5, 5])
conv("kernel-larger-than-input", INVALID, w=tensor("w", np.ones((8, 4, 9, 9), np.float32)))
conv("kernel-empty", INVALID, w=tensor("w", np.ones((8, 4, 0, 3), np.float32)))
conv("weight-rank", INVALID, w=tensor("w", np.ones((8, 4, 3), np.float32)))
conv("rank-2", INVALID, x=[value("x", [1, 4])], w=tensor("w", np.ones((8, 4), np.float32)))
conv("strides-is-int", INVALID, strides=2)
conv("group-is-list", INVALID, group=[1])
conv("transpose", DONE, w=tensor("w", np.ones((4, 8, 3, 3), np.float32)), op="ConvTranspose")
conv("transpose-channels", INVALID, op="ConvTranspose")
conv("transpose-padding", INVALID, w=tensor("w", np.ones((4, 8, 3, 3), np.float32)), op="ConvTranspose", output_padding=[-1, 0])
conv("transpose-shape", INVALID, w=tensor("w", np.ones((4, 8, 3, 3), np.float32)), op="ConvTranspose", output_shape=[1])
one("pool/no-kernel", INVALID, node("MaxPool", "x", "y"), IMAGE)
one("pool/kernel-0", INVALID, node("MaxPool", "x", "y", kernel_shape=[0, 2]), IMAGE)
one("pool/kernel-large", INVALID, node("AveragePool", "x", "y", kernel_shape=[9, 9]), IMAGE)
one("pool/kernel-count", INVALID, node("AveragePool", "x", "y", kernel_shape=[2]), IMAGE)
one("pool/rank", INVALID, node("GlobalAveragePool", "x", "y"))
one("norm/bn-channels", INVALID, node("BatchNormalization", "x s s s s", "y"), IMAGE, init=[tensor("s", np.ones(5, np.float32))])
one("norm/bn-rank", INVALID, node("BatchNormalization", "x s s s s", "y"), IMAGE, init=[tensor("s", np.ones((4, 1), np.float32))])
one("norm/layer-axis", INVALID, node("LayerNormalization", "x s", "y", axis=5), init=[tensor("s", np.ones(3, np.float32))])
one("norm/layer-scale", INVALID, node("LayerNormalization", "x s", "y"), init=[tensor("s", np.ones(7, np.float32))])
one("norm/group", INVALID, node("GroupNormalization", "x s s", "y", num_groups=3), IMAGE, init=[tensor("s", np.ones(3, np.float32))])
one("norm/softmax-axis", INVALID, node("Softmax", "x", "y", axis=2))
one("matmul/inner", INVALID, node("MatMul", "x z", "y"), [value("x"), value("z", [4, 5])])
one("matmul/scalar", INVALID, node("MatMul", "x z", "y"), [value("x"), value("z", [])])
one("matmul/batch", INVALID, node("MatMul", "x z", "y"), [value("x", [2, 3, 4]), value("z", [3, 4, 5])])
one("matmul/gemm-rank", INVALID, node("Gemm", "x x", "y"), [value("x", [2, 2, 2])])
one("matmul/gemm-c", INVALID, node("Gemm", "x x c", "y", transB=1), [value("x"), value("c", [5])])
for i, equation in enumerate(("ij,jk", "ij->ji->i", "ij->ik", "i1->i", "ij->ii", "....ij->ij", "", "->", "ijk->i", "i..j->i")):
    one(f"einsum/{i}", INVALID, node("Einsum", "x", "y", equation=equation))
one("einsum/none", INVALID, node("Einsum", "x", "y"))
one("reshape/two-unknown", INVALID, node("Reshape", "x s", "y"), init=[ints("s", -1, -1)])
one("reshape/count", INVALID, node("Reshape", "x s", "y"), init=[ints("s", 4, 4)])
one("reshape/indivisible", INVALID, node("Reshape", "x s", "y"), init=[ints("s", -1, 4)])
one("reshape/minus-2", INVALID, node("Reshape", "x s", "y"), init=[ints("s", -2, 3)])
one("reshape/zero-outside", INVALID, node("Reshape", "x s", "y"), init=[ints("s", 2, 3, 0)])
one("reshape/huge", INVALID, node("Reshape", "x s", "y"), init=[ints("s", 2**62, 4)])
one("reshape/rank-2-shape", INVALID, node("Reshape", "x s", "y"), init=[tensor("s", np.ones((1, 2), np.int64))])
one("move/transpose-perm", INVALID, node("Transpose", "x", "y", perm=[0, 0]))
one("move/transpose-range", INVALID, node("Transpose", "x", "y", perm=[0, 2]))
one("move/transpose-count", INVALID, node("Transpose", "x", "y", perm=[0]))
one("move/concat-axis", INVALID, node("Concat", "x x", "y", axis=2))
one("move/concat-no-axis", INVALID, node("Concat", "x x", "y"))
one("move/concat-shapes", INVALID, node("Concat", "x z", "y", axis=0), [value("x"), value("z", [2, 4])])
one("move/concat-ranks", INVALID, node("Concat", "x z", "y", axis=0), [value("x"), value("z", [2])])
one("move/flatten-axis", INVALID, node("Flatten", "x", "y", axis=3))
one("move/squeeze-not-1", INVALID, node("Squeeze", "x a", "y"), init=[ints("a", 0)])
one("move/squeeze-range", INVALID, node("Squeeze", "x a", "y"), init=[ints("a", 7)])
one("move/unsqueeze-twice", INVALID, node("Unsqueeze", "x a", "y"), init=[ints("a", 0, 0)])
one("move/unsqueeze-range", INVALID, node("Unsqueeze", "x a", "y"), init=[ints("a", -9)])
one("move/slice-step-0", INVALID, node("Slice", "x z a z z", "y"), init=[ints("z", 0), ints("a", 1)])
one("move/slice-counts", INVALID, node("Slice", "x z a", "y"), init=[ints("z", 0, 0), ints("a", 1)])
one("move/slice-axes", INVALID, node("Slice", "x z a b", "y"), init=[ints("z", 0), ints("a", 1), ints("b", 2)])
one("move/split-sizes", INVALID, node("Split", "x s", "y z", axis=1), outputs=[value("y", None), value("z", None)], init=[ints("s", 1, 1)])
one("move/split-negative", INVALID, node("Split", "x s", "y z", axis=1), outputs=[value("y", None), value("z", None)], init=[ints("s", 5, -2)])
one("move/split-uneven", INVALID, node("Split", "x", "y z", axis=1), outputs=[value("y", None), value("z", None)], opset=13)
one("move/split-count", INVALID, node("Split", "x", "y z", axis=1, num_outputs=3), outputs=[value("y", None), value("z", None)])
one("move/pad-mode", INVALID, node("Pad", "x p", "y", mode="mirror"), init=[ints("p", 0, 0, 0, 0)])
one("move/pad-count", INVALID, node("Pad", "x p", "y"), init=[ints("p", 0, 0, 0)])
one("move/pad-removes-all", INVALID, node("Pad", "x p", "y"), init=[ints("p", -5, 0, 0, 0)])
one("move/tile-negative", INVALID, node("Tile", "x r", "y"), init=[ints("r", -1, 1)])
one("move/tile-count", INVALID, node("Tile", "x r", "y"), init=[ints("r", 2)])
one("move/expand", INVALID, node("Expand", "x s", "y"), init=[ints("s", 2, 4)])
one("move/expand-negative", INVALID, node("Expand", "x s", "y"), init=[ints("s", -2, 3)])
one("move/depth-to-space", INVALID, node("DepthToSpace", "x", "y", blocksize=3), IMAGE)
one("move/depth-to-space-0", INVALID, node("DepthToSpace", "x", "y", blocksize=0), IMAGE)
one("index/gather-axis", INVALID, node("Gather", "x i", "y", axis=4), init=[ints("i", 0)])
one("index/gather-scalar", INVALID, node("Gather", "x i", "y"), [value("x", [])], init=[ints("i", 0)])
one("index/gather-nd", INVALID, node("GatherND", "x i", "y"), init=[tensor("i", np.zeros((1, 5), np.int64))])
one("index/gather-nd-batch", INVALID, node("GatherND", "x i", "y", batch_dims=2), init=[tensor("i", np.zeros((2, 3, 1), np.int64))])
one("index/scatter-rank", INVALID, node("ScatterElements", "x i u", "y"), init=[ints("i", 0), tensor("u", np.ones(1, np.float32))])
one("index/scatter-reduction", INVALID, node("ScatterElements", "x i u", "y", reduction="avg"),
    init=[tensor("i", np.zeros((1, 1), np.int64)), tensor("u", np.ones((1, 1), np.float32))])
one("index/topk-large", (DONE, INVALID), node("TopK", "x k", "y i"), init=[ints("k", 100)])
one("index/topk-negative", INVALID, node("TopK", "x k", "y i"), init=[ints("k", -1)])
one("index/one-hot-values", INVALID, node("OneHot", "i d v", "y"), [value("i", [2], I64)], init=[tensor("d", np.int64(3)), tensor("v", np.ones(3, np.float32))])
one("index/one-hot-depth", INVALID, node("OneHot", "i d v", "y"), [value("i", [2], I64)], init=[tensor("d", np.int64(-3)), tensor("v", np.ones(2, np.float32))])
one("reduce/axis", INVALID, node("ReduceSum", "x a", "y"), init=[ints("a", 2)])
one("reduce/axis-twice", INVALID, node("ReduceSum", "x a", "y"), init=[ints("a", 0, -2)])
one("reduce/argmax-axis", INVALID, node("ArgMax", "x", "y", axis=-3))
one("reduce/cumsum-axis", INVALID, node("CumSum", "x a", "y"), init=[tensor("a", np.int64(5))])
one("broadcast/add", INVALID, node("Add", "x z", "y"), [value("x"), value("z", [4])])
one("broadcast/where", INVALID, node("Where", "c x z", "y"), [value("c", [5], BOOL), value("x"), value("z")])
one("broadcast/clip", INVALID, node("Clip", "x z", "y"), [value("x"), value("z", [3])])
one("resize/both", INVALID, node("Resize", "x r s z", "y"), init=[tensor("r", np.zeros(0, np.float32)), tensor("s", np.ones(2, np.float32)), ints("z", 2, 3)])
one("resize/none", INVALID, node("Resize", "x", "y"))
one("resize/zero-scale", INVALID, onnx.NodeProto(op_type="Resize", input=["x", "", "s"], output=["y"]), init=[tensor("s", np.zeros(2, np.float32))])
one("resize/nan-scale", INVALID, onnx.NodeProto(op_type="Resize", input=["x", "", "s"], output=["y"]), init=[tensor("s", np.full(2, np.nan, np.float32))])
one("resize/count", INVALID, onnx.NodeProto(op_type="Resize", input=["x", "", "s"], output=["y"]), init=[tensor("s", np.ones(3, np.float32))])
one("resize/mode", INVALID, helper.make_node("Resize", ["x", "", "s"], ["y"], mode="lanczos"), init=[tensor("s", np.ones(2, np.float32))])
one("resize/negative-size", INVALID, helper.make_node("Resize", ["x", "", "", "s"], ["y"]), init=[ints("s", -2, 3)])
one("recurrent/weights", INVALID, node("LSTM", "x w r", "y"), [value("x", [5, 1, 3])],
    init=[tensor("w", np.ones((1, 15, 3), np.float32)), tensor("r", np.ones((1, 16, 4), np.float32))])
one("recurrent/direction", INVALID, node("LSTM", "x w r", "y", direction="sideways"), [value("x", [5, 1, 3])],
    init=[tensor("w", np.ones((1, 16, 3), np.float32)), tensor("r", np.ones((1, 16, 4), np.float32))])
one("recurrent/activations", INVALID, node("GRU", "x w r", "y", activations=["Tanh"]), [value("x", [5, 1, 3])],
    init=[tensor("w", np.ones((1, 12, 3), np.float32)), tensor("r", np.ones((1, 12, 4), np.float32))])
one("recurrent/activation-unknown", INVALID, node("GRU", "x w r", "y", activations=["Tanh", "Swish"]), [value("x", [5, 1, 3])],
    init=[tensor("w", np.ones((1, 12, 3), np.float32)), tensor("r", np.ones((1, 12, 4), np.float32))])
one("recurrent/hidden", INVALID, node("RNN", "x w r", "y", hidden_size=9), [value("x", [5, 1, 3])],
    init=[tensor("w", np.ones((1, 4, 3), np.float32)), tensor("r", np.ones((1, 4, 4), np.float32))])
one("attention/heads", INVALID, node("Attention", "x x x", "y", q_num_heads=5, kv_num_heads=5), [value("x", [1, 4, 8])], opset=23)
one("attention/no-heads", INVALID, node("Attention", "x x x", "y"), [value("x", [1, 4, 8])], opset=23)
one("attention/window", INVALID, node("Attention", "x x x", "y", left_window_size=-2), [value("x", [1, 2, 4, 8])], opset=25)
one("attention/lengths-and-past", INVALID, onnx.NodeProto(op_type="Attention", input=["x", "x", "x", "", "x", "x", "l"], output=["y"]),
    [value("x", [1, 2, 4, 8]), value("l", [1], I64)], opset=24)
one("attention/linear-without-decay", INVALID, node("LinearAttention", "x x x", "y", q_num_heads=2, kv_num_heads=2, update_rule="gated"),
    [value("x", [1, 4, 8])], opset=27)
one("loss/reduction", INVALID, node("NegativeLogLikelihoodLoss", "x t", "y", reduction="most"), [value("x"), value("t", [2], I64)])
one("loss/target-rank", INVALID, node("SoftmaxCrossEntropyLoss", "x t", "y"), [value("x"), value("t", [2, 3], I64)])
one("random/no-shape", INVALID, node("RandomNormal", "", "y"), [])
one("random/integers", INVALID, node("RandomUniform", "", "y", shape=[2], dtype=I64), [])
one("training/operands", INVALID, onnx.NodeProto(op_type="Adam", domain="ai.onnx.preview.training", input=["x"] * 7, output=["y"]),
    imports=[helper.make_opsetid("ai.onnx.preview.training", 1)])
one("boxes/center", INVALID, node("NonMaxSuppression", "b s", "y", center_point_box=2), [value("b", [1, 3, 4]), value("s", [1, 1, 3])])
one("boxes/coordinates", INVALID, node("NonMaxSuppression", "b s", "y"), [value("b", [1, 3, 5]), value("s", [1, 1, 3])])
one("attention/past-alone", INVALID, onnx.NodeProto(op_type="Attention", input=["x", "x", "x", "", "x"], output=["y"]), [value("x", [1, 2, 4, 8])], opset=23)
one("constant/no-value", INVALID, node("Constant", "", "y"), [])
one("constant/of-shape-negative", INVALID, node("ConstantOfShape", "s", "y"), [], init=[ints("s", -3)])
one("constant/of-shape-value", INVALID, node("ConstantOfShape", "s", "y", value=tensor("v", np.ones(2, np.float32))), [], init=[ints("s", 3)])
one("constant/range-0", INVALID, node("Range", "a b c", "y"), [], init=[tensor(n, np.int64(i)) for i, n in ((0, "a"), (5, "b"), (0, "c"))])
one("attribute/wrong-type", INVALID, node("Softmax", "x", "y", axis="one"))
one("attribute/unknown", DONE, node("Relu", "x", "y", color="red"))
one("attribute/reference-outside", INVALID, onnx.NodeProto(op_type="Softmax", input=["x"], output=["y"], attribute=[
    onnx.AttributeProto(name="axis", ref_attr_name="a", type=onnx.AttributeProto.INT)]))

# --------------------------------------------------------------------- subgraphs and functions
CONDITION = [value("x"), value("c", [], BOOL)]


def branch(op="Relu", name="t", inputs="x"):
    return graph([node(op, inputs, name)], [], [onnx.ValueInfoProto(name=name)], name=name)


one("if/plain", DONE, node("If", "c", "y", then_branch=branch(), else_branch=branch("Neg", "e")), CONDITION)
one("if/no-else", INVALID, node("If", "c", "y", then_branch=branch()), CONDITION)
one("if/float-condition", INVALID, node("If", "x", "y", then_branch=branch(), else_branch=branch()), CONDITION)
one("if/outputs", INVALID, node("If", "c", "y z", then_branch=branch(), else_branch=branch()), CONDITION)
one("if/types", INVALID, node("If", "c", "y", then_branch=branch(), else_branch=branch("Shape", "e")), CONDITION)
one("if/ranks", UNSUPPORTED, node("If", "c", "y", then_branch=branch(), else_branch=branch("Shape", "e", "x")),
    [value("x", [2, 3], I64), value("c", [], BOOL)], [value("y", None, I64)])
one("if/squeeze", DONE, node("If", "c", "y", then_branch=branch("Squeeze", "t", "x k"), else_branch=branch("Identity", "e")),
    [value("x", [2, "n"]), value("c", [], BOOL)], init=[ints("k", 1)])
one("if/undefined", INVALID, node("If", "c", "y", then_branch=branch("Relu", "t", "nothing"), else_branch=branch("Neg", "e")), CONDITION)
one("if/branch-output-undefined", INVALID, node("If", "c", "y", then_branch=graph([], [], [value("none", None)]), else_branch=branch("Neg", "e")), CONDITION)
one("if/branch-inputs", INVALID, node("If", "c", "y", then_branch=graph([node("Relu", "q", "t")], [value("q")], [value("t", None)]), else_branch=branch("Neg", "e")), CONDITION)
one("if/inner-value-outside", INVALID, [node("If", "c", "z", then_branch=branch(), else_branch=branch("Neg", "e")), node("Relu", "t", "y")], CONDITION)
one("if/constant", DONE, node("If", "k", "y", then_branch=branch(), else_branch=branch("NoSuch", "e")), init=[tensor("k", np.array(True))])
one("if/both-impossible", INVALID, node("If", "c", "y", then_branch=branch("Add", "t", "x z"), else_branch=branch("Mul", "e", "x z")), CONDITION + [value("z", [7])])


def loop_body(nodes=None, inputs=None, outputs=None):
    return graph(nodes or [node("Identity", "c", "d"), node("Relu", "a", "b")],
                 inputs or [value("i", [], I64), value("c", [], BOOL), value("a")],
                 outputs or [value("d", [], BOOL), value("b")], name="body")


TRIP = [tensor("n", np.int64(4)), tensor("t", np.array(True))]
one("loop/plain", DONE, node("Loop", "n t x", "y", body=loop_body()), init=TRIP)
one("loop/no-body", INVALID, node("Loop", "n t x", "y"), init=TRIP)
one("loop/body-inputs", INVALID, node("Loop", "n t x", "y", body=loop_body(inputs=[value("c", [], BOOL), value("a")])), init=TRIP)
one("loop/body-outputs", INVALID, node("Loop", "n t x", "y", body=loop_body(outputs=[value("b")])), init=TRIP)
one("loop/condition-type", INVALID, node("Loop", "n t x", "y", body=loop_body(outputs=[value("b", None), value("d", None)])), init=TRIP)
one("loop/carried-type", INVALID, node("Loop", "n t x", "y", body=loop_body([node("Identity", "c", "d"), node("Shape", "a", "b")],
    outputs=[value("d", [], BOOL), value("b", None, I64)])), init=TRIP)
one("loop/carried-rank", UNSUPPORTED, node("Loop", "n t x", "y", body=loop_body([node("Identity", "c", "d"), node("Unsqueeze", "a k", "b")],
    outputs=[value("d", [], BOOL), value("b", None)])), init=TRIP + [ints("k", 0)])
one("loop/growing", DONE, node("Loop", "n t x", "y", body=loop_body([node("Identity", "c", "d"), node("Concat", "a x", "b", axis=0)],
    outputs=[value("d", [], BOOL), value("b", None)])), init=TRIP)
one("loop/never", (DONE, INVALID), node("Loop", "n t x", "y", body=loop_body()), init=[tensor("n", np.int64(-1)), tensor("t", np.array(False))])
one("loop/float-trip", INVALID, node("Loop", "x t x", "y", body=loop_body()), init=TRIP)
one("scan/counts", INVALID, node("Scan", "x", "y", body=graph([node("Relu", "a", "b")], [value("a", [3])], [value("b", [3])]), num_scan_inputs=5))
one("scan/axes", INVALID, node("Scan", "x", "y", body=graph([node("Relu", "a", "b")], [value("a", [3])], [value("b", [3])]), num_scan_inputs=1, scan_input_axes=[4]))
one("scan/plain", DONE, node("Scan", "x", "y", body=graph([node("Relu", "a", "b")], [value("a", [3])], [value("b", [3])]), num_scan_inputs=1))

one("function/recursive", INVALID, call(), functions=[function(nodes=[call(inputs="a", outputs="r")])], imports=LOCAL)
one("function/mutual", INVALID, call("A"), functions=[function("A", [call("B", "a", "r")]), function("B", [call("A", "a", "r")])], imports=LOCAL)
one("function/bomb", INVALID, call("F29"), functions=[function("F0")] + [
    function(f"F{i}", [call(f"F{i - 1}", "a", "b"), call(f"F{i - 1}", "b", "r")]) for i in range(1, 30)], imports=LOCAL)
one("function/twice", INVALID, call(), functions=[function(), function()], imports=LOCAL)
one("function/output-undefined", INVALID, call(), functions=[function(outputs=("none",))], imports=LOCAL)
one("function/body-undefined", INVALID, call(), functions=[function(nodes=[node("Add", "a x", "r")])], imports=LOCAL)
one("function/too-many-inputs", INVALID, call(inputs="x x"), functions=[function()], imports=LOCAL)
one("function/too-many-outputs", INVALID, call(outputs="y z"), functions=[function()], imports=LOCAL)
one("function/missing-input", INVALID, helper.make_node("Twice", [], ["y"], domain="local"), functions=[function()], imports=LOCAL)
one("function/unknown-op", UNSUPPORTED, call(), functions=[function(nodes=[node("NoSuch", "a", "r")])], imports=LOCAL)
one("function/missing", UNSUPPORTED, call("Other"), functions=[function()], imports=LOCAL)
one("function/shadows-operator", DONE, node("Relu", "x", "y"), functions=[function("Relu", domain="")])
one("function/overload", DONE, onnx.NodeProto(op_type="Twice", domain="local", overload="b", input=["x"], output=["y"]),
    functions=[function(), onnx.FunctionProto.FromString(function().SerializeToString() + b"\x6a\x01b")], imports=LOCAL, ir=10)

# --------------------------------------------------------------------- sampling, signals
PLANES, GRID = value("x", [1, 2, 4, 4]), value("g", [1, 3, 3, 2])
one("grid-sample/plain", DONE, node("GridSample", "x g", "y"), [PLANES, GRID], opset=20)
one("grid-sample/mode", INVALID, node("GridSample", "x g", "y", mode="lanczos"), [PLANES, GRID], opset=20)
one("grid-sample/coordinates", INVALID, node("GridSample", "x g", "y"), [PLANES, value("g", [1, 3, 3, 3])], opset=20)
one("affine-grid/unknown-rank", UNSUPPORTED, node("AffineGrid", "t s", "y"), [value("t", ["n", "r", "c"]), value("s", ["k"], I64)], opset=20)
one("affine-grid/theta", INVALID, node("AffineGrid", "t s", "y"), [value("t", [1, 3, 4]), value("s", [4], I64)], opset=20)
one("roi-align/columns", INVALID, node("RoiAlign", "x r b", "y"), [PLANES, value("r", [2, 5]), value("b", [2], I64)])
one("roi-align/counts", INVALID, node("RoiAlign", "x r b", "y"), [PLANES, value("r", [2, 4]), value("b", [3], I64)])
one("max-roi-pool/shape", INVALID, node("MaxRoiPool", "x r", "y", pooled_shape=[0, 2]), [PLANES, value("r", [2, 5])])
one("deform-conv/offsets", INVALID, node("DeformConv", "x w o", "y"), [PLANES, value("o", [1, 7, 3, 3])], opset=19,
    init=[tensor("w", np.ones((3, 2, 2, 2), np.float32))])
one("col2im/unknown-rank", UNSUPPORTED, node("Col2Im", "x i b", "y"), [value("x", [1, 8, 4]), value("i", ["k"], I64), value("b", ["k"], I64)])
one("col2im/blocks", INVALID, node("Col2Im", "x i b", "y"), [value("x", [1, 8, 5])], init=[ints("i", 3, 3), ints("b", 2, 2)])
one("dft/axis", INVALID, node("DFT", "x", "y", axis=2), [value("x", [1, 8, 2])], opset=17)
one("dft/parts", INVALID, node("DFT", "x", "y"), [value("x", [1, 8, 3])], opset=20)
one("dft/length", INVALID, node("DFT", "x n", "y"), [value("x", [1, 8, 1])], init=[tensor("n", np.int64(0))], opset=20)
one("stft/step", INVALID, node("STFT", "x s", "y"), [value("x", [1, 8, 1])], init=[tensor("s", np.int64(0))])
one("bit-cast/width", INVALID, node("BitCast", "x", "y", to=I64), opset=26)
one("bit-cast/string", INVALID, node("BitCast", "x", "y", to=TensorProto.STRING), opset=26)
one("resize/crop-without-roi", INVALID, helper.make_node("Resize", ["x", "", "s"], ["y"], coordinate_transformation_mode="tf_crop_and_resize"),
    [PLANES], init=[tensor("s", np.ones(4, np.float32))])
one("tensor-scatter/batch-axis", INVALID, node("TensorScatter", "x u", "y", axis=0), [value("x"), value("u")], opset=24)
one("reverse-sequence/axes", INVALID, node("ReverseSequence", "x l", "y", batch_axis=1, time_axis=1), [value("x"), value("l", [3], I64)])

# --------------------------------------------------------------------- dimensions on the command line
DYNAMIC = [value("x", ["batch", 3, None])]
for name, allowed, flag in (("pin", DONE, "batch=4"), ("range", DONE, "batch=1..8"), ("unnamed", DONE, "x[2]=5"),
                            ("unknown", USAGE, "width=4"), ("unknown-axis", USAGE, "x[1]=4"), ("text", USAGE, "batch=four"),
                            ("negative", USAGE, "batch=-1"), ("backwards", USAGE, "batch=8..2"), ("no-value", USAGE, "batch"),
                            ("huge", (USAGE, INVALID), "batch=99999999999999999999"), ("overflow", INVALID, f"batch={2**62}")):
    add("dim/" + name, allowed if isinstance(allowed, tuple) else (allowed,),
        lambda: model([RELU], DYNAMIC), f"--dim={flag}")
