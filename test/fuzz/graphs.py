"""Random graphs of 10 to 60 nodes: layers with shared weights, residuals, branches, shape arithmetic, If and Loop."""
import numpy as np
from onnx import TensorProto, helper, numpy_helper

from draw import Case

ACTIVATIONS = ["Relu", "Tanh", "Sigmoid", "Softplus", "Elu", "HardSwish", "Mish", "Gelu", "LeakyRelu", "Abs", "Neg",
               "Erf", "Identity"]


class Graph:
    """A graph in the making; `shapes` are the sizes that each f32 value will have."""

    def __init__(self, draw):
        self.d, self.nodes, self.initializers, self.shapes, self.used = draw, [], [], {}, set()
        self.weights, self.count = {}, 0

    def name(self):
        self.count += 1
        return f"v{self.count}"

    def add(self, op, inputs, shape, outputs=1, **attributes):
        names = [self.name() for _ in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, names[0], **attributes))
        self.used.update(inputs)
        if shape is not None:
            self.shapes[names[0]] = tuple(shape)
        return names[0] if outputs == 1 else names

    def const(self, value):
        name = self.name()
        self.initializers.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def ints(self, *values):
        return self.const(np.array(values, np.int64))

    def weight(self, shape, scale=None):
        """A new weight, or one that another layer has."""
        shape = tuple(shape)
        if shape not in self.weights or self.d.chance(0.6):
            fan = np.prod(shape[1:]) if len(shape) > 1 else 1
            value = self.d.data.standard_normal(shape) * (scale or 1 / np.sqrt(fan))
            self.weights[shape] = self.const(value.astype(np.float32))
        return self.weights[shape]

    def pick(self, low=0, high=9):
        """A value, rather a late one."""
        names = [v for v, s in self.shapes.items() if low <= len(s) <= high]
        return self.d.choice(names[-6:] if self.d.chance(0.7) else names) if names else None

    # ------------------------------------------------------------------ steps; each returns whether it did something
    def activation(self):
        x = self.pick()
        self.add(self.d.choice(ACTIVATIONS), [x], self.shapes[x])
        return True

    def residual(self):
        x = self.pick()
        same = [v for v, s in self.shapes.items() if s == self.shapes[x]]
        y = self.add(self.d.choice(["Add", "Add", "Mul", "Sub", "Max"]), [x, self.d.choice(same)], self.shapes[x])
        if self.d.chance(0.3):
            self.add("Tanh", [y], self.shapes[x])
        return True

    def affine(self):
        x = self.pick(1)
        s = self.shapes[x]
        operand = self.weight([s[-1]] if self.d.chance(0.5) or s[0] == self.batch else [1] * (len(s) - 1) + [s[-1]], 1)
        self.add(self.d.choice(["Add", "Mul", "Sub", "Div"]) if self.d.chance(0.9) else "PRelu", [x, operand], s)
        return True

    def linear(self):
        x = self.pick(2)
        if not x:
            return False
        s, m = self.shapes[x], self.d.choice([self.shapes[x][-1], 4, 8, 16, 5])
        if len(s) == 2 and self.d.chance(0.4):
            transposed = self.d.chance(0.5)
            w = self.weight([m, s[-1]] if transposed else [s[-1], m], 1 / np.sqrt(s[-1]))
            self.add("Gemm", [x, w, self.weight([m], 1)], [s[0], m], transB=int(transposed))
            return True
        y = self.add("MatMul", [x, self.weight([s[-1], m], 1 / np.sqrt(s[-1]))], list(s[:-1]) + [m])
        if self.d.chance(0.6):
            self.add("Add", [y, self.weight([m], 1)], self.shapes[y])
        return True

    def conv(self):
        x = self.pick(4, 4)
        if not x:
            return False
        n, c, h, w = self.shapes[x]
        k, stride = self.d.choice([1, 3, 3]), self.d.choice([1, 1, 2])
        group = c if self.d.chance(0.25) else 1
        m = c if group > 1 else self.d.choice([c, 4, 8, 16])
        out = [n, m] + [(v + 2 * (k // 2) - k) // stride + 1 for v in (h, w)]
        operands = [x, self.weight([m, c // group, k, k])] + ([self.weight([m], 1)] if self.d.chance(0.6) else [])
        y = self.add("Conv", operands, out, kernel_shape=[k, k], strides=[stride] * 2, pads=[k // 2] * 4, group=group)
        if self.d.chance(0.4):
            variance = self.const(self.d.data.uniform(0.5, 2, m).astype(np.float32))
            p = [self.weight([m], 1) for _ in range(3)] + [variance]
            y = self.add("BatchNormalization", [y] + p, out)
        if self.d.chance(0.5):
            self.add(self.d.choice(["Relu", "Sigmoid", "HardSwish"]), [y], out)
        return True

    def pool(self):
        x = self.pick(4, 4)
        if not x or min(self.shapes[x][2:]) < 2:
            return False
        n, c, h, w = self.shapes[x]
        if self.d.chance(0.3):
            self.add("GlobalAveragePool", [x], [n, c, 1, 1])
        else:
            self.add(self.d.choice(["MaxPool", "AveragePool"]), [x], [n, c, h // 2, w // 2], kernel_shape=[2, 2],
                     strides=[2, 2])
        return True

    def normalize(self):
        x = self.pick(1)
        s = self.shapes[x]
        kind = self.d.choice(["layer", "softmax", "center", "rms"])
        if kind == "layer":
            self.add("LayerNormalization", [x, self.weight([s[-1]], 1), self.weight([s[-1]], 1)], s, axis=-1,
                     epsilon=1e-2)
        elif kind == "softmax":
            self.add("Softmax", [x], s, axis=self.d.axis(len(s)))
        elif kind == "center":
            mean = self.add("ReduceMean", [x, self.ints(-1)], list(s[:-1]) + [1], keepdims=1)
            self.add("Sub", [x, mean], s)
        else:
            square = self.add("Mul", [x, x], s)
            mean = self.add("ReduceMean", [square, self.ints(-1)], list(s[:-1]) + [1], keepdims=1)
            root = self.add("Sqrt", [self.add("Add", [mean, self.const(np.float32(0.1))], self.shapes[mean])],
                            self.shapes[mean])
            self.add("Div", [x, root], s)
        return True

    def transpose(self):
        x = self.pick(2)
        if not x:
            return False
        s = self.shapes[x]
        perm = self.d.sample(range(len(s)), len(s))
        self.add("Transpose", [x], [s[p] for p in perm], perm=perm)
        return True

    def reshape(self):
        """Splits or merges dimensions, by constants or by computed sizes."""
        x = self.pick(2)
        if not x:
            return False
        s = list(self.shapes[x])
        if self.d.chance(0.5):
            at = self.d.randrange(len(s) - 1)
            new = s[:at] + [s[at] * s[at + 1]] + s[at + 2:]
            hole = at
        else:
            at = self.d.randrange(len(s))
            parts = [f for f in (2, 3, 4) if s[at] % f == 0]
            if not parts or len(s) > 4:
                return False
            f = self.d.choice(parts)
            new = s[:at] + [s[at] // f, f] + s[at + 1:]
            hole = at
        if self.d.chance(0.5):
            target = self.ints(*[-1 if i == hole else v if v != self.batch or i else 0 for i, v in enumerate(new)])
        else:
            shape = self.add("Shape", [x], None)
            pieces = []
            for i, v in enumerate(new):
                if i == hole:
                    pieces.append(self.ints(-1))
                elif i < hole and self.d.chance(0.8):
                    size = self.add("Gather", [shape, self.const(np.int64(i))], None, axis=0)
                    pieces.append(self.add("Unsqueeze", [size, self.ints(0)], None))
                else:
                    if v == self.batch:
                        first = s.index(v)
                        pieces.append(self.add("Slice", [shape, self.ints(first), self.ints(first + 1)], None))
                    else:
                        pieces.append(self.ints(v))
            target = self.add("Concat", pieces, None, axis=0)
        self.add("Reshape", [x, target], new)
        return True

    def pieces(self):
        """Split, or slices, and what puts them together again."""
        x = self.pick(2)
        if not x:
            return False
        s = list(self.shapes[x])
        axis = self.d.randrange(1, len(s))
        if s[axis] < 2:
            return False
        cut = self.d.randrange(1, s[axis])
        sizes = [cut, s[axis] - cut]
        if self.d.chance(0.5):
            parts = self.add("Split", [x, self.ints(*sizes)], None, 2, axis=axis)
        else:
            parts = [self.add("Slice", [x, self.ints(a), self.ints(b), self.ints(axis)], None)
                     for a, b in ((0, cut), (cut, 2**31 - 1))]
        for p, size in zip(parts, sizes):
            self.shapes[p] = tuple(s[:axis] + [size] + s[axis + 1:])
        first = self.add(self.d.choice(ACTIVATIONS), [parts[0]], self.shapes[parts[0]])
        if self.d.chance(0.7):
            order = self.d.sample([first, parts[1], parts[0]], 2)
            self.add("Concat", order, s[:axis] + [sum(self.shapes[p][axis] for p in order)] + s[axis + 1:], axis=axis)
        return True

    def select(self):
        x = self.pick(1)
        s = list(self.shapes[x])
        kind = self.d.choice(["gather", "pad", "where", "expand", "cast", "clip"])
        if kind == "gather":
            axis = self.d.randrange(len(s))
            if s[axis] == self.batch:
                return False
            rows = self.d.values([self.d.randint(1, 5)], np.int64, -s[axis], s[axis] - 1)
            self.add("Gather", [x, self.const(rows)], s[:axis] + [len(rows)] + s[axis + 1:], axis=axis)
        elif kind == "pad":
            before, after = ([0] * (len(s) - 1) + [self.d.randint(0, 2)] for _ in range(2))
            self.add("Pad", [x, self.ints(*before, *after)], s[:-1] + [s[-1] + before[-1] + after[-1]])
        elif kind == "where":
            mask = self.const(self.d.values([s[-1]], np.bool_))
            self.add("Where", [mask, x, self.const(np.float32(0.5))], s)
        elif kind == "expand":
            if len(s) > 3:
                return False
            shape = self.add("Shape", [x], None)
            wider = self.add("Concat", [self.ints(2), shape], None, axis=0)
            self.add("Expand", [x, wider], [2] + s)
        elif kind == "cast":
            wide = self.add("Cast", [x], None, to=TensorProto.DOUBLE)
            self.add("Cast", [self.add("Tanh", [wide], None)], s, to=TensorProto.FLOAT)
        else:
            self.add("Clip", [x, self.const(np.float32(-1)), self.const(np.float32(1))], s)
        return True

    def attention(self):
        x = self.pick(3, 3)
        if not x:
            return False
        n, t, c = self.shapes[x]
        q, k, v = (self.add("MatMul", [x, self.weight([c, c], 1 / np.sqrt(c))], (n, t, c)) for _ in range(3))
        scores = self.add("MatMul", [q, self.add("Transpose", [k], (n, c, t), perm=[0, 2, 1])], (n, t, t))
        scores = self.add("Mul", [scores, self.const(np.float32(1 / np.sqrt(c)))], (n, t, t))
        self.add("MatMul", [self.add("Softmax", [scores], (n, t, t), axis=-1), v], (n, t, c))
        return True

    def branch(self):
        """If on the data of an input, or on a constant: one side reads other values of this graph."""
        x = self.pick()
        s = self.shapes[x]
        same = [v for v, shape in self.shapes.items() if shape == s]
        if self.d.chance(0.7):
            total = self.add("ReduceSum", [self.input], None, keepdims=0)
            condition = self.add("Greater", [total, self.const(np.float32(0))], None)
        else:
            condition = self.const(np.array(self.d.chance(0.5)))
        other = self.d.choice(same)
        sides = []
        for op, operands in (("Add", [x, other]), (self.d.choice(ACTIVATIONS), [x])):
            out = self.name()
            middle = self.name()
            nodes = [helper.make_node(op, operands, [middle]), helper.make_node("Sigmoid", [middle], [out])]
            sides.append(helper.make_graph(nodes, "side", [],
                                           [helper.make_tensor_value_info(out, TensorProto.FLOAT, None)]))
        self.used.update([x, other])
        self.add("If", [condition], s, then_branch=sides[0], else_branch=sides[1])
        return True

    def loop(self):
        """A loop that carries a value, and at times stacks what it had on the way."""
        x = self.pick()
        s, scan, trips = self.shapes[x], self.d.chance(0.5), self.d.randint(0, 4)
        if len(s) > 4:
            return False
        i, go, carried, out, again = (self.name() for _ in range(5))
        w = self.weight([s[-1]], 1) if s else self.const(np.float32(0.5))
        middle = self.name()
        nodes = [helper.make_node("Mul", [carried, w], [middle]), helper.make_node("Tanh", [middle], [out]),
                 helper.make_node("Identity", [go], [again])]
        results = [helper.make_tensor_value_info(again, TensorProto.BOOL, []),
                   helper.make_tensor_value_info(out, TensorProto.FLOAT, None)]
        if scan:
            stacked = self.name()
            nodes.append(helper.make_node("Identity", [out], [stacked]))
            results.append(helper.make_tensor_value_info(stacked, TensorProto.FLOAT, None))
        body = helper.make_graph(nodes, "body", [helper.make_tensor_value_info(i, TensorProto.INT64, []),
                                                 helper.make_tensor_value_info(go, TensorProto.BOOL, []),
                                                 helper.make_tensor_value_info(carried, TensorProto.FLOAT, None)],
                                 results)
        outs = self.add("Loop", [self.const(np.int64(trips)), "", x], None, 1 + scan, body=body)
        outs = outs if scan else [outs]
        self.used.update([x, w])
        self.shapes[outs[0]] = s
        if scan and trips:
            self.shapes[outs[1]] = (trips, *s)
        return True


def make(draw):
    graph = Graph(draw)
    graph.batch = draw.choice([1, 2, 3])
    inner = draw.choice([[3, 12, 12], [4, 8, 10], [8, 9, 9], [6, 16], [5, 8], [12], [17]])
    shape = (graph.batch, *inner)
    graph.input = "x"
    graph.shapes["x"] = shape
    feeds = {"x": draw.data.standard_normal(shape).astype(np.float32)}
    # Unknown may be the number of images, their height and width, the length of a sequence.
    image = len(inner) == 3 and draw.chance(0.3)
    unknown = {1: image, 2: image} if len(inner) == 3 else {0: len(inner) == 2 and draw.chance(0.3)}
    declared = ["batch" if draw.chance(0.5) else graph.batch]
    declared += [f"s{i}" if unknown.get(i) else v for i, v in enumerate(inner)]
    steps = [graph.activation, graph.residual, graph.residual, graph.affine, graph.linear, graph.linear, graph.conv,
             graph.conv, graph.pool,
             graph.normalize, graph.transpose, graph.reshape, graph.pieces, graph.select, graph.attention, graph.branch,
             graph.loop]
    wanted = 10 + int(51 * draw.random() ** 2)  # rather few: each node costs some 20 ms
    if any(isinstance(v, str) for v in declared):
        # Sizes that weights need must stay known.
        steps.remove(graph.transpose)
        steps.remove(graph.reshape) if any(isinstance(v, str) for v in declared[1:]) else None
        steps.remove(graph.attention) if any(isinstance(v, str) for v in declared[1:]) else None
    if image:
        steps = [s for s in steps if s not in (graph.linear, graph.normalize)]
    while len(graph.nodes) < wanted:
        if max(np.prod(s) for s in graph.shapes.values()) > 60000:
            big = [v for v, s in graph.shapes.items() if np.prod(s) > 20000]
            for v in big:
                if v not in graph.used:
                    graph.add("ReduceMax", [v], (), keepdims=0)
                del graph.shapes[v]
            if "x" not in graph.shapes:
                graph.shapes["x"] = shape
        draw.choice(steps)()
    ends = [v for v in graph.shapes if v not in graph.used and v != "x"]
    outputs = [helper.make_tensor_value_info(v, TensorProto.FLOAT, None) for v in ends]
    proto = helper.make_graph(graph.nodes, "random", [helper.make_tensor_value_info("x", TensorProto.FLOAT, declared)],
                              outputs,
                              graph.initializers)
    opset = draw.choice([20, 21, 22, 23, 24])
    model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    return Case(f"graph of {len(graph.nodes)} nodes", model, feeds, loose=10)
