#!/usr/bin/env python3
"""Trains fashion.onnx, the small model that tools/quickstart.sh compiles, and its data.

    python3 make_fashion.py [OUT_DIR]          # numpy and onnx; about 6 minutes on one core

A convolutional network for Fashion-MNIST (28 x 28 grey images of clothing, 10 classes), trained by
plain numpy: three Conv-BatchNormalization-Relu blocks with max pooling between, global average
pooling, one linear layer. The images come from Debian's package dataset-fashion-mnist (MIT licence).
fashion.npz holds 16 images of the test set that training never saw, fashion-expected.npz their labels
and what the numpy network answers.
"""
import gzip
import os
import sys

import numpy as np

DATA = "/usr/share/datasets/fashion-mnist"
EPOCHS, BATCH, SEED = 8, 64, 7
CLASSES = ["T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"]


def load(kind):
    """Images as float32 [N,28,28,1] in 0..1 and labels, of the "train" or "t10k" set."""
    def read(name, header):
        for folder, _, files in os.walk(os.environ.get("FASHION_MNIST", DATA)):
            for file in files:
                if file.startswith(name):
                    opener = gzip.open if file.endswith(".gz") else open
                    with opener(os.path.join(folder, file), "rb") as stream:
                        return np.frombuffer(stream.read(), np.uint8, offset=header)
        sys.exit(f"{name} not found: apt-get install dataset-fashion-mnist, or set FASHION_MNIST to its folder")
    images = read(f"{kind}-images", 16).reshape(-1, 28, 28, 1)
    return images.astype(np.float32) / 255, read(f"{kind}-labels", 8).astype(np.int64)


