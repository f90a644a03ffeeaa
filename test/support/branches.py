"""Random re-parameterizable blocks for numeric.py: parallel branches, chains of linear operations, normalizations
behind and before views and padding, in the forms that training leaves them in, and in forms that tempt."""
import numpy as np
from onnx import helper


class Branches:
    """Blocks over a value [N, C, spatial...]."""

    def __init__(self, graph):
        self.g, self.rng = graph, graph.rng
        rng = self.rng
        self.spatial = rng.choice([1, 2, 2, 2, 3])
        self.n, self.c = rng.choice([1, 1, 2]), rng.choice([2, 4, 6])
        size = {1: (13,), 2: (7, 8), 3: (4, 5, 4)}[self.spatial]
        names = [rng.choice([None, "n"]), None] + [rng.choice([None, None, f"s{i}"]) for i in range(self.spatial)]
        self.is_dynamic = any(names)
        self.x = graph.input((self.n, self.c) + size, names)
        self.extra = []

    def shape(self, v):
        return self.g.shapes[v]

    # ------------------------------------------------------------------ operations
    def conv(self, x, m, kernel=None, stride=1, group=None, dilation=1, pads=None, bias=None):
        """Padded so that the size does not change before the stride, asymmetrically at times."""
        g, rng = self.g, self.rng
        n, c, *space = self.shape(x)
        kernel = kernel or [rng.choice([1, 2, 3, 3, 5]) for _ in space]
        group = group or rng.choice([d for d in (1, 1, 1, 2, 3, c) if c % d == 0 and m % d == 0])
        window = [(k - 1) * dilation + 1 for k in kernel]
        if pads is None:
            before = [rng.choice([(w - 1) // 2] * 4 + [rng.randint(0, w - 1)]) for w in window]
            pads = before + [w - 1 - b for w, b in zip(window, before)]
        out = [(s + pads[i] + pads[i + len(space)] - window[i]) // stride + 1 for i, s in enumerate(space)]
        w = g.normal([m, c // group] + kernel, 1 / np.sqrt(c // group * np.prod(kernel)))
        bias = rng.random() < 0.3 if bias is None else bias
        return g.add("Conv", [x, w] + ([g.normal([m])] if bias else []), [n, m] + out, kernel_shape=kernel,
                     strides=[stride] * len(space), pads=pads, dilations=[dilation] * len(space), group=group)

    def norm(self, x):
        """Batch normalization, written out at times."""
        g, rng = self.g, self.rng
        shape = self.shape(x)
        c = shape[1]
        parts = [g.data.standard_normal(c) + 1, g.data.standard_normal(c), g.data.standard_normal(c),
                 g.data.random(c) + 0.5]
        if rng.random() < 0.75:
            return g.add("BatchNormalization", [x] + [g.const(p.astype(g.dtype)) for p in parts], shape, epsilon=1e-3)
        gamma, beta, mean, variance = [g.const(p.reshape([c] + [1] * (len(shape) - 2)).astype(g.dtype)) for p in parts]
        y = g.add("Sub", [x, mean], shape)
        y = g.add("Div", [y, g.add("Sqrt", [variance], g.shapes[variance])], shape)
        return g.add("Add", [g.add("Mul", [gamma, y], shape), beta], shape)

    def pad(self, x, before, after, value=0):
        n, c, *space = self.shape(x)
        g = self.g
        out = [s + a + b for s, a, b in zip(space, before, after)]
        return g.add("Pad", [x, g.ints([0, 0] + before + [0, 0] + after), g.number(value)], [n, c] + out)

    def border(self, x, values):
        """Pads by 1 with a number for each channel, as the Diverse Branch Block is exported."""
        g = self.g
        y = self.pad(x, [1] * self.spatial, [1] * self.spatial)
        shape = [1] + list(self.shape(y))[1:]
        image = np.zeros(shape, g.dtype) + np.asarray(values, g.dtype).reshape([1, -1] + [1] * self.spatial)
        image[(slice(None), slice(None)) + (slice(1, -1),) * self.spatial] = 0
        return g.add("Add", [y, g.const(image)], self.shape(y))

    def activation(self, x):
        return self.g.add(self.rng.choice(["Relu", "Tanh"]), [x], self.shape(x))

    # ------------------------------------------------------------------ branches
    def branch(self, x, m, stride):
        g, rng = self.g, self.rng
        n, c, *space = self.shape(x)
        fixed = not self.is_dynamic
        kinds = ["conv"] * 4 + ["dilated", "sequence", "edge"]
        if stride == 1 and m == c:
            kinds += ["identity", "norm", "scale", "pool"]
        if stride == 1 and fixed:
            kinds.append("border")
        kind = rng.choice(kinds)
        if kind == "identity":
            return x
        if kind == "norm":
            return self.norm(x)
        if kind == "scale":
            y = g.add("Mul", [x, g.normal([c] + [1] * self.spatial)], self.shape(x))
            return g.add("Add", [y, g.number(0.3)], self.shape(x)) if rng.random() < 0.5 else y
        if kind == "pool":
            counts = rng.choice([0, 1, 1])
            y = g.add("AveragePool", [x], self.shape(x), kernel_shape=[3] * self.spatial, pads=[1] * 2 * self.spatial,
                      count_include_pad=counts)
        elif kind == "dilated":
            y = self.conv(x, m, [3] * self.spatial, stride, dilation=2)
        elif kind == "sequence":
            y = self.conv(x, m + 2, [1] * self.spatial, group=1, bias=rng.random() < 0.3)
            if rng.random() < 0.3:
                y = self.activation(y)
            y = self.conv(y, m, [rng.choice([1, 3])] * self.spatial, stride, group=1)
        elif kind == "edge":
            y = self.conv(x, m, [1] * self.spatial, group=1, bias=False)
            y = self.conv(y, m, [3] * self.spatial, stride, group=m)
        elif kind == "border":
            bias = g.data.standard_normal(m).astype(g.dtype)
            w = g.normal([m, c] + [1] * self.spatial, 1 / np.sqrt(c))
            y = g.add("Conv", [x, w, g.const(bias)], [n, m] + space)
            y = self.border(y, bias if rng.random() < 0.8 else bias + 1)
            if rng.random() < 0.5:
                y = g.add("AveragePool", [y], [n, m] + space, kernel_shape=[3] * self.spatial)
            else:
                y = self.conv(y, m, [3] * self.spatial, pads=[0] * 2 * self.spatial)
        else:
            y = self.conv(x, m, stride=stride)
        if rng.random() < 0.1:
            self.extra.append(y)
        if rng.random() < 0.7:
            y = self.norm(y)
        return self.activation(y) if rng.random() < 0.08 else y

    def parallel(self, x):
        g, rng = self.g, self.rng
        m, stride = rng.choice([self.shape(x)[1], self.shape(x)[1], 2, 4]), rng.choice([1, 1, 2])
        y = self.branch(x, m, stride)
        for _ in range(rng.choice([1, 2, 2, 3, 4])):
            other = self.branch(x, m, stride)
            y = g.add(rng.choice(["Add"] * 5 + ["Sub"]), rng.sample([y, other], 2), self.shape(y))
        return self.norm(y) if rng.random() < 0.2 else y

    def chain(self, x):
        rng = self.rng
        for _ in range(rng.choice([2, 3])):
            if rng.random() < 0.3 and min(self.shape(x)[2:]) < 20:
                x = self.pad(x, [rng.choice([0, 1])] * self.spatial, [1] * self.spatial, rng.choice([0, 0, 1]))
            kernel = [rng.choice([1, 1, 2, 3])] * self.spatial
            if min(self.shape(x)[2:]) >= kernel[0]:
                x = self.conv(x, rng.choice([2, 4, 8]), kernel, pads=rng.choice([None, [0] * 2 * self.spatial]))
            if rng.random() < 0.4:
                x = self.norm(x)
            if rng.random() < 0.1:
                self.extra.append(x)
        return x

    def views(self, x):
        """A normalization with something between it and the convolutions around."""
        g, rng = self.g, self.rng
        y = self.conv(x, 4)
        n, c, *space = self.shape(y)
        kind = rng.choice(["concat", "split", "slice", "pool", "max", "pad", "resize", "flat", "none"])
        if kind == "concat":
            y = g.add("Concat", [y, self.conv(x, 2)], [n, 6] + space, axis=1)
        elif kind == "split":
            outs = [g.name(), g.name()]
            g.nodes.append(helper.make_node("Split", [y, g.ints([1, 3])], outs, axis=1, name=outs[0]))
            g.used.add(y)
            for o, size in zip(outs, (1, 3)):
                g.shapes[o] = tuple([n, size] + space)
            self.extra.append(outs[0])
            y = outs[1]
        elif kind == "slice":
            step = rng.choice([1, 2, -1])
            ends, start, count = {1: (9, 1, 3), 2: (9, 0, 2), -1: (-9, -2, 3)}[step]
            y = g.add("Slice", [y, g.ints([start]), g.ints([ends]), g.ints([1]), g.ints([step])], [n, count] + space)
        elif kind in ("pool", "max") and min(space) > 1:
            op, more = ("AveragePool", {"count_include_pad": rng.choice([0, 1])}) if kind == "pool" else ("MaxPool", {})
            out = [(s + rng.choice([0]) - 2) + 1 for s in space]
            y = g.add(op, [y], [n, c] + out, kernel_shape=[2] * self.spatial, **more)
        elif kind == "pad":
            y = self.pad(y, [1] * self.spatial, [0] * self.spatial, rng.choice([0, 0.5]))
        elif kind == "resize" and self.spatial == 2:
            y = g.add("Resize", [y, "", g.const(np.array([1, 1, 2, 2], np.float32))], [n, c] + [2 * s for s in space],
                      mode=rng.choice(["nearest", "linear"]))
        elif kind == "flat" and not self.is_dynamic:
            t = int(np.prod(space))
            y = g.add("Reshape", [y, g.ints([0, c, t])], [n, c, t])
            y = self.norm(y)
            y = g.add("Transpose", [y], [n, t, c], perm=[0, 2, 1])
            y = g.add("Add", [y, g.normal([c])], [n, t, c])
            self.extra.append(g.add("MatMul", [y, g.normal([c, 3])], [n, t, 3]))
            return x
        if rng.random() < 0.2:
            y = self.activation(y)
        y = self.norm(y)
        return self.conv(y, 4) if rng.random() < 0.7 else y

    def rows(self, x):
        """Matrix products of positions: chains, adapters, RepBN. Ends the branch."""
        g, rng = self.g, self.rng
        n, c, *space = self.shape(x)
        last = [n] + space + [c]
        y = g.add("Transpose", [x], last, perm=[0] + list(range(2, self.spatial + 2)) + [1])

        def linear(v, k, m):
            y = g.add("MatMul", [v, g.normal([k, m], 1 / np.sqrt(k))], last[:-1] + [m])
            return g.add("Add", [y, g.normal([m])], last[:-1] + [m]) if rng.random() < 0.5 else y

        if rng.random() < 0.5:
            y = g.add("Mul", [y, g.normal([c])], last)
        rank = rng.choice([1, 8])
        z = linear(linear(y, c, rank), rank, c)
        if rng.random() < 0.6:
            z = g.add("Add", [z, linear(y, c, c)], last)
        if rng.random() < 0.5:
            first = g.add("Transpose", [z], [n, c] + space,
                          perm=[0, self.spatial + 1] + list(range(1, self.spatial + 1)))
            eta = g.number(0.4)
            z = g.add("Add", [self.norm(first), g.add("Mul", [first, eta], self.shape(first))], self.shape(first))
        self.extra.append(z)
        return x

    def build(self):
        x = self.x
        for _ in range(self.rng.choice([1, 2, 3])):
            if max(self.shape(x)[1:2]) > 12:
                break
            x = self.rng.choice([self.parallel] * 3 + [self.chain, self.views, self.rows])(x)
            if self.rng.random() < 0.5:
                x = self.activation(x)
        if x == self.x:
            x = self.parallel(x)
        return self.g.model(list(dict.fromkeys(self.extra + [x])))
