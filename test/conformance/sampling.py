#!/usr/bin/env python3
"""Random cases of the operators that sample images and signals, against onnxruntime or, where it lacks them or differs
from the standard, the reference evaluator of the onnx package: GridSample, AffineGrid, RoiAlign, MaxRoiPool,
DeformConv, Col2Im, pooling, Resize with filters and crops, DFT, STFT, windows, sequences, bits.

    sampling.py [--only=GridSample,DFT] [--cases=N]

Cases are run as in irregular.py. Ends with `N passed, N failed`.
"""
import itertools
import sys

import numpy as np
from onnx import TensorProto

import irregular
from irregular import Case, drop_none, node, package_outputs


def floats(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def grid_sample(rng, count):
    paddings = ["zeros", "border", "reflection"]
    for i in range(2 * count):
        mode, padding, align = ["linear", "nearest", "cubic"][i % 3], paddings[i // 3 % 3], i // 2 % 2
        spatial = 3 if mode != "cubic" and i % 4 == 3 else 2
        n, c = int(rng.integers(1, 3)), int(rng.choice([1, 3, 5]))
        sizes = [int(rng.choice([1, 2, 5, 9])) if i % 5 == 4 else int(rng.integers(2, 12)) for _ in range(spatial)]
        out = [int(rng.choice([1, 4, 13])) for _ in range(spatial)]
        x = floats(rng, n, c, *sizes)
        grid = rng.uniform(-1.6, 1.6, [n, *out, spatial]).astype(np.float32)
        # The corners and what lies far away.
        grid.flat[0], grid.flat[-1] = [(-1, 1), (1, -1), (-1e4, 7e3)][i % 3]
        yield Case(f"GridSample_{i}", node("GridSample", ["x", "g"], ["y"], mode=mode, padding_mode=padding, align_corners=align),
                   {"x": x, "g": grid}, ["y"], tolerance=5e-5, opset=20, reference=package_outputs if mode == "cubic" else None)
    # Types of their own, one dimension, and a grid in another type.
    for kind in (np.float64, np.float16, np.int32, np.uint8):
        x = (rng.standard_normal([1, 2, 6]) * 40 + 100).astype(kind)
        grid = rng.uniform(-1.2, 1.2, [1, 7, 1]).astype(np.float32)
        mode = "nearest" if x.dtype.kind in "iu" else "linear"  # the evaluator rounds weights to the type of x
        yield Case(f"GridSample_{np.dtype(kind).name}", node("GridSample", ["x", "g"], ["y"], mode=mode, padding_mode="border"),
                   {"x": x, "g": grid}, ["y"], tolerance=2e-3 if kind == np.float16 else 1e-6, opset=20, reference=package_outputs)


def affine_grid(rng, count):
    for i in range(count):
        spatial, align = 2 + i % 2, i // 2 % 2
        size = np.array([2, 3] + [int(rng.integers(2, 7)) for _ in range(spatial)], np.int64)
        theta = floats(rng, 2, spatial, spatial + 1)
        inputs, constants = ({"t": theta, "s": size}, {}) if i % 3 == 2 else ({"t": theta}, {"s": size})
        yield Case(f"AffineGrid_{i}", node("AffineGrid", ["t", "s"], ["y"], align_corners=align), inputs, ["y"], constants,
                   tolerance=1e-5, opset=20, static=("s",))


def regions(rng, count):
    for i in range(count):
        n, c, h, w = 2, int(rng.choice([1, 4, 19])), int(rng.integers(3, 20)), int(rng.integers(3, 30))
        rois = rng.uniform(-3, 1, [5, 4]) * 10 + rng.uniform(0, 50, [5, 4])
        low, high = np.minimum(rois[:, :2], rois[:, 2:]), np.maximum(rois[:, :2], rois[:, 2:])
        rois = np.concatenate([low, high + (i % 4 > 0)], axis=1).astype(np.float32)
        images = rng.integers(0, n, 5)
        scale, shape = float(rng.choice([1, 0.5, 0.25])), [int(rng.integers(1, 8)), int(rng.integers(1, 8))]
        x = floats(rng, n, c, h, w)
        attributes = {"mode": "max" if i % 3 == 2 else "avg", "output_height": shape[0], "output_width": shape[1],
                      "sampling_ratio": i % 4, "spatial_scale": scale}
        if i % 5:
            attributes["coordinate_transformation_mode"] = ["half_pixel", "output_half_pixel"][i % 2]
        yield Case(f"RoiAlign_{i}", node("RoiAlign", ["x", "r", "b"], ["y"], **attributes), {"x": x, "r": rois, "b": images},
                   ["y"], tolerance=2e-5, opset=16, reference=package_outputs if i % 3 == 2 else None)  # onnxruntime's maximum is another
        batched = np.concatenate([images[:, None].astype(np.float32), rois], axis=1)
        yield Case(f"MaxRoiPool_{i}", node("MaxRoiPool", ["x", "r"], ["y"], pooled_shape=shape, spatial_scale=scale),
                   {"x": x, "r": batched}, ["y"], opset=16)


def deform_conv(rng, count):
    for i in range(count):
        group, offset_group = [(1, 1), (2, 1), (1, 2), (2, 2)][i % 4]
        kernel = [int(rng.integers(1, 4)) for _ in range(2)]
        strides, dilations = [int(rng.integers(1, 3)) for _ in range(2)], [int(rng.integers(1, 3)) for _ in range(2)]
        pads = [int(p) for p in rng.integers(0, 3, 4)]
        n, c, m, h, w = 2, 4, 6, int(rng.integers(6, 12)), int(rng.integers(6, 12))
        out = [(s + pads[a] + pads[a + 2] - dilations[a] * (kernel[a] - 1) - 1) // strides[a] + 1 for a, s in enumerate((h, w))]
        taps = offset_group * kernel[0] * kernel[1]
        values = {"x": floats(rng, n, c, h, w), "w": floats(rng, m, c // group, *kernel), "o": floats(rng, n, 2 * taps, *out) * 1.5,
                  "b": floats(rng, m), "m": rng.random([n, taps, *out]).astype(np.float32)}
        names = ["x", "w", "o", "b" if i % 2 else None, "m" if i % 3 else None]
        used = {k: v for k, v in values.items() if k in names}
        yield Case(f"DeformConv_{i}", node("DeformConv", drop_none(names), ["y"], group=group, offset_group=offset_group,
                                           kernel_shape=kernel, strides=strides, dilations=dilations, pads=pads),
                   {k: v for k, v in used.items() if k not in "wb"}, ["y"], {k: v for k, v in used.items() if k in "wb"},
                   tolerance=2e-5, opset=19, reference=package_outputs)


def blocks(rng, count):
    for i in range(count):
        spatial = 1 + i % 2 + (i % 5 == 4)
        image, block = rng.integers(4, 8, spatial), rng.integers(1, 4, spatial)
        strides, dilations = [[int(v) for v in rng.integers(1, 3, spatial)] for _ in range(2)]
        pads = [int(p) for p in rng.integers(0, 2, 2 * spatial)]
        counts = [(s + pads[a] + pads[a + spatial] - dilations[a] * (b - 1) - 1) // strides[a] + 1
                  for a, (s, b) in enumerate(zip(image, block))]
        x = rng.integers(-9, 9, [2, 3 * int(np.prod(block)), int(np.prod(counts))]).astype([np.float32, np.float64, np.int32][i % 3])
        inputs, constants = {"x": x}, {"image": image, "block": block}
        if i % 2:
            inputs, constants = {"x": x, **constants}, {}
        yield Case(f"Col2Im_{i}", node("Col2Im", ["x", "image", "block"], ["y"], strides=strides, dilations=dilations, pads=pads),
                   inputs, ["y"], constants, static=("image", "block"), reference=package_outputs)


def pooling(rng, count):
    for i in range(count):
        spatial = 1 + i % 3
        kernel, strides = [[int(v) for v in rng.integers(1, 4, spatial)] for _ in range(2)]
        pads = [int(min(rng.integers(0, 2), kernel[a % spatial] - 1)) for a in range(2 * spatial)]
        x = floats(rng, 2, 3, *[int(v) for v in rng.integers(5, 20, spatial)])
        yield Case(f"LpPool_{i}", node("LpPool", ["x"], ["y"], kernel_shape=kernel, strides=strides, pads=pads, p=1 + i % 4),
                   {"x": x}, ["y"], tolerance=1e-5)
        yield Case(f"GlobalLpPool_{i}", node("GlobalLpPool", ["x"], ["y"], p=1 + i % 4), {"x": x}, ["y"], tolerance=1e-5)
        window = {"kernel_shape": [2] * spatial, "strides": [2] * spatial}
        nodes = [node("MaxPool", ["x"], ["p", "i"], **window), node("MaxUnpool", ["p", "i"], ["y"], **window)]
        even = floats(rng, 2, 3, *[2 * int(v) for v in rng.integers(1, 6, spatial)])
        yield Case(f"MaxUnpool_{i}", nodes, {"x": even}, ["y"])


def resize(rng, count):
    for i in range(2 * count):
        mode = ["linear", "cubic", "nearest"][i % 3]
        shape = [int(rng.choice([1, 2])), int(rng.choice([1, 3])), int(rng.integers(4, 20)), int(rng.integers(4, 40))]
        x = floats(rng, *shape)
        names, constants, attributes, by_onnx = ["x", None, None, None], {}, {"mode": mode}, True
        kind = ["antialias", "crop", "aspect", "scales"][i % 4]
        axes = [[2, 3], [3, 2]][i // 4 % 2]
        if kind == "antialias" and mode != "nearest":
            attributes.update(antialias=1, exclude_outside=i // 8 % 2)
            constants["sizes"], names[3] = np.array(shape[:2] + [int(rng.integers(1, 12)) for _ in range(2)], np.int64), "sizes"
        elif kind == "crop":
            attributes.update(coordinate_transformation_mode="tf_crop_and_resize", extrapolation_value=3.0, axes=axes)
            roi = rng.uniform(-0.3, 0.4, 4)
            roi[2:] = roi[:2] + rng.uniform(0.2, 0.9, 2)
            constants.update(roi=roi.astype(np.float32), sizes=np.array([int(v) for v in rng.integers(1, 12, 2)], np.int64))
            names[1], names[3] = "roi", "sizes"
        elif kind == "aspect":
            attributes.update(keep_aspect_ratio_policy=["not_larger", "not_smaller"][i // 2 % 2], axes=axes)
            constants["sizes"], names[3] = np.array([int(v) for v in rng.integers(2, 30, 2)], np.int64), "sizes"
        else:
            attributes.update(coordinate_transformation_mode=["asymmetric", "half_pixel_symmetric"][i // 4 % 2], axes=axes)
            constants["scales"], names[2] = rng.choice([0.5, 0.7, 1.5, 2], 2).astype(np.float32), "scales"
        inputs = {"x": x}
        if i % 3 == 1:
            inputs, constants = {**inputs, **constants}, {}
        yield Case(f"Resize_{kind}_{i}", node("Resize", drop_none(names), ["y"], **attributes), inputs, ["y"], constants,
                   tolerance=5e-5, opset=19, static=("sizes", "scales", "roi"), reference=package_outputs if by_onnx else None)


def determinants(rng, count):
    for i in range(count // 2):
        x = floats(rng, *[[], [3], [2, 2]][i % 3], *[int(rng.choice([1, 2, 5, 8]))] * 2)
        x[..., 0, 0] = 0  # a pivot must be found
        if i % 2:
            x[..., -1, :] = x[..., 0, :]
        yield Case(f"Det_{i}", node("Det", ["x"], ["y"]), {"x": x}, ["y"], tolerance=1e-4 if i % 2 == 0 else float("inf"))


def transforms(rng, count):
    lengths = [1, 2, 8, 12, 15, 60, 7, 11, 26, 49]
    for i in range(2 * count):
        n, axis = lengths[i % len(lengths)], i % 2
        inverse, onesided = i // 2 % 2, i // 4 % 2
        parts = 2 if inverse else 1 if onesided else 1 + i % 2
        shape = [3, 4]
        shape[axis] = n
        x = rng.standard_normal([*shape, parts]).astype([np.float32, np.float64][i // 3 % 2])
        constants = {"axis": np.array(axis, np.int64)}
        names = ["x", None, "axis"]
        if i % 3 == 2 or (inverse and onesided):
            names[1], constants["length"] = "length", np.array(int(rng.choice([n, n + 3, max(1, n - 1)])), np.int64)
        inputs = {"x": x}
        if i % 4 == 3:
            inputs, constants = {**inputs, **constants}, {}
        yield Case(f"DFT_{i}", node("DFT", drop_none(names), ["y"], inverse=inverse, onesided=onesided), inputs, ["y"], constants,
                    opset=20, reference=package_outputs)


def spectra(rng, count):
    for i in range(count // 2):
        n, step, length = int(rng.integers(20, 60)), int(rng.integers(1, 9)), int(rng.choice([8, 11, 16]))
        values = {"s": floats(rng, 2, n, 1), "step": np.array(step, np.int64), "w": np.hanning(length).astype(np.float32),
                  "l": np.array(length, np.int64)}
        names = ["s", "step", "w" if i % 2 else None, "l" if i % 3 != 1 or i % 2 == 0 else None]
        used = {k: v for k, v in values.items() if k in names}
        inputs = {k: v for k, v in used.items() if k == "s" or i % 3 == 2}
        yield Case(f"STFT_{i}", node("STFT", drop_none(names), ["y"], onesided=i // 2 % 2), inputs, ["y"],
                   {k: v for k, v in used.items() if k not in inputs}, opset=17, reference=package_outputs)
        op, size = ["HannWindow", "HammingWindow", "BlackmanWindow"][i % 3], np.array(int(rng.integers(2, 40)), np.int64)
        yield Case(f"{op}_{i}", node(op, ["n"], ["y"], periodic=i % 2), {"n": size} if i % 2 else {}, ["y"],
                   {} if i % 2 else {"n": size}, opset=17)
        constants = {"bands": np.array(8, np.int64), "length": np.array(256, np.int64), "rate": np.array(8192 + i, np.int64),
                     "low": np.array(20.0, np.float32), "high": np.array(4000.0, np.float32)}
        yield Case(f"MelWeightMatrix_{i}", node("MelWeightMatrix", list(constants), ["y"]), constants if i % 2 else {}, ["y"],
                   {} if i % 2 else constants, opset=17)


def sequences(rng, count):
    for i in range(count):
        x = rng.integers(0, 99, [int(v) for v in rng.integers(1, 7, 2 + i % 3)]).astype([np.float32, np.int64, np.bool_][i % 3])
        batch = i % 2
        lengths = rng.integers(0, x.shape[1 - batch] + 1, x.shape[batch])
        yield Case(f"ReverseSequence_{i}", node("ReverseSequence", ["x", "l"], ["y"], batch_axis=batch, time_axis=1 - batch),
                   {"x": x, "l": lengths}, ["y"], reference=package_outputs)
        cache = floats(rng, 2, *[int(v) for v in rng.integers(1, 4, i % 2 + 1)], 6, 5)
        update = floats(rng, *cache.shape[:-2], int(rng.integers(1, 5)), 5)
        room = 6 if i % 3 == 2 else 6 - update.shape[-2]
        yield Case(f"TensorScatter_{i}", node("TensorScatter", ["x", "u", "w"], ["y"], mode=["linear", "linear", "circular"][i % 3]),
                   {"x": cache, "u": update, "w": rng.integers(0, room + 1, 2) % 6}, ["y"], opset=24, reference=package_outputs)
        shape = rng.integers(1, 9, 2)
        inputs, constants = ({"x": cache, "s": shape}, {}) if i % 2 else ({"x": cache}, {"s": shape})
        yield Case(f"CenterCropPad_{i}", node("CenterCropPad", ["x", "s"], ["y"], axes=[-1, 1]), inputs, ["y"], constants,
                   static=("s",), reference=package_outputs)
        numbers = rng.choice([-2, -1, 1, 3], [3, 40]).astype([np.float32, np.int32, np.float64][i % 3])
        yield Case(f"CumProd_{i}", node("CumProd", ["x", "a"], ["y"], exclusive=i % 2, reverse=i // 2 % 2), {"x": numbers}, ["y"],
                   {"a": np.array(i % 2, np.int64)}, opset=26, reference=package_outputs)


def bits(rng, count):
    for i, kind in enumerate([np.int8, np.int32, np.int64, np.uint16]):
        wide = np.iinfo(kind)
        x, shift = rng.integers(wide.min, wide.max, [4, 9], kind), rng.integers(-3 if wide.min else 0, wide.bits + 3, [9]).astype(kind)
        for direction in ("LEFT", "RIGHT"):
            yield Case(f"BitShift_{direction}_{kind.__name__}", node("BitShift", ["x", "s"], ["y"], direction=direction),
                       {"x": x, "s": shift}, ["y"], opset=28, reference=package_outputs)
        # Between operations, so that the view is of memory that is computed.
        nodes = [node("Add", ["f", "f"], ["d"]), node("BitCast", ["d"], ["i"], to=TensorProto.INT32),
                 node("BitwiseAnd", ["i", "m"], ["y"])]
        mask = rng.integers(-2**31, 2**31, [5], np.int32)
        yield Case(f"BitCast_{i}", nodes, {"f": floats(rng, 3, 5), "m": mask}, ["y"], opset=26, reference=package_outputs)
        image = floats(rng, 2, 3, 4, 6)
        for mode in ("DCR", "CRD"):
            yield Case(f"SpaceToDepth_{mode}_{i}", node("SpaceToDepth", ["x"], ["y"], blocksize=1 + i % 2, mode=mode), {"x": image},
                       ["y"], opset=28, reference=package_outputs)


def cases(count):
    rng = np.random.default_rng(2)
    yield from itertools.chain(*(f(rng, count) for f in (grid_sample, affine_grid, regions, deform_conv, blocks, pooling, resize,
                                                         determinants, transforms, spectra, sequences, bits)))


if __name__ == "__main__":
    sys.exit(irregular.main(cases, __doc__, default=4))
