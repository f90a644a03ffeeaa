#!/usr/bin/env python3
"""Random networks with channels that add nothing: remove-dead-channels finds exactly those that were planted.

    numeric_channels.py [--seed=N] [--count=N] [--only=NAME] [--keep=DIR]

Each case is a ResNet, DenseNet, MobileNetV2, Inception, U-Net, ViT or GQA decoder, twice: with units (channels, heads,
neurons) whose weights are zeros where they are made or where they are read, and without these units. Compiled by default the
first must have as many parameters as the second, and the outputs of --opt=0 and of the second within 1e-6 of their scale (units that are
a number add something that the second model does not have: then of --opt=0 alone). Ends with `N passed, N failed`.
"""
import argparse
import os
import random
import re
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import nnopt  # noqa: E402


class Space:
    """An axis of n units of `width` indices. Some are dead, each in its way: their values are `zero`, nobody reads them
    (`unread`), or they are a number (`const`)."""

    def __init__(self, rng, n, width=1, ways=("zero", "unread"), dead=None):
        self.n, self.width = n, width
        count = rng.randint(1, n // 2) if dead is None else dead
        self.dead = {u: rng.choice(ways) for u in rng.sample(range(n), count)}

    @property
    def size(self):
        return self.n * self.width

    def indices(self, *ways):
        return [u * self.width + i for u, way in sorted(self.dead.items()) if way in ways for i in range(self.width)]

    def kept(self):
        gone = set(self.indices("zero", "unread", "const"))
        return [i for i in range(self.size) if i not in gone]


class Joined:
    """Spaces one after another: a concatenation."""

    def __init__(self, *spaces):
        self.spaces = spaces
        self.size = sum(s.size for s in spaces)

    def indices(self, *ways):
        return self.offset(lambda s: s.indices(*ways))

    def kept(self):
        return self.offset(lambda s: s.kept())

    def offset(self, of):
        result, start = [], 0
        for s in self.spaces:
            result += [start + i for i in of(s)]
            start += s.size
        return result


class Net:
    """Two models under construction: `full`, and `small` without the dead units."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.data = np.random.default_rng(seed)
        self.nodes, self.full, self.small = [], [], []
        self.feeds, self.inputs, self.outputs = {}, [], []
        self.count = 0
        self.adds_constants = False  # that `small` lacks

    def name(self):
        self.count += 1
        return f"v{self.count}"

    def space(self, n, **more):
        space = Space(self.rng, n, **more)
        self.adds_constants |= "const" in space.dead.values()
        return space

    def input(self, array):
        name = self.name()
        self.feeds[name] = array
        kind = TensorProto.INT64 if array.dtype == np.int64 else TensorProto.FLOAT
        self.inputs.append(helper.make_tensor_value_info(name, kind, array.shape))
        return name

    def constants(self, full, small):
        name = self.name()
        self.full.append(numpy_helper.from_array(np.asarray(full), name))
        self.small.append(numpy_helper.from_array(np.asarray(small), name))
        return name

    def ints(self, full, small=None):
        return self.constants(np.array(full, np.int64), np.array(full if small is None else small, np.int64))

    def weights(self, spaces, shape=None, made=(), read=(), scale=1.0, nonzero=False, blank=()):
        """Random numbers; spaces[i] is what dimension i runs over (None: a plain one, of `shape`). Zero where units are made
        along dimensions `made`, or read along dimensions `read`; `blank`: units of these ways are zero along `made`."""
        sizes = [s.size if s else shape[i] for i, s in enumerate(spaces)]
        array = self.data.standard_normal(sizes).astype(np.float32) * np.float32(scale)
        if nonzero:
            array = np.abs(array) + np.float32(0.5)
        for axes, ways in ((made, tuple(blank) or ("zero", "const")), (read, ("unread",))):
            for axis in axes:
                index = [slice(None)] * len(sizes)
                index[axis] = spaces[axis].indices(*ways)
                array[tuple(index)] = 0
        small = array
        for axis, s in enumerate(spaces):
            if s:
                small = np.take(small, s.kept(), axis)
        return self.constants(array, small)

    def add(self, op, inputs, **attributes):
        out = self.name()
        self.nodes.append(helper.make_node(op, inputs, [out], name=f"{op}_{out}", **attributes))
        return out

    # ------------------------------------------------------------------ layers
    def bias(self, space):
        return self.weights([space], made=[0], blank=("zero",))

    def conv(self, x, inside, out, k=3, stride=1, plain_in=1, pad=None):
        """From a space (None: plain_in channels) to a space (an int: channels that all stay)."""
        fixed = isinstance(out, int)
        spaces = [None if fixed else out, inside, None, None]
        shape = [out if fixed else 0, plain_in, k, k]
        w = self.weights(spaces, shape, made=[] if fixed else [0], read=[1] if inside else [],
                         scale=1 / np.sqrt((inside.size if inside else plain_in) * k * k))
        pad = k // 2 if pad is None else pad
        b = [] if fixed else [self.bias(out)]
        return self.add("Conv", [x, w, *b], kernel_shape=[k, k], strides=[stride, stride], pads=[pad] * 4)

    def depthwise(self, x, space, k=3, stride=1):
        w = self.weights([space, None, None, None], [0, 1, k, k], scale=1 / k)
        full, small = space.size, len(space.kept())
        b = self.weights([space], made=[0], blank=("zero",))
        y = self.add("Conv", [x, w, b], kernel_shape=[k, k], strides=[stride, stride], pads=[k // 2] * 4, group=full)
        self.nodes[-1].attribute.append(helper.make_attribute("small_group", small))
        return y

    def batch_norm(self, x, space):
        """Keeps zeros: of channels that are zero, bias and mean are zero too."""
        values = [self.weights([space], nonzero=True), self.bias(space), self.bias(space), self.weights([space], nonzero=True)]
        return self.add("BatchNormalization", [x, *values])

    def linear(self, x, inside, out, plain_in=0, bias=True):
        """x times a matrix between spaces (an int: indices that all stay)."""
        fixed = isinstance(out, int)
        n = inside.size if inside else plain_in
        w = self.weights([inside, None if fixed else out], [plain_in, out if fixed else 0], made=[] if fixed else [1],
                         read=[0] if inside else [], scale=1 / np.sqrt(n))
        y = self.add("MatMul", [x, w])
        if not bias:
            return y
        return self.add("Add", [y, self.constants(*[self.data.standard_normal(out).astype(np.float32)] * 2) if fixed else self.bias(out)])

    def pooled(self, x, space, classes=5):
        y = self.add("Flatten", [self.add("GlobalAveragePool", [x])])
        self.outputs.append(self.linear(y, space, classes))

    def models(self):
        result = []
        for initializers, small in ((self.full, False), (self.small, True)):
            nodes = []
            for node in self.nodes:
                copy = onnx.NodeProto()
                copy.CopyFrom(node)
                group = [a.i for a in node.attribute if a.name == "small_group"]
                del copy.attribute[:]
                for a in node.attribute:
                    if a.name == "small_group":
                        continue
                    copy.attribute.append(helper.make_attribute("group", group[0]) if small and group and a.name == "group" else a)
                nodes.append(copy)
            outputs = [helper.make_tensor_value_info(o, TensorProto.FLOAT, None) for o in self.outputs]
            graph = helper.make_graph(nodes, "planted", self.inputs, outputs, initializers)
            result.append(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8))
        return result


# --------------------------------------------------------------------- networks
def image(net, channels=3, size=8):
    return net.input(net.data.standard_normal((2, channels, size, size)).astype(np.float32))


def resnet(net):
    """The residual stream loses channels too: all that is added to it is zero there."""
    stream = net.space(net.rng.choice([6, 8]), ways=("zero",))
    x = net.add("Relu", [net.batch_norm(net.conv(image(net), None, stream, plain_in=3), stream)])
    for _ in range(2):
        inner = net.space(net.rng.choice([5, 8]))
        y = net.add("Relu", [net.batch_norm(net.conv(x, stream, inner), inner)])
        y = net.batch_norm(net.conv(y, inner, stream), stream)
        x = net.add("Relu", [net.add("Add", [y, x])])
    wide = net.space(10)
    inner = net.space(9, ways=("zero", "unread", "const"))
    y = net.conv(net.add("Relu", [net.conv(x, stream, inner, stride=2)]), inner, wide, k=1)
    x = net.add("Relu", [net.add("Add", [y, net.conv(x, stream, wide, k=1, stride=2)])])
    net.pooled(x, wide)


def densenet(net):
    stem = net.space(6)
    x, spaces = net.conv(image(net), None, stem, plain_in=3), [stem]
    for _ in range(3):
        joined = Joined(*spaces)
        inner, growth = net.space(7), net.space(4)
        y = net.add("Relu", [net.batch_norm(x, joined)])
        y = net.add("Relu", [net.batch_norm(net.conv(y, joined, inner, k=1), inner)])
        y = net.conv(y, inner, growth)
        x = net.add("Concat", [x, y], axis=1)
        spaces.append(growth)
    joined, half = Joined(*spaces), net.space(8)
    y = net.conv(net.add("Relu", [net.batch_norm(x, joined)]), joined, half, k=1)
    net.pooled(net.add("AveragePool", [y], kernel_shape=[2, 2], strides=[2, 2]), half)


def mobilenet(net):
    stem = net.space(6, ways=("zero",))
    low, high = (net.constants(*[np.float32(v)] * 2) for v in (0, 6))
    clip = lambda v: net.add("Clip", [v, low, high])  # noqa: E731
    x, space = clip(net.conv(image(net), None, stem, plain_in=3)), stem
    for stride in (1, 2):
        hidden = net.space(12)
        y = clip(net.batch_norm(net.conv(x, space, hidden, k=1), hidden))
        y = clip(net.batch_norm(net.depthwise(y, hidden, stride=stride), hidden))
        out = space if stride == 1 else net.space(8)
        y = net.batch_norm(net.conv(y, hidden, out, k=1), out)
        x, space = (net.add("Add", [x, y]) if stride == 1 else y), out
    net.pooled(x, space)


def inception(net):
    stem = net.space(6)
    x = net.add("Relu", [net.conv(image(net), None, stem, plain_in=3)])
    parts, spaces = [], []
    for k in (1, 3, 5):
        narrow, out = net.space(4), net.space(5)
        y = net.add("Relu", [net.conv(x, stem, narrow, k=1)])
        parts.append(net.add("Relu", [net.conv(y, narrow, out, k=k)]))
        spaces.append(out)
    out = net.space(4, ways=("zero", "unread", "const"))
    y = net.add("MaxPool", [x], kernel_shape=[3, 3], pads=[1] * 4)
    parts.append(net.add("Relu", [net.conv(y, stem, out, k=1)]))
    spaces.append(out)
    x, joined, last = net.add("Concat", parts, axis=1), Joined(*spaces), net.space(8)
    net.pooled(net.add("Relu", [net.conv(x, joined, last, k=1)]), last)


def unet(net):
    x, down = image(net), []
    space, plain = None, 3
    for n in (5, 6):
        out = net.space(n)
        x = net.add("Relu", [net.batch_norm(net.conv(x, space, out, plain_in=plain), out)])
        down.append((x, out))
        x, space = net.add("MaxPool", [x], kernel_shape=[2, 2], strides=[2, 2]), out
    middle = net.space(8)
    x, space = net.add("Relu", [net.conv(x, space, middle)]), middle
    for n, (skip, skip_space) in zip((6, 5), reversed(down)):
        up = net.space(n)
        if net.rng.random() < 0.5:
            w = net.weights([space, up, None, None], [0, 0, 2, 2], made=[1], read=[0], scale=0.3)
            x = net.add("ConvTranspose", [x, w, net.bias(up)], kernel_shape=[2, 2], strides=[2, 2])
        else:
            scales = net.constants(*[np.array([1, 1, 2, 2], np.float32)] * 2)
            x = net.conv(net.add("Resize", [x, "", scales], mode="nearest"), space, up)
        x, joined, space = net.add("Concat", [x, skip], axis=1), Joined(up, skip_space), net.space(7)
        x = net.add("Relu", [net.conv(x, joined, space)])
    net.outputs.append(net.conv(x, space, 2, k=1))


def plain(net, *shape):
    return net.constants(*[net.data.standard_normal(shape).astype(np.float32)] * 2)


def vit(net):
    d, t, width = 12, 5, 4
    x = net.input(net.data.standard_normal((2, t, d)).astype(np.float32))
    for _ in range(2):
        heads = net.space(4, width=width)
        kept = len(heads.kept()) // width
        y = net.add("LayerNormalization", [x, plain(net, d), plain(net, d)], axis=-1)
        # One product for q, k and v.
        q, k, v = (net.weights([None, heads], [d, 0], made=[1], scale=1 / np.sqrt(d)) for _ in range(3))
        y = net.add("MatMul", [y, net.fused([q, k, v])])
        y = net.add("Reshape", [y, net.ints([2, t, 3, 4, width], [2, t, 3, kept, width])])
        y = net.add("Transpose", [y], perm=[2, 0, 3, 1, 4])
        q, k, v = (net.add("Gather", [y, net.ints(i)], axis=0) for i in range(3))
        s = net.add("MatMul", [q, net.add("Transpose", [k], perm=[0, 1, 3, 2])])
        s = net.add("Softmax", [net.add("Mul", [s, net.constants(*[np.float32(0.5)] * 2)])], axis=-1)
        y = net.add("Transpose", [net.add("MatMul", [s, v])], perm=[0, 2, 1, 3])
        y = net.add("Reshape", [y, net.ints([2, t, 4 * width], [2, t, kept * width])])
        x = net.add("Add", [x, net.linear(y, heads, d)])
        neurons = net.space(16, ways=("zero", "unread", "const"))
        y = net.add("LayerNormalization", [x, plain(net, d), plain(net, d)], axis=-1)
        y = net.linear(y, None, neurons, plain_in=d)
        e = net.add("Add", [net.add("Erf", [net.add("Div", [y, net.constants(*[np.float32(2 ** 0.5)] * 2)])]),
                            net.constants(*[np.float32(1)] * 2)])
        y = net.add("Mul", [net.add("Mul", [y, e]), net.constants(*[np.float32(0.5)] * 2)])
        x = net.add("Add", [x, net.linear(y, neurons, d)])
    net.outputs.append(x)


def decoder(net):
    """Grouped-query attention, RMS normalization, gated FFN; the stream of the residuals loses channels, too."""
    t, width, kv, share = 6, 4, 3, 2
    stream = net.space(12, ways=("zero",))
    ids = net.input(net.data.integers(0, 11, (2, t)))
    x = net.add("Gather", [net.weights([None, stream], [11, 0], made=[1]), ids], axis=0)

    def norm(x):
        """The smaller model has the same means with another epsilon and scale."""
        share = stream.size / len(stream.kept())
        square = net.add("ReduceMean", [net.add("Mul", [x, x]), net.ints([-1])], keepdims=1)
        root = net.add("Sqrt", [net.add("Add", [square, net.constants(np.float32(1e-5), np.float32(1e-5 * share))])])
        scale = np.abs(net.data.standard_normal(stream.size)).astype(np.float32) + np.float32(0.5)
        scale = net.constants(scale, np.take(scale, stream.kept()) * np.float32(share ** 0.5))
        return net.add("Mul", [net.add("Div", [x, root]), scale])

    for _ in range(2):
        heads = net.space(kv, width=width, dead=1)
        queries = Space(net.rng, kv, width=width * share, dead=0)
        queries.dead = heads.dead
        y, kept = norm(x), kv - 1
        split = {}
        for name, space, n, k in (("q", queries, kv * share, kept * share), ("k", heads, kv, kept), ("v", heads, kv, kept)):
            w = net.weights([stream, space], made=[1] if name == "v" else [], read=[0], scale=0.3)
            r = net.add("Reshape", [net.add("MatMul", [y, w]), net.ints([2, t, n, width], [2, t, k, width])])
            split[name] = net.add("Transpose", [r], perm=[0, 2, 1, 3])
        for name in ("k", "v"):
            e = net.add("Unsqueeze", [split[name], net.ints([2])])
            e = net.add("Expand", [e, net.ints([2, kv, share, t, width], [2, kept, share, t, width])])
            split[name] = net.add("Reshape", [e, net.ints([2, kv * share, t, width], [2, kept * share, t, width])])
        s = net.add("MatMul", [split["q"], net.add("Transpose", [split["k"]], perm=[0, 1, 3, 2])])
        mask = np.triu(np.full((t, t), -1e4, np.float32), 1)
        s = net.add("Softmax", [net.add("Add", [s, net.constants(mask, mask)])], axis=-1)
        y = net.add("Transpose", [net.add("MatMul", [s, split["v"]])], perm=[0, 2, 1, 3])
        y = net.add("Reshape", [y, net.ints([2, t, kv * share * width], [2, t, kept * share * width])])
        x = net.add("Add", [x, net.linear(y, queries, stream, bias=False)])
        neurons = net.space(14)
        y = norm(x)
        gate = net.add("MatMul", [y, net.weights([stream, neurons], read=[0], scale=0.3)])
        up = net.linear(y, stream, neurons, bias=False)
        y = net.add("Mul", [net.add("Mul", [gate, net.add("Sigmoid", [gate])]), up])
        x = net.add("Add", [x, net.linear(y, neurons, stream, bias=False)])
    net.outputs.append(net.linear(norm(x), stream, 11, bias=False))


def fused(self, names):
    """Matrices side by side, as one."""
    arrays = []
    for list in (self.full, self.small):
        by_name = {i.name: numpy_helper.to_array(i) for i in list}
        arrays.append(np.concatenate([by_name[n] for n in names], 1))
        list[:] = [i for i in list if i.name not in names]
    return self.constants(*arrays)


Net.fused = fused
NETWORKS = {f.__name__: f for f in (resnet, densenet, mobilenet, inception, unet, vit, decoder)}


# --------------------------------------------------------------------- checks
def parameters(model):
    """Floats in all constants of the optimized graph."""
    text = subprocess.run([nnopt.tool("nnopt-compile"), model, "--emit=nn"], capture_output=True, text=True, check=True).stdout
    total = 0
    for shape in re.findall(r"= nn\.constant .*: tensor<((?:\d+x)*)f32>", text):
        total += int(np.prod([int(d) for d in shape.split("x")[:-1]] or [1]))
    return total


def outputs(model, flags, feeds, out):
    nnopt.compile(model, out, flags)
    with nnopt.Session(out) as session:
        return session.run(None, feeds)


def check(name, seed, folder):
    net = Net(seed)
    NETWORKS[name](net)
    paths = []
    for model, what in zip(net.models(), ("full", "small")):
        paths.append(os.path.join(folder, f"{name}-{seed}-{what}.onnx"))
        onnx.save(model, paths[-1])
    counts = [parameters(p) for p in paths]
    assert counts[0] == counts[1], f"{counts[0]} parameters are left, {counts[1]} without what was planted"
    out = os.path.join(folder, "model.so")
    ours = outputs(paths[0], [], net.feeds, out)
    others = [("--opt=0", outputs(paths[0], ["--opt=0"], net.feeds, out))]
    if not net.adds_constants:
        others.append(("the small model", outputs(paths[1], [], net.feeds, out)))
    for what, other in others:
        for a, b in zip(ours, other):
            error = float(np.abs(a - b).max() / np.abs(b).max())
            assert error <= 1e-6, f"outputs differ from {what}: {error:.1e} of their scale"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=2, help="of each network")
    parser.add_argument("--only")
    parser.add_argument("--keep", help="a folder for the models")
    args = parser.parse_args()
    passed = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in NETWORKS:
            if args.only and args.only != name:
                continue
            for seed in range(args.seed, args.seed + args.count):
                try:
                    check(name, seed, args.keep or folder)
                    passed += 1
                except (AssertionError, nnopt.CompileError, subprocess.CalledProcessError) as error:
                    failed += 1
                    print(f"{name} seed {seed}: {error}")
    print(f"{passed} passed, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
