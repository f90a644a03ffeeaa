"""Random cases of operators on images and signals."""
import numpy as np
from onnx import TensorProto

from draw import Skip, is_float, single
from operators import image, recipe, window


@recipe("Resize")
def resize(d, schema, opset):
    version = schema.since_version
    mode = d.choice([None, "nearest", "linear"] + (["cubic"] if version >= 11 else []))
    coordinates = [None, "half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_crop_and_resize"]
    coordinates += ["tf_half_pixel_for_nn"] * (version == 11) + ["half_pixel_symmetric"] * (version >= 19)
    coordinates = d.choice(coordinates)
    rank = 2 if mode == "cubic" else d.randint(1, 3)
    sizes = [d.choice([1, 2]), d.choice([1, 3])] + [d.randint(1, 9) for _ in range(rank)]
    if d.chance(0.15):
        sizes = sizes[2:]
    x = d.ordinary(sizes, d.type(schema, only=None if mode in (None, "nearest") else ("float", "double", "float16")))
    named = {"mode": mode, "coordinate_transformation_mode": coordinates}
    if mode in (None, "nearest"):
        named["nearest_mode"] = d.choice([None, "round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
    if mode == "cubic":
        named.update(cubic_coeff_a=d.choice([None, -0.5]), exclude_outside=d.choice([None, 0, 1]))
    if mode in ("linear", "cubic") and d.chance(0.3):
        named["antialias"] = 1
    # Which dimensions change: the last ones, or the axes that are named.
    changed = list(range(len(sizes)))[-d.randint(1, max(1, min(len(sizes) - 2, 3))):]
    axes = changed if version >= 18 and d.chance(0.4) else None
    picked = changed if axes else range(len(sizes))
    factors = {i: d.choice([0.5, 0.6, 1.0, 1.5, 2.0, 2.3, 3.0]) if i in changed else 1.0 for i in range(len(sizes))}
    roi = None
    if coordinates == "tf_crop_and_resize":
        low = [d.uniform(0, 0.4) if i in changed else 0.0 for i in picked]
        high = [d.uniform(0.5, 1.2) if i in changed else 1.0 for i in picked]
        roi = np.array(low + high, np.float32)
        named["extrapolation_value"] = d.choice([None, 1.5])
    scales = np.array([factors[i] for i in picked], np.float32)
    wanted = None
    if version >= 11 and d.chance(0.5):
        wanted = np.array([max(1, int(np.floor(sizes[i] * factors[i]))) for i in picked], np.int64)
        scales = np.zeros(0, np.float32) if version == 11 else None
        if axes and d.chance(0.4):
            named["keep_aspect_ratio_policy"] = d.choice(["stretch", "not_larger", "not_smaller"])
    elif any(int(np.floor(s * factors[i])) < 1 for i, s in enumerate(sizes)):
        raise Skip
    if version == 11 and roi is None:
        roi = np.zeros(0, np.float32)
    if version == 10:
        named = {"mode": mode}
    # Scales are f32, and so may be what is computed with them.
    return single(d, schema, opset, [x], constant=("roi", "scales", "sizes"), loose=10, roi=roi, scales=scales,
                  sizes=wanted, axes=axes, **named)


@recipe("Upsample")
def upsample(d, schema, opset):
    x = d.ordinary([d.choice([1, 2]), d.choice([1, 3]), d.randint(1, 6), d.randint(1, 6)], d.type(schema))
    h, w = d.choice([1.0, 2.0, 3.0]), d.choice([1.0, 1.5, 2.0])
    linear = ["linear" if schema.since_version >= 7 else "bilinear"] if is_float(x.dtype) else []
    mode = d.choice([None, "nearest"] + linear)
    scales = [1.0, 1.0, h, w]
    if schema.since_version >= 9:
        scales = np.array(scales, np.float32)
    return single(d, schema, opset, [x], constant=("scales",), mode=mode, scales=scales, height_scale=h, width_scale=w)


def boxes(d, count, kind, height, width, scale):
    """Regions of an image; corners lie in it or a little outside."""
    left, top = d.data.uniform(-1, width, count), d.data.uniform(-1, height, count)
    size = d.data.uniform(0.5, max(height, width), (2, count))
    return (np.stack([left, top, left + size[0], top + size[1]], -1) / scale).astype(kind)


@recipe("RoiAlign", "MaxRoiPool")
def regions(d, schema, opset):
    kind, n, c = d.type(schema, only=("float", "double", "float16")), d.choice([1, 2]), d.choice([1, 3])
    h, w = d.randint(2, 9), d.randint(2, 9)
    scale, count, size = d.choice([1.0, 0.5]), d.randint(1, 4), [d.randint(1, 3), d.randint(1, 3)]
    rois, batch = boxes(d, count, kind, h, w, scale), d.values([count], np.int64, 0, n - 1)
    x = d.ordinary([n, c, h, w], kind)
    if schema.name == "MaxRoiPool":
        rois = np.concatenate([batch[:, None].astype(kind), np.round(np.maximum(rois, 0))], 1).astype(kind)
        return single(d, schema, opset, [x, rois], pooled_shape=size, spatial_scale=scale)
    return single(d, schema, opset, [x, rois, batch], mode=d.choice([None, "avg", "max"]), output_height=size[0],
                  output_width=size[1],
                  sampling_ratio=d.choice([None, 0, 1, 2, 3]), spatial_scale=scale, loose=10,
                  coordinate_transformation_mode=d.choice([None, "half_pixel", "output_half_pixel"]))


@recipe("NonMaxSuppression")
def suppression(d, schema, opset):
    n, c, count = d.choice([1, 2]), d.choice([1, 2, 3]), d.randint(1, 20)
    corners = boxes(d, n * count, np.float32, 10, 10, 1).reshape(n, count, 4)
    center = d.choice([None, 0, 1])
    if center:
        corners = np.abs(corners)
    elif d.chance(0.3):  # which corner comes first is free
        corners = corners[..., [2, 1, 0, 3]]
    shape = d.choice([[], [1]])
    most = np.full(shape, d.randint(0, 6), np.int64) if d.chance(0.8) else None
    iou, score = (np.full(shape, d.uniform(0, most), np.float32) if d.chance(0.6) else None for most in (1, 0.6))
    return single(d, schema, opset, [corners, d.data.random((n, c, count)).astype(np.float32), most, iou, score],
                  constant=("max_output_boxes_per_class", "iou_threshold", "score_threshold"), center_point_box=center)


@recipe("GridSample")
def grid_sample(d, schema, opset):
    deep = schema.since_version >= 20 and d.chance(0.3)
    space, out = [d.randint(1, 6) for _ in range(3 if deep else 2)], [d.randint(1, 5) for _ in range(3 if deep else 2)]
    n, new = d.choice([1, 2]), schema.since_version >= 20
    modes = [None, "nearest", "linear" if new else "bilinear"] + ([] if deep else ["cubic" if new else "bicubic"])
    kind = d.type(schema, only=("float", "double", "float16"))
    grid = d.ordinary([n] + out + [len(space)], d.type(schema, 1, only=("float", "double", "float16")) if d.chance(0.1)
                      else kind, -1.3, 1.3)
    return single(d, schema, opset, [d.ordinary([n, d.choice([1, 3])] + space, kind), grid], loose=10,
                  mode=d.choice(modes),
                  padding_mode=d.choice([None, "zeros", "border", "reflection"]), align_corners=d.choice([None, 0, 1]))


@recipe("AffineGrid")
def affine_grid(d, schema, opset):
    dims, n = d.choice([2, 3]), d.choice([1, 2])
    size = np.array([n, d.choice([1, 3])] + [d.randint(1, 6) for _ in range(dims)], np.int64)
    return single(d, schema, opset, [d.ordinary([n, dims, dims + 1], d.type(schema)), size], constant=("size",),
                  align_corners=d.choice([None, 0, 1]))


@recipe("DeformConv")
def deform_conv(d, schema, opset):
    kind, n, groups, offsets = d.type(schema), d.choice([1, 2]), d.choice([1, 1, 2]), d.choice([1, 1, 2])
    c, m, size = groups * offsets * d.choice([1, 2]), groups * d.choice([1, 3]), [d.randint(3, 8), d.randint(3, 8)]
    kernel, strides = [d.randint(1, 3), d.randint(1, 3)], [d.choice([1, 2]) for _ in size]
    dilations = [d.choice([1, 1, 2]) for _ in size]
    pads = [d.randint(0, 2) for _ in range(4)]
    out = [(s + pads[i] + pads[i + 2] - (k - 1) * e - 1) // t + 1
           for i, (s, k, e, t) in enumerate(zip(size, kernel, dilations, strides))]
    if min(out) < 1:
        raise Skip
    taps = kernel[0] * kernel[1]
    operands = [d.ordinary([n, c] + size, kind), d.ordinary([m, c // groups] + kernel, kind),
                d.ordinary([n, offsets * taps * 2] + out, kind),
                d.ordinary([m], kind) if d.chance(0.5) else None,
                d.ordinary([n, offsets * taps] + out, kind) if d.chance(0.5) else None]
    return single(d, schema, opset, operands, constant=("w", "b"), loose=10, group=groups, offset_group=offsets,
                  strides=strides,
                  dilations=dilations, pads=pads, kernel_shape=kernel if d.chance(0.5) else None)


@recipe("MaxUnpool")
def max_unpool(d, schema, opset):
    space = [d.randint(1, 4) for _ in range(d.choice([1, 2, 2, 3]))]
    n, c, kind = d.choice([1, 2]), d.choice([1, 2]), d.type(schema, only=("float", "double", "float16"))
    kernel = [d.randint(1, 3) for _ in space]
    strides = [d.randint(1, k) for k in kernel]
    given = d.chance(0.7)
    out = [(s - 1) * (t if given else 1) + k for s, t, k in zip(space, strides, kernel)]
    count, inner = n * c * int(np.prod(space)), int(np.prod(out))
    # Within its image, as pooling makes them.
    planes = [np.sort(d.data.permutation(inner)[:count // (n * c)]) + p * inner for p in range(n * c)]
    index = np.concatenate(planes).astype(np.int64).reshape([n, c] + space)
    operands = [d.ordinary(index.shape, kind), index] + ([np.array([n, c] + out, np.int64)] if d.chance(0.3) else [])
    return single(d, schema, opset, operands, constant=("output_shape",), kernel_shape=kernel,
                  strides=strides if given else None)


@recipe("Col2Im")
def col2im(d, schema, opset):
    sizes = image(d)
    named = window(d, sizes)
    kernel = named.pop("kernel_shape")
    named.pop("auto_pad", None)
    pads, strides = named.get("pads", [0] * 2 * len(sizes)), named.get("strides", [1] * len(sizes))
    dilations = named.get("dilations", [1] * len(sizes))
    count = [(s + pads[i] + pads[i + len(sizes)] - (kernel[i] - 1) * dilations[i] - 1) // strides[i] + 1
             for i, s in enumerate(sizes)]
    x = d.ordinary([d.choice([1, 2]), d.choice([1, 3]) * int(np.prod(kernel)), int(np.prod(count))],
                   d.type(schema, only=("float", "double", "int32", "int64", "float16")))
    return single(d, schema, opset, [x, np.array(sizes, np.int64), np.array(kernel, np.int64)],
                  constant=("image_shape", "block_shape"), **named)


@recipe("Det")
def det(d, schema, opset):
    n = d.randint(1, 5)
    return single(d, schema, opset, [d.ordinary(d.shape(0, 2) + [n, n], d.type(schema))], loose=10)


# --------------------------------------------------------------------- signals
@recipe("DFT")
def dft(d, schema, opset):
    shape = [d.choice([1, 2])] + [d.randint(1, 9) for _ in range(d.randint(1, 2))]
    deep, kind, inverse = d.choice([1, 2]), d.type(schema), d.choice([None, 0, 1])
    onesided = d.choice([None, 0, 1]) if deep == 1 and not inverse else None
    axis = d.randrange(1 if d.chance(0.8) else 0, len(shape))
    axis -= d.choice([0, len(shape) + 1])
    if schema.since_version >= 20:
        axis = np.array(axis, np.int64)
    length = np.array(d.randint(1, 9), d.choice([np.int32, np.int64])) if d.chance(0.4) else None
    return single(d, schema, opset, [d.ordinary(shape + [deep], kind), length], constant=("axis", "dft_length"),
                  loose=10,
                  axis=axis if d.chance(0.7) else None, inverse=inverse, onesided=onesided)


@recipe("STFT")
def stft(d, schema, opset):
    kind, batch, n, frame = d.type(schema), d.choice([1, 2]), d.randint(8, 24), d.randint(1, 8)
    deep, index = d.choice([1, 1, 2]), d.choice([np.int32, np.int64])
    window_given = d.chance(0.6)
    operands = [d.ordinary([batch, n, deep], kind), np.array(d.randint(1, 5), index),
                d.ordinary([frame], kind) if window_given else None,
                np.array(frame, index) if not window_given or d.chance(0.5) else None]
    return single(d, schema, opset, operands, constant=("frame_step", "window", "frame_length"), loose=10,
                  onesided=d.choice([None, 0, 1]) if deep == 1 else 0)


@recipe("HannWindow", "HammingWindow", "BlackmanWindow")
def windows(d, schema, opset):
    size = d.randint(3, 20)  # the shorter ones are zeros, if it were not for rounding
    return single(d, schema, opset, [np.array(size, d.type(schema))], periodic=d.choice([None, 0, 1]),
                  output_datatype=d.choice([None, TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16]))


@recipe("MelWeightMatrix")
def mel(d, schema, opset):
    kind = d.choice([np.int32, np.int64])
    length, rate, real = d.choice([16, 32, 50]), d.choice([8000, 16000]), d.type(schema, 3, only=("float", "double"))
    low = d.choice([0.0, 100.0])
    operands = [np.array(v, kind) for v in (d.randint(1, 8), length, rate)]
    operands += [np.array(v, real) for v in (low, rate / 2)]
    return single(d, schema, opset, operands, output_datatype=d.choice([None, TensorProto.FLOAT, TensorProto.DOUBLE]))
