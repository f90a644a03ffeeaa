"""Random LSTM and GRU written out for numeric_patterns.py: step by step, as Scan and as Loop."""
import numpy as np
import onnx
from onnx import TensorProto, helper


class Recurrent:
    """A cell with weights, which writes its steps into a graph."""

    def __init__(self, graph, is_lstm, width, hidden, batch):
        self.g, self.rng = graph, graph.rng
        self.is_lstm, self.width, self.hidden, self.batch = is_lstm, width, hidden, batch
        self.gates = 4 if is_lstm else 3
        g, rng = self.g, self.rng
        # GRU: r (R h + b) or R (r h); with products of several gates at once only the first is possible.
        self.form = rng.choice(["fused", "apart"] + (["concatenated"] if is_lstm else []))
        self.resets_product = not is_lstm and (self.form == "fused" or rng.random() < 0.5)
        self.flipped = rng.random() < 0.5  # GRU: the update gate is the share of the candidate
        self.biased = rng.random() < 0.8
        n = self.gates * hidden if self.form != "apart" else hidden
        count = 1 if self.form != "apart" else self.gates
        scale = 1 / np.sqrt(width)
        if self.form == "concatenated":
            self.w = [g.normal([width + hidden, n], scale)]
        else:
            self.w = [g.normal([width, n], scale) for _ in range(count)]
            self.r = [g.normal([n, hidden], 1 / np.sqrt(hidden)) for _ in range(count)]
        self.b = [g.normal([n]) for _ in range(2 * count)]

    def op(self, op, inputs, shape, **attributes):
        return self.g.add(op, inputs, shape, **attributes)

    def input_sums(self, x, i):
        shape = (self.batch, self.g.shapes[self.b[i]][0])
        y = self.op("MatMul", [x, self.w[i]], shape)
        return self.op("Add", [y, self.b[2 * i]], shape) if self.biased else y

    def state_sums(self, h, i):
        shape = (self.batch, self.g.shapes[self.b[i]][0])
        inputs = [h, self.r[i]] + ([self.b[2 * i + 1]] if self.biased else [])
        return self.op("Gemm", inputs, shape, transB=1)

    def parts(self, v):
        shape = (self.batch, self.hidden)
        if self.rng.random() < 0.5:
            names = [self.g.name() for _ in range(self.gates)]
            self.g.nodes.append(helper.make_node("Split", [v, self.g.ints([self.hidden] * self.gates)], names, axis=1))
            self.g.used.add(v)
            self.g.shapes.update(dict.fromkeys(names, shape))
            return names
        return [self.op("Slice", [v, self.g.ints([i * self.hidden]), self.g.ints([(i + 1) * self.hidden]), self.g.ints([1])],
                        shape) for i in range(self.gates)]

    def sums(self, x, h):
        """Of every gate, inputs and state together."""
        shape = (self.batch, self.hidden)
        if self.form == "concatenated":
            both = self.op("Concat", [x, h], (self.batch, self.width + self.hidden), axis=1)
            y = self.op("MatMul", [both, self.w[0]], (self.batch, self.gates * self.hidden))
            return self.parts(self.op("Add", [y, self.b[0]], self.g.shapes[y]))
        if self.form == "fused":
            return self.parts(self.op("Add", [self.input_sums(x, 0), self.state_sums(h, 0)], (self.batch, self.gates * self.hidden)))
        return [self.op("Add", [self.input_sums(x, i), self.state_sums(h, i)], shape) for i in range(self.gates)]

    def lstm(self, x, h, c):
        shape = (self.batch, self.hidden)
        i, f, o, g = self.sums(x, h)
        i, f, o = (self.op("Sigmoid", [v], shape) for v in (i, f, o))
        kept, fresh = self.op("Mul", [f, c], shape), self.op("Mul", [i, self.op("Tanh", [g], shape)], shape)
        c = self.op("Add", [kept, fresh], shape)
        return self.op("Mul", [o, self.op("Tanh", [c], shape)], shape), c

    def gru(self, x, h):
        shape = (self.batch, self.hidden)
        if self.form == "fused":
            own, state = self.parts(self.input_sums(x, 0)), self.parts(self.state_sums(h, 0))
        else:
            own = [self.input_sums(x, i) for i in range(3)]
            state = [self.state_sums(h, i) for i in range(3 if self.resets_product else 2)]
        z, r = (self.op("Sigmoid", [self.op("Add", [own[i], state[i]], shape)], shape) for i in (0, 1))
        if self.resets_product:
            product = self.op("Mul", [r, state[2]], shape)
        else:
            product = self.state_sums(self.op("Mul", [r, h], shape), 2)
        n = self.op("Tanh", [self.op("Add", [own[2], product], shape)], shape)
        a, b = (h, n) if self.flipped else (n, h)
        if self.rng.random() < 0.5:
            return self.op("Add", [a, self.op("Mul", [z, self.op("Sub", [b, a], shape)], shape)], shape)
        rest = self.op("Sub", [self.g.number(1), z], shape)
        return self.op("Add", [self.op("Mul", [rest, a], shape), self.op("Mul", [z, b], shape)], shape)

    def step(self, x, h, c):
        return self.lstm(x, h, c) if self.is_lstm else (self.gru(x, h), None)