class Block:
    """3x3 convolution with padding 1, batch normalization, ReLU and, if asked, 2x2 max pooling; NHWC."""

    def __init__(self, rng, channels_in, channels_out, pool):
        scale = np.sqrt(2 / (9 * channels_in))
        self.weight = rng.normal(0, scale, (9 * channels_in, channels_out)).astype(np.float32)
        self.gamma, self.beta = np.ones(channels_out, np.float32), np.zeros(channels_out, np.float32)
        self.mean, self.var = np.zeros(channels_out, np.float32), np.ones(channels_out, np.float32)
        self.pool = pool

    def parameters(self):
        return [(self, "weight"), (self, "gamma"), (self, "beta")]

    def forward(self, x, train):
        n, h, w, c = x.shape
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        self.columns = np.concatenate(
            [padded[:, i:i + h, j:j + w] for i in range(3) for j in range(3)], axis=3).reshape(-1, 9 * c)
        y = self.columns @ self.weight
        if train:
            mean, var = y.mean(0), y.var(0)
            self.mean += 0.05 * (mean - self.mean)
            self.var += 0.05 * (var - self.var)
        else:
            mean, var = self.mean, self.var
        self.inverse = 1 / np.sqrt(var + 1e-5)
        self.normal = (y - mean) * self.inverse
        self.shape = x.shape
        self.active = np.maximum(self.normal * self.gamma + self.beta, 0).reshape(n, h, w, -1)
        if not self.pool:
            return self.active
        self.windows = self.active.reshape(n, h // 2, 2, w // 2, 2, -1)
        self.top = self.windows.max((2, 4))
        return self.top

    def backward(self, grad, grads):
        n, h, w, c = self.shape
        if self.pool:
            hit = self.windows == self.top[:, :, None, :, None]
            grad = (hit * grad[:, :, None, :, None]).reshape(self.active.shape)
        grad = (grad * (self.active > 0)).reshape(self.normal.shape)
        grads[self, "gamma"], grads[self, "beta"] = (grad * self.normal).sum(0), grad.sum(0)
        # Through batch statistics (Ioffe and Szegedy 2015, section 3).
        grad = self.gamma * self.inverse * (
            grad - grads[self, "beta"] / len(grad) - self.normal * (grads[self, "gamma"] / len(grad)))
        grads[self, "weight"] = self.columns.T @ grad
        if c == 1:
            return None  # the image itself
        columns = (grad @ self.weight.T).reshape(n, h, w, 9, c)
        padded = np.zeros((n, h + 2, w + 2, c), np.float32)
        for k in range(9):
            padded[:, k // 3:k // 3 + h, k % 3:k % 3 + w] += columns[..., k, :]
        return padded[:, 1:-1, 1:-1]


class Net:
    def __init__(self):
        rng = np.random.default_rng(SEED)
        self.blocks = [Block(rng, 1, 16, True), Block(rng, 16, 32, True), Block(rng, 32, 64, False)]
        self.linear = rng.normal(0, np.sqrt(1 / 64), (64, 10)).astype(np.float32)
        self.bias = np.zeros(10, np.float32)

    def parameters(self):
        return [p for block in self.blocks for p in block.parameters()] + [(self, "linear"), (self, "bias")]

    def forward(self, x, train=False):
        for block in self.blocks:
            x = block.forward(x, train)
        self.features, self.spatial = x.mean((1, 2)), x.shape[1:3]
        return self.features @ self.linear + self.bias

    def backward(self, grad):
        grads = {(self, "linear"): self.features.T @ grad, (self, "bias"): grad.sum(0)}
        grad = grad @ self.linear.T
        h, w = self.spatial
        grad = np.broadcast_to(grad[:, None, None] / (h * w), (len(grad), h, w, grad.shape[1]))
        for block in reversed(self.blocks):
            grad = block.backward(grad, grads)
        return grads


def accuracy(net, images, labels):
    hits = sum((net.forward(images[i:i + 500]).argmax(1) == labels[i:i + 500]).sum() for i in range(0, len(images), 500))
    return 100 * hits / len(images)


def train(images, labels):
    """Adam (Kingma and Ba 2015) on the cross entropy, the rate falling along a cosine to zero."""
    net, rng = Net(), np.random.default_rng(SEED + 1)
    state = {p: (np.zeros_like(getattr(*p)), np.zeros_like(getattr(*p))) for p in net.parameters()}
    steps, step = EPOCHS * (len(images) // BATCH), 0
    for epoch in range(EPOCHS):
        order, total = rng.permutation(len(images)), 0.0
        for at in range(0, len(images) - BATCH + 1, BATCH):
            pick = order[at:at + BATCH]
            x = images[pick]
            if rng.random() < 0.5:
                x = x[:, :, ::-1]
            logits = net.forward(x, train=True)
            p = np.exp(logits - logits.max(1, keepdims=True))
            p /= p.sum(1, keepdims=True)
            total -= np.log(p[np.arange(BATCH), labels[pick]] + 1e-9).mean()
            p[np.arange(BATCH), labels[pick]] -= 1
            grads = net.backward(p / BATCH)
            step += 1
            rate = 2e-3 * (1 + np.cos(np.pi * step / steps)) / 2
            for key, (m, v) in state.items():
                m += 0.1 * (grads[key] - m)
                v += 0.001 * (grads[key] ** 2 - v)
                getattr(*key)[...] -= rate * (m / (1 - 0.9 ** step)) / (np.sqrt(v / (1 - 0.999 ** step)) + 1e-8)
        print(f"epoch {epoch + 1}: loss {total * BATCH / len(images):.4f}", flush=True)
    return net


def export(net, test_accuracy):
    """The network as an ONNX model: image f32 [batch,1,28,28] -> logits f32 [batch,10]; nothing folded."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    nodes, weights, x = [], [], "image"

    def constant(name, array):
        weights.append(numpy_helper.from_array(np.ascontiguousarray(array, np.float32), name))
        return name

    def node(op, inputs, name, **attributes):
        nodes.append(helper.make_node(op, inputs, [name + "_out"], name=name, **attributes))
        return name + "_out"

    for i, block in enumerate(net.blocks, 1):
        c_in = block.weight.shape[0] // 9
        kernel = block.weight.reshape(3, 3, c_in, -1).transpose(3, 2, 0, 1)
        x = node("Conv", [x, constant(f"conv{i}.weight", kernel)], f"conv{i}", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        x = node("BatchNormalization", [x] + [constant(f"bn{i}.{k}", getattr(block, k)) for k in
                                              ("gamma", "beta", "mean", "var")], f"bn{i}", epsilon=1e-5)
        x = node("Relu", [x], f"relu{i}")
        if block.pool:
            x = node("MaxPool", [x], f"pool{i}", kernel_shape=[2, 2], strides=[2, 2])
    x = node("GlobalAveragePool", [x], "average")
    x = node("Flatten", [x], "flatten")
    nodes.append(helper.make_node("Gemm", [x, constant("linear.weight", net.linear), constant("linear.bias", net.bias)],
                                  ["logits"], name="linear"))
    graph = helper.make_graph(
        nodes, "fashion", [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 28, 28])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])], weights,
        doc_string="Classifies 28 x 28 images of clothing (values 0..1): " + ", ".join(CLASSES)
        + f". Trained on Fashion-MNIST by make_fashion.py; {test_accuracy:.2f} % of the 10,000 test images.")
    model = helper.make_model(graph, producer_name="make_fashion.py", ir_version=8,
                              opset_imports=[helper.make_opsetid("", 17)])
    onnx.checker.check_model(model, full_check=True)
    return model


def main():
    out = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__))
    net = train(*load("train"))
    images, labels = load("t10k")
    result = accuracy(net, images, labels)
    print(f"test accuracy {result:.2f} %")
    with open(os.path.join(out, "fashion.onnx"), "wb") as stream:
        stream.write(export(net, result).SerializeToString())
    sample = images[:16].transpose(0, 3, 1, 2)
    np.savez(os.path.join(out, "fashion.npz"), image=sample)
    np.savez(os.path.join(out, "fashion-expected.npz"), labels=labels[:16], logits=net.forward(images[:16]))


if __name__ == "__main__":
    main()