def build(g):
    rng = g.rng
    steps, n, width, hidden = rng.choice([2, 3, 5]), rng.choice([1, 3]), rng.choice([3, 8]), rng.choice([4, 8])
    cell = Recurrent(g, rng.random() < 0.5, width, hidden, n)
    form = rng.choice(["steps", "steps", "Scan", "Loop"])
    axis = rng.choice([0, 1])
    shape = (steps, n, width) if axis == 0 else (n, steps, width)
    symbols = [None] * 3
    if form != "steps" and rng.random() < 0.5:
        symbols[axis] = "steps"
    x = g.input(shape, symbols)
    state = (n, hidden)
    if rng.random() < 0.5 or form != "steps":
        h, c = g.input(state, [None, None]), g.input(state, [None, None]) if cell.is_lstm else None
    else:  # Zeros.
        h = g.const(np.zeros(state, g.dtype))
        c = g.const(np.zeros(state, g.dtype)) if cell.is_lstm else None
    if form == "steps":
        return written_out(g, cell, x, axis, steps, h, c)
    return looped(g, cell, form, x, axis, steps, h, c)


def written_out(g, cell, x, axis, steps, h, c):
    rng, states = g.rng, []
    reverse = rng.random() < 0.3
    part = (cell.batch, cell.width)
    kind = rng.choice(["Gather", "Slice"])
    for t in reversed(range(steps)) if reverse else range(steps):
        if kind == "Gather":
            xt = g.add("Gather", [x, g.const(np.int64(t))], part, axis=axis)
        else:
            one = part[:axis] + (1,) + part[axis:]
            xt = g.add("Slice", [x, g.ints([t]), g.ints([t + 1]), g.ints([axis])], one)
            xt = g.add("Squeeze", [xt, g.ints([axis])], part)
        h, c = cell.step(xt, h, c)
        states.append(h)
    if reverse:
        states.reverse()
    end = rng.choice(["stack", "last", "join", "some"])
    size = cell.batch, cell.hidden
    if end == "stack":
        at = rng.choice([0, 1])
        wide = [g.add("Unsqueeze", [s, g.ints([at])], size[:at] + (1,) + size[at:]) for s in states]
        g.add("Concat", wide, size[:at] + (steps,) + size[at:], axis=at)
    elif end == "join":
        g.add("Concat", states, (steps * size[0], size[1]), axis=0)
    extra = [states[0]] if end == "some" else []
    return g.model([h] + extra + ([c] if c else []))


def looped(g, cell, form, x, axis, steps, h, c):
    """The steps as body of a loop: nodes that are added go there."""
    outer, states = g.nodes, [s for s in (h, c) if s]
    kind = TensorProto.DOUBLE if g.dtype == np.float64 else TensorProto.FLOAT
    g.nodes = []
    inside = [g.name("state") for _ in states]
    for s in inside:
        g.shapes[s] = (cell.batch, cell.hidden)
    if form == "Scan":
        xt = g.name("step")
        g.shapes[xt] = (cell.batch, cell.width)
    else:
        number, going = g.name("number"), g.name("going")
        xt = g.add("Gather", [x, number], (cell.batch, cell.width), axis=axis)
    new = [s for s in cell.step(xt, inside[0], inside[1] if c else None) if s]
    body, g.nodes = g.nodes, outer
    infos = [helper.make_tensor_value_info(s, kind, [cell.batch, cell.hidden]) for s in inside]
    results = [onnx.ValueInfoProto(name=s) for s in new]
    # The state is also what is collected: under a name of its own.
    y = g.name("y")
    body.append(helper.make_node("Identity", [new[0]], [y]))
    results.append(onnx.ValueInfoProto(name=y))
    for r in results:
        r.type.CopyFrom(infos[0].type)
    outs = [g.name() for _ in results]
    if form == "Scan":
        infos.append(helper.make_tensor_value_info(xt, kind, [cell.batch, cell.width]))
        graph = helper.make_graph(body, "body", infos, results)
        g.nodes.append(helper.make_node("Scan", [*states, x], outs, body=graph, num_scan_inputs=1, scan_input_axes=[axis]))
    else:
        still = g.name("still")
        body.append(helper.make_node("Identity", [going], [still]))
        infos = [helper.make_tensor_value_info(number, TensorProto.INT64, []),
                 helper.make_tensor_value_info(going, TensorProto.BOOL, [])] + infos
        results.insert(0, helper.make_tensor_value_info(still, TensorProto.BOOL, []))
        graph = helper.make_graph(body, "body", infos, results)
        size = g.add("Gather", [g.add("Shape", [x], (3,)), g.const(np.int64(axis))], (), axis=0)
        g.nodes.append(helper.make_node("Loop", [size, g.const(np.array(True)), *states], outs, body=graph))
        g.used.add(size)
    g.used.update([x, *states, *new, *inside])
    for o in outs[:-1]:
        g.shapes[o] = (cell.batch, cell.hidden)
    g.shapes[outs[-1]] = (steps, cell.batch, cell.hidden)
    return g.model([])
