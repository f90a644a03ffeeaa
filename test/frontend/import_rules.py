#!/usr/bin/env python3
"""What the importer makes of small models: each case gives a graph and the nn operations it must become.

    import_rules.py [--filter=TEXT] [-v]

The models go through nnopt-opt, which prints the imported module. A case lists texts that must appear in this
order (`!text` must not appear at all). Ends with `N passed, N failed`.
"""
import argparse
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "corpus"))
from bad_graphs import F, I64, BOOL, LOCAL, call, function, graph, ints, model, node, tensor, value

ROOT = os.path.dirname(os.path.dirname(HERE))
OPT = os.path.join(os.environ.get("NNOPT_BUILD", os.path.join(ROOT, "build")), "bin", "nnopt-opt")
CASES = []


def case(name, nodes, expected, inputs=None, outputs=None, init=(), **more):
    nodes = nodes if isinstance(nodes, list) else [nodes]
    CASES.append((name, lambda: model(nodes, inputs, outputs, init, **more), expected))


def f32(name, *shape):
    return tensor(name, np.ones(shape, np.float32))


def absent(op, inputs, outputs, **attributes):
    """A node in which `-` stands for an absent input or output."""
    return helper.make_node(op, ["" if i == "-" else i for i in inputs.split()],
                            ["" if o == "-" else o for o in outputs.split()], **attributes)


# --------------------------------------------------------------------- elementwise
case("relu", node("Relu", "x", "y"), ["nn.relu %arg0 : (tensor<2x3xf32>) -> tensor<2x3xf32>"])
case("identity", node("Identity", "x", "y"), ["return %arg0", "!= nn."])
case("erf-integer", node("Erf", "x", "y"), ["to = f64", "nn.erf", "to = i64"], [value("x", type=I64)], [value("y", None, I64)])
case("pow-mixed", node("Pow", "x k", "y"), ["nn.cast", "to = f32", "nn.pow"], init=[tensor("k", np.int64(2))])
case("pow-int-base", node("Pow", "x k", "y"), ["nn.cast", "nn.pow", "nn.cast", "-> tensor<2x3xi64>"],
     [value("x", type=I64)], [value("y", None, I64)], [tensor("k", np.float32(.5))])
case("clip-6", node("Clip", "x", "y", min=0.0, max=6.0), ["dense<0.0", "dense<6.0", "nn.clip"], opset=7)
case("clip-6-min", node("Clip", "x", "y", min=0.0), ["nn.max", "!nn.clip"], opset=7)
case("clip-6-none", node("Clip", "x", "y"), ["return %arg0"], opset=7)
case("clip-11", node("Clip", "x a b", "y"), ["nn.clip"], init=[tensor("a", np.float32(0)), tensor("b", np.float32(1))])
case("clip-11-max", absent("Clip", "x - b", "y"), ["nn.min", "!nn.clip"], init=[tensor("b", np.float32(1))])
case("clip-11-one-element", node("Clip", "x a a", "y"), ["nn.squeeze", "tensor<f32>", "nn.clip"], init=[f32("a", 1)])
case("clip-6-f64", node("Clip", "x", "y"), ["-3.4028234663852886E+38", "nn.clip"], [value("x", type=TensorProto.DOUBLE)],
     [value("y", None, TensorProto.DOUBLE)], opset=7)
case("add-6", node("Add", "x b", "y", axis=1, broadcast=1), ["nn.unsqueeze", "axes = array<i64: 1, 2>", "nn.add"], [value("x", [2, 3, 4, 5])],
     init=[f32("b", 3)], opset=6)
case("prelu-6", node("PRelu", "x b", "y"), ["nn.unsqueeze", "axes = array<i64: 1, 2>", "nn.prelu"], [value("x", [2, 3, 4, 5])],
     init=[f32("b", 3)], opset=6)
case("upsample-1", node("Upsample", "x", "y", height_scale=2.0, width_scale=3.0), ["nn.resize", "tensor<1x3x8x15xf32>"], [value("x", [1, 3, 4, 5])],
     opset=6)
case("batch-norm-6-training", node("BatchNormalization", "x b b b b", "y"), ["nn.reduce", "nn.batch_norm"], [value("x", [2, 3, 4, 5])],
     init=[f32("b", 3)], opset=6)
case("sum-variadic", node("Sum", "x x x", "y"), ["nn.add", "nn.add"])
case("max-single", node("Max", "x", "y"), ["return %arg0"])
case("mean", node("Mean", "x x", "y"), ["nn.add", "dense<2.0", "nn.div"])
case("cast-like", node("CastLike", "x k", "y"), ["nn.cast", "to = i32"], outputs=[value("y", None, TensorProto.INT32)],
     init=[tensor("k", np.int32(1))])
case("cast-same", node("Cast", "x", "y", to=F), ["return %arg0"])
case("gelu-tanh", node("Gelu", "x", "y", approximate="tanh"), ["nn.gelu", "tanh"], opset=20)
case("leaky-relu", node("LeakyRelu", "x", "y"), ["nn.leaky_relu", "alpha = 0.009999"])
case("hard-sigmoid", node("HardSigmoid", "x", "y"), ["alpha = 0.2000000", "beta = 5.000000e-01"])
case("swish", node("Swish", "x", "y"), ["nn.silu"], opset=24)
case("mod-fmod", node("Mod", "x x", "y", fmod=1), ["nn.mod", "fmod"])
case("bit-shift", node("BitShift", "x x", "y", direction="RIGHT"), ["nn.bit_shift", "right"],
     [value("x", type=TensorProto.UINT8)], [value("y", None, TensorProto.UINT8)])
case("is-inf", node("IsInf", "x", "y", detect_negative=0), ["detect_negative = false", "detect_positive = true"],
     outputs=[value("y", None, BOOL)])

# --------------------------------------------------------------------- quantization
U8, I8, I4 = TensorProto.UINT8, TensorProto.INT8, TensorProto.INT4
bytes8 = lambda name, *shape: tensor(name, np.ones(shape, np.uint8))
case("quantize-per-axis", node("QuantizeLinear", "x s z", "y", axis=0), ["nn.unsqueeze", "nn.quantize", "to = ui8", "!nn.round"],
     outputs=[value("y", None, U8)], init=[f32("s", 2), bytes8("z", 2)])
case("quantize-zero-of-any-length", node("QuantizeLinear", "x s z", "y"), ["nn.squeeze", "nn.quantize"], [value("x"), value("z", ["n"], U8)],
     [value("y", None, U8)], [f32("s")])
case("quantize-default-type", node("QuantizeLinear", "x s", "y"), ["nn.quantize", "to = ui8"], outputs=[value("y", None, U8)],
     init=[f32("s")])
case("quantize-int4", node("QuantizeLinear", "x s", "y", output_dtype=I4), ["to = i4"], outputs=[value("y", None, I4)],
     init=[f32("s")], opset=21)
case("dequantize-blocked", node("DequantizeLinear", "x s", "y", axis=0, block_size=2),
     ["tensor<2x2x3xui8>", "tensor<2x1x3xf32>", "nn.dequantize", "-> tensor<4x3xf32>"], [value("x", [4, 3], U8)],
     init=[f32("s", 2, 3)], opset=21)
case("dequantize-blocked-rest", node("DequantizeLinear", "x s", "y", axis=0, block_size=3),
     ["nn.gather", "nn.dequantize", "-> tensor<4x3xf32>"], [value("x", [4, 3], U8)], init=[f32("s", 2, 3)], opset=21)
case("matmul-integer", node("MatMulInteger", "x w z z", "y"),
     ["nn.matmul", "a_zero", "b_zero", "-> tensor<2x4xi32>", "!nn.sub"],
     [value("x", type=U8)], [value("y", None, TensorProto.INT32)], [bytes8("w", 3, 4), bytes8("z")])
case("matmul-integer-zero-of-any-length", node("MatMulInteger", "x w z", "y"), ["nn.expand", "nn.matmul"],
     [value("x", ["m", 3], U8), value("z", ["k"], U8)], [value("y", None, TensorProto.INT32)], [bytes8("w", 3, 4)])
case("qlinear-conv", node("QLinearConv", "x s z w s z s z b", "y"),
     ["nn.conv", "bias", "x_zero", "w_zero", "xi32>", "nn.quantize", "-> tensor<1x2x4x4xui8>"], [value("x", [1, 3, 4, 4], U8)],
     [value("y", None, U8)], [bytes8("w", 2, 3, 1, 1), bytes8("z"), f32("s"), tensor("b", np.ones(2, np.int32))])
case("matmul-n-bits", node("MatMulNBits", "x w s", "y", domain="com.microsoft", K=16, N=4, bits=4, block_size=16),
     ["to = ui4", "nn.dequantize", "transpose_b", "-> tensor<2x4xf32>"], [value("x", [2, 16])],
     init=[bytes8("w", 4, 1, 8), f32("s", 4, 1)], imports=[helper.make_opsetid("com.microsoft", 1)])
case("gather-block-quantized", node("GatherBlockQuantized", "w x s", "y", domain="com.microsoft", bits=4, block_size=16),
     ["to = ui4", "nn.dequantize", "nn.gather", "-> tensor<3x32xf32>"], [value("x", [3], TensorProto.INT64)],
     init=[bytes8("w", 4, 16), f32("s", 4, 2)], imports=[helper.make_opsetid("com.microsoft", 1)])
case("group-query-attention-prompt",
     helper.make_node("GroupQueryAttention", ["x", "x", "x", "", "", "l", "t"], ["y"], domain="com.microsoft", num_heads=2,
                      kv_num_heads=2), ["nn.attention", "-> tensor<1x3x8xf32>"], [value("x", [1, 3, 8])],
     init=[tensor("l", np.array([2], np.int32)), tensor("t", np.int32(3))], imports=[helper.make_opsetid("com.microsoft", 1)])

# --------------------------------------------------------------------- shapes and data movement
case("reshape-allowzero", node("Reshape", "x s", "y", allowzero=1), ["nn.reshape", "allow_zero", "tensor<0x3xf32>"],
     [value("x", [0, 2])], init=[ints("s", 0, 3)])
case("reshape-from-shape", [node("Shape", "x", "s"), node("Reshape", "z s", "y")], ["-> tensor<?x4xf32>"],
     [value("x", ["n", 4]), value("z", ["m"])])
case("flatten-negative", node("Flatten", "x", "y", axis=-1), ["axis = 1", "tensor<2x3xf32>"])
case("squeeze-11", node("Squeeze", "x", "y", axes=[-1]), ["axes = array<i64: 2>"], [value("x", [2, 3, 1])], opset=11)
case("squeeze-13", node("Squeeze", "x a", "y"), ["axes = array<i64: 0, 2>"], [value("x", [1, 3, 1])], init=[ints("a", -1, 0)])
case("squeeze-all", node("Squeeze", "x", "y"), ["axes = array<i64: 0, 2>"], [value("x", [1, 3, 1])])
case("squeeze-data", node("Squeeze", "x a", "y"), ["nn.cum_sum", "nn.gather", "nn.reshape", "-> tensor<?xf32>"], [value("x", [1, 3]), value("a", [1], I64)])
case("unsqueeze-11", node("Unsqueeze", "x", "y", axes=[-1, 0]), ["axes = array<i64: 0, 3>"], opset=11)
case("transpose-default", node("Transpose", "x", "y"), ["perm = array<i64: 2, 1, 0>"], [value("x", [2, 3, 4])])
case("concat-one", node("Concat", "x", "y", axis=-1), ["return %arg0"])
case("concat-negative", node("Concat", "x x", "y", axis=-1), ["axis = 1", "tensor<2x6xf32>"])
case("split-11", node("Split", "x", "y z", axis=1, split=[1, 2]), ["dense<[1, 2]>", "nn.split", "tensor<2x1xf32>, tensor<2x2xf32>"],
     outputs=[value("y", None), value("z", None)], opset=11)
case("split-18", node("Split", "x", "y z", axis=1, num_outputs=2), ["(tensor<2x2xf32>, tensor<2x1xf32>)"],
     outputs=[value("y", None), value("z", None)])
case("slice-9", node("Slice", "x", "y", starts=[1], ends=[9], axes=[-1]), ["dense<1>", "nn.slice", "tensor<2x2xf32>"], opset=9)
case("slice-axes-negative", node("Slice", "x a b c", "y"), ["dense<1>", "nn.slice", "tensor<2x2xf32>"],
     init=[ints("a", 1), ints("b", 3), ints("c", -1)])
case("pad-2", node("Pad", "x", "y", pads=[0, 1, 0, 1], value=2.0), ["dense<2.0", "nn.pad", "tensor<2x5xf32>"], opset=10)
case("pad-18-axes", absent("Pad", "x p - a", "y", mode="reflect"), ["nn.pad", "reflect", "tensor<2x5xf32>"],
     init=[ints("p", 1, 1), ints("a", -1)])
case("slice-any-length", node("Slice", "x a b c", "y"), ["nn.scatter_elements", "nn.slice"],
     [value("x"), value("a", ["k"], I64), value("b", ["k"], I64), value("c", ["k"], I64)])
case("pad-any-length", node("Pad", "x p", "y"), ["nn.pad", "tensor<4xi64>", "nn.pad", "tensor<?x?xf32>"], [value("x"), value("p", ["k"], I64)])
case("expand-declared-rank", node("Expand", "x s", "y"), ["tensor<3xi64>", "nn.expand", "tensor<?x2x3xf32>"],
     [value("x"), value("s", ["k"], I64)], [value("y", [None, None, None])])
case("reduce-declared-rank", node("ReduceSum", "x a", "y", keepdims=0), ["nn.reduce", "nn.reshape", "tensor<?xf32>"],
     [value("x"), value("a", ["k"], I64)], [value("y", [None])])
case("gather-nd-declared-rank", node("GatherND", "x i", "y"), ["nn.pad", "nn.gather_nd", "-> tensor<?x3xf32>"],
     [value("x"), value("i", ["n", "k"], I64)], [value("y", [None, None])])
case("eye-like-dynamic", node("EyeLike", "x", "y", k=-1), ["nn.equal", "nn.cast"], [value("x", ["n", "m"])])
case("shape-range", node("Shape", "x", "y", start=-2, end=9), ["nn.shape", "start = 1", "tensor<2xi64>"],
     [value("x", [2, 3, 4])], [value("y", None, I64)])
case("constant-of-shape-default", node("ConstantOfShape", "s", "y"), ["dense<0.000000e+00> : tensor<1xf32>", "tensor<2x3xf32>"],
     [], init=[ints("s", 2, 3)])
case("eye-like", node("EyeLike", "x", "y", k=1), ["nn.constant", "[0.000000e+00, 1.000000e+00, 0.000000e+00]"])
case("eye-like-unknown", node("EyeLike", "x", "y", k=1), ["nn.shape", "nn.range", "nn.add", "nn.equal", "nn.cast", "-> tensor<?x3xf32>", "!nn.constant_of_shape"],
     [value("x", ["n", 3])], [value("y", None)])
case("dropout-mask", node("Dropout", "x", "y m"), ["nn.shape", "nn.constant_of_shape", "dense<true>", "return %arg0"],
     outputs=[value("y", None), value("m", None, BOOL)])
case("constant-floats", node("Constant", "", "y", value_floats=[1.0, 2.0]), ["dense<[1.000000e+00, 2.000000e+00]> : tensor<2xf32>"], [])
case("constant-int", node("Constant", "", "y", value_int=7), ["dense<7> : tensor<i64>"], [], [value("y", None, I64)])
case("trilu", node("Trilu", "x k", "y", upper=0), ["nn.trilu", "!upper"], init=[tensor("k", np.int64(0))])

# --------------------------------------------------------------------- indexing
case("gather-negative", node("Gather", "x i", "y", axis=-1), ["axis = 1", "tensor<2x2xf32>"], init=[ints("i", 0, 1)])
case("scatter-9", node("Scatter", "x i x", "y", axis=1), ["nn.scatter_elements", "reduction = #nn.scatter_reduction<none>"],
     init=[tensor("i", np.zeros((2, 3), np.int64))], opset=9)
case("one-hot", node("OneHot", "i d v", "y"), ["nn.one_hot", "axis = 1", "tensor<2x5xf32>"], [value("i", [2], I64)],
     init=[ints("d", 5), tensor("v", np.array([0, 1], np.float32))])
case("topk-1", node("TopK", "x", "y i", k=2), ["dense<2>", "nn.topk", "axis = 1", "largest", "tensor<2x2xf32>"], opset=9)
case("compress", node("Compress", "x c", "y", axis=1), ["nn.non_zero", "nn.squeeze", "nn.gather", "tensor<2x?xf32>"],
     [value("x"), value("c", [3], BOOL)])

# --------------------------------------------------------------------- sampling, signals
case("swiglu", node("SwiGLU", "x x", "y"), ["nn.silu", "nn.mul"], opset=28)
case("bit-cast", node("BitCast", "x", "y", to=TensorProto.INT32), ["nn.bit_cast", "to = i32"],
     outputs=[value("y", None, TensorProto.INT32)], opset=26)
case("bit-cast-bool", node("BitCast", "x", "y", to=BOOL), ["nn.cast", "to = i1", "!nn.bit_cast"],
     [value("x", type=TensorProto.UINT8)], [value("y", None, BOOL)], opset=26)
case("center-crop-pad", node("CenterCropPad", "x s", "y", axes=[-1]), ["nn.pad", "-> tensor<?x5xf32>"], [value("x", ["n", "m"])],
     init=[ints("s", 5)])
case("grid-sample-16", node("GridSample", "x g", "y", mode="bicubic"), ["nn.grid_sample", "mode = #nn.resize_mode<cubic>"],
     [value("x", [1, 2, 4, 4]), value("g", [1, 3, 3, 2])], opset=16)
case("roi-align-10", node("RoiAlign", "x r b", "y"), ["nn.roi_align", "!half_pixel"],
     [value("x", [1, 2, 4, 4]), value("r", [2, 4]), value("b", [2], I64)], opset=10)
case("roi-align-16", node("RoiAlign", "x r b", "y"), ["nn.roi_align", "half_pixel"],
     [value("x", [1, 2, 4, 4]), value("r", [2, 4]), value("b", [2], I64)], opset=16)
case("affine-grid", node("AffineGrid", "t s", "y"), ["nn.range", "nn.mul", "-> tensor<?x5x6x2xf32>"], [value("t", ["n", 2, 3])],
     init=[ints("s", 1, 3, 5, 6)], opset=20)
case("deform-conv-groups", node("DeformConv", "x w o", "y", group=2), ["nn.deform_sample", "nn.reshape", "nn.matmul", "-> tensor<?x6x3x3xf32>"],
     [value("x", ["n", 4, 4, 4]), value("o", ["n", 8, 3, 3])], init=[f32("w", 6, 2, 2, 2)], opset=19)
case("dft-17", node("DFT", "x", "y", axis=-2, onesided=1), ["dense<1>", "nn.dft", "onesided", "-> tensor<2x5x2xf32>"], [value("x", [2, 8, 1])],
     opset=17)
case("stft", absent("STFT", "x s w", "y"), ["nn.gather", "nn.mul", "nn.dft", "-> tensor<?x13x5x2xf32>"], [value("x", ["b", 32, 1])],
     init=[tensor("s", np.int64(2)), f32("w", 8)])
case("hann-window", node("HannWindow", "n", "y"), ["nn.cos", "-> tensor<7xf32>"], [], init=[tensor("n", np.int64(7))])
case("lp-pool", node("LpPool", "x", "y", kernel_shape=[2, 2], p=3), ["nn.lp_pool", "p = 3", "tensor<1x4x7x8xf32>"], [value("x", [1, 4, 8, 9])])
case("max-unpool", node("MaxUnpool", "x i", "y", kernel_shape=[2, 2], strides=[2, 2]), ["nn.max_unpool", "tensor<1x4x16x18xf32>", "!nn.pad"],
     [value("x", [1, 4, 8, 9]), value("i", [1, 4, 8, 9], I64)])
case("resize-aspect", absent("Resize", "x - - s", "y", axes=[2, 3], keep_aspect_ratio_policy="not_larger"),
     ["dense<[1, 2, 8, 10]>", "dense<[1.000000e+00, 1.000000e+00, 2.000000e+00, 2.000000e+00]>", "nn.resize", "tensor<1x2x8x10xf32>"],
     [value("x", [1, 2, 4, 5])], init=[ints("s", 8, 20)])
case("resize-roi-axes", absent("Resize", "x r - s", "y", axes=[3, 2], coordinate_transformation_mode="tf_crop_and_resize"),
     ["nn.resize", "tf_crop_and_resize", "tensor<1x2x9x7xf32>"],
     [value("x", [1, 2, 4, 5])], init=[tensor("r", np.array([0.1, 0.2, 0.9, 0.8], np.float32)), ints("s", 7, 9)])
case("upsample-both", node("Upsample", "x", "y", scales=[1.0, 1.0, 2.0, 0.5]), ["nn.resize", "nearest_mode<floor>", "nn.resize", "nearest_mode<ceil>"],
     [value("x", [1, 2, 4, 4])], opset=7)

# --------------------------------------------------------------------- windows
IMAGE = [value("x", [1, 4, 8, 9])]
case("conv-same-upper", node("Conv", "x w", "y", auto_pad="SAME_UPPER", strides=[2, 2]),
     ["pads = array<i64: 0, 1, 1, 1>", "tensor<1x8x4x5xf32>"], IMAGE, init=[f32("w", 8, 4, 3, 3)])
case("conv-same-lower", node("Conv", "x w", "y", auto_pad="SAME_LOWER", strides=[2, 2]),
     ["pads = array<i64: 1, 1, 0, 1>"], IMAGE, init=[f32("w", 8, 4, 3, 3)])
case("conv-same-dynamic", node("Conv", "x w", "y", auto_pad="SAME_UPPER"), ["pads = array<i64: 1, 1, 1, 1>", "tensor<1x8x?x?xf32>"],
     [value("x", [1, 4, "h", "w"])], init=[f32("w", 8, 4, 3, 3)])
case("conv-1d-bias", node("Conv", "x w b", "y", group=2, dilations=[2]), ["bias", "dilations = array<i64: 2>", "group = 2", "tensor<1x6x4xf32>"],
     [value("x", [1, 4, 8])], init=[f32("w", 6, 2, 3), f32("b", 6)])
case("conv-transpose-output-shape", node("ConvTranspose", "x w", "y", strides=[2, 2], output_shape=[16, 18]),
     ["pads = array<i64: 1, 1, 0, 0>", "tensor<1x2x16x18xf32>"], IMAGE, init=[f32("w", 4, 2, 3, 3)])
case("conv-transpose-same-dynamic", node("ConvTranspose", "x w", "y", strides=[2, 2], auto_pad="SAME_UPPER"),
     ["pads = array<i64: 0, 0, 1, 1>", "tensor<1x2x?x?xf32>"], [value("x", [1, 4, "h", "w"])], init=[f32("w", 4, 2, 3, 3)])
DYNAMIC_IMAGE = [value("x", ["b", "c", "h", "w"])]
case("max-pool-same-dynamic", node("MaxPool", "x", "y", kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER"),
     ["nn.constant dense<0xFF800000>", "nn.pad", "nn.max_pool", "pads = array<i64: 0, 0, 0, 0>"], DYNAMIC_IMAGE)
case("average-pool-same-dynamic", node("AveragePool", "x", "y", kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_LOWER"),
     ["nn.avg_pool", "nn.avg_pool", "nn.div"], DYNAMIC_IMAGE)
case("conv-same-dynamic", node("Conv", "x w", "y", strides=[2, 2], auto_pad="SAME_UPPER"), ["nn.pad", "nn.conv"], DYNAMIC_IMAGE,
     init=[f32("w", 2, 3, 3, 3)])
case("conv-any-kernel", node("Conv", "x w", "y", pads=[1, 1, 1, 1]), ["nn.pad", "nn.gather", "nn.gather", "nn.matmul", "!nn.conv"],
     DYNAMIC_IMAGE + [value("w", ["m", "c", "k", "l"])])
case("conv-transpose-any-kernel", node("ConvTranspose", "x w", "y", strides=[2, 1]), ["nn.gather", "nn.gather", "nn.matmul"],
     DYNAMIC_IMAGE + [value("w", ["c", "m", "k", "l"])])
case("max-pool-ceil", node("MaxPool", "x", "y", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1), ["ceil_mode", "tensor<1x4x4x5xf32>"], IMAGE)
case("max-pool-indices", node("MaxPool", "x", "y i", kernel_shape=[2, 2]), ["(tensor<1x4x7x8xf32>, tensor<1x4x7x8xi64>)"], IMAGE,
     [value("y", None), value("i", None, I64)])
case("average-pool", node("AveragePool", "x", "y", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1), ["nn.avg_pool", "count_include_pad"], IMAGE)
case("global-average-pool", node("GlobalAveragePool", "x", "y"), ["nn.reduce", "axes = array<i64: 2, 3>", "keep_dims = true", "kind = #nn.reduce_kind<mean>"], IMAGE)

# --------------------------------------------------------------------- contractions
case("gemm-bias", node("Gemm", "x w b", "y", transB=1), ["nn.matmul", "bias", "transpose_b", "!nn.add"], init=[f32("w", 4, 3), f32("b", 4)])
case("gemm-bias-row", node("Gemm", "x w b", "y", transB=1), ["nn.squeeze", "nn.matmul", "bias", "!nn.add"], init=[f32("w", 4, 3), f32("b", 1, 4)])
case("gemm-matrix", node("Gemm", "x w b", "y"), ["nn.matmul", "nn.add", "!bias"], init=[f32("w", 3, 4), f32("b", 2, 4)])
case("gemm-scalar", node("Gemm", "x w b", "y"), ["nn.matmul", "nn.add", "!bias"], init=[f32("w", 3, 4), f32("b", 1)])
case("gemm-alpha", node("Gemm", "x w b", "y", alpha=.5, beta=2.0), ["nn.mul", "nn.matmul", "nn.mul", "nn.add"], init=[f32("w", 3, 4), f32("b", 4)])
case("gemm-beta-0", node("Gemm", "x w b", "y", beta=0.0), ["nn.matmul", "!nn.add", "!bias"], init=[f32("w", 3, 4), f32("b", 4)])
case("matmul-batched", node("MatMul", "x z", "y"), ["tensor<5x2x4xf32>"], [value("x", [2, 3]), value("z", [5, 3, 4])])
case("einsum-implicit", node("Einsum", "x z", "y", equation="bij, bjk"), ['equation = "bij,bjk->ik"'], [value("x", [2, 3, 4]), value("z", [2, 4, 5])])
case("einsum-ellipsis", node("Einsum", "x z", "y", equation="...ij,...jk->...ik"), ['equation = "ABij,ABjk->ABik"'],
     [value("x", [2, 5, 3, 4]), value("z", [2, 5, 4, 5])])

# --------------------------------------------------------------------- normalization, reduction
case("softmax-11", node("Softmax", "x", "y", axis=1), ["nn.flatten", "axis = 1", "tensor<2x12xf32>", "nn.softmax", "nn.reshape"], [value("x", [2, 3, 4])], opset=11)
case("softmax-11-last", node("Softmax", "x", "y", axis=-1), ["nn.softmax", "axis = 2", "!nn.flatten"], [value("x", [2, 3, 4])], opset=11)
case("softmax-13", node("LogSoftmax", "x", "y", axis=1), ["nn.softmax", "axis = 1", "log", "!nn.flatten"], [value("x", [2, 3, 4])])
case("hardmax", node("Hardmax", "x", "y"), ["nn.arg_reduce", "nn.one_hot"])
case("batch-norm-mixed", node("BatchNormalization", "x s s m m", "y"), ["nn.cast", "nn.batch_norm", "-> tensor<1x4x8x9xf16>"],
     [value("x", [1, 4, 8, 9], TensorProto.FLOAT16)], [value("y", None, TensorProto.FLOAT16)], [f32("s", 4), f32("m", 4)])
case("instance-norm", node("InstanceNormalization", "x s s", "y"), ["nn.group_norm", "num_groups = 4"], IMAGE, init=[f32("s", 4)])
case("group-norm-18", node("GroupNormalization", "x s s", "y", num_groups=2), ["nn.expand", "nn.group_norm", "num_groups = 2"], IMAGE, init=[f32("s", 2)])
case("group-norm-21", node("GroupNormalization", "x s s", "y", num_groups=2), ["nn.group_norm", "!nn.expand"], IMAGE, init=[f32("s", 4)], opset=21)
case("layer-norm-statistics", node("LayerNormalization", "x s", "y m v"), ["nn.layer_norm", "nn.reduce", "nn.reduce", "nn.sqrt", "nn.reciprocal"],
     outputs=[value(n, None) for n in "ymv"], init=[f32("s", 3)])
case("layer-norm", node("LayerNormalization", "x s", "y"), ["nn.layer_norm", "axis = 1", "!nn.reduce"], init=[f32("s", 3)])
case("rms-norm", node("RMSNormalization", "x s", "y"), ["nn.rms_norm", "axis = 1"], init=[f32("s", 3)], opset=23)
case("reduce-sum-11", node("ReduceSum", "x", "y", axes=[-1], keepdims=0), ["axes = array<i64: 1>", "keep_dims = false", "tensor<2xf32>"], opset=11)
case("reduce-sum-13", node("ReduceSum", "x a", "y"), ["axes = array<i64: 0, 1>", "tensor<1x1xf32>"], init=[ints("a", 1, 0)])
case("reduce-noop", node("ReduceSum", "x", "y", noop_with_empty_axes=1), ["return %arg0"])
case("reduce-square-noop", node("ReduceSumSquare", "x", "y", noop_with_empty_axes=1), ["nn.reduce", "sum_square", "-> tensor<2x3xf32>"])
case("reduce-all", node("ReduceMax", "x", "y", keepdims=0), ["axes = array<i64: 0, 1>", "tensor<f32>"])
case("reduce-dynamic-axes", node("ReduceSum", "x a", "y"), ["nn.reduce %arg0, %arg1", "tensor<?x?xf32>"], [value("x"), value("a", [1], I64)])
case("argmax", node("ArgMax", "x", "y", axis=-1, keepdims=0, select_last_index=1), ["axis = 1", "max", "select_last"], outputs=[value("y", None, I64)])
case("cumsum", node("CumSum", "x a", "y", reverse=1), ["dense<1> : tensor<i64>", "nn.cum_sum", "reverse"], init=[tensor("a", np.int32(-1))])

# --------------------------------------------------------------------- resize
case("upsample-9", node("Upsample", "x s", "y"), ["asymmetric", "nearest_mode<floor>", "tensor<1x4x16x18xf32>"], IMAGE,
     init=[tensor("s", np.array([1, 1, 2, 2], np.float32))], opset=9)
case("upsample-7", node("Upsample", "x", "y", scales=[1.0, 1.0, 2.0, 2.0], mode="bilinear"), ["resize_mode<linear>", "tensor<1x4x16x18xf32>"], IMAGE, opset=7)
case("resize-10-down", node("Resize", "x s", "y"), ["nearest_mode<ceil>", "tensor<1x4x4x4xf32>"], IMAGE,
     init=[tensor("s", np.array([1, 1, .5, .5], np.float32))], opset=10)
case("resize-sizes", absent("Resize", "x - - z", "y", mode="cubic", coordinate_transformation_mode="align_corners"),
     ["nn.resize", "align_corners", "cubic", "tensor<1x4x5x6xf32>"], IMAGE, init=[ints("z", 1, 4, 5, 6)])
case("resize-axes-scales", absent("Resize", "x - s", "y", axes=[-1, 2]), ["dense<[1.000000e+00, 1.000000e+00, 3.000000e+00, 2.000000e+00]>", "tensor<1x4x24x18xf32>"],
     IMAGE, init=[tensor("s", np.array([2, 3], np.float32))])
case("resize-axes-sizes", absent("Resize", "x - - z", "y", axes=[3, 2]), ["nn.concat", "nn.resize", "tensor<1x4x6x5xf32>"], IMAGE, init=[ints("z", 5, 6)])
case("resize-empty-scales", node("Resize", "x r s z", "y"), ["tensor<1x4x5x6xf32>"], IMAGE, init=[f32("r", 0), f32("s", 0), ints("z", 1, 4, 5, 6)])

# --------------------------------------------------------------------- recurrent, attention
RNN = [f32("w", 1, 16, 3), f32("r", 1, 16, 4)]
case("lstm", node("LSTM", "x w r", "y h c", hidden_size=4), ["nn.lstm", 'activations = ["sigmoid", "tanh", "tanh"]', "tensor<5x1x2x4xf32>, tensor<1x2x4xf32>, tensor<1x2x4xf32>"],
     [value("x", [5, 2, 3])], [value(n, None) for n in "yhc"], RNN)
case("lstm-activation-parameters", node("LSTM", "x w r", "y h c", activations=["HardSigmoid", "Tanh", "LeakyRelu"], activation_alpha=[.25]),
     ['activations = ["hardsigmoid:0.25:0.5", "tanh", "leakyrelu:0.00999999978"]'],
     [value("x", [5, 2, 3])], [value(n, None) for n in "yhc"], RNN)
case("lstm-absent", absent("LSTM", "x w r - - h0", "- h"), ["nn.lstm", "return"],
     [value("x", [5, 2, 3]), value("h0", [1, 2, 4])], [value("h", None)], RNN)
case("lstm-batch-first", node("LSTM", "x w r", "y h", layout=1), ["perm = array<i64: 1, 0, 2>", "nn.lstm", "perm = array<i64: 2, 0, 1, 3>", "tensor<2x5x1x4xf32>", "perm = array<i64: 1, 0, 2>"],
     [value("x", [2, 5, 3])], [value("y", None), value("h", None)], RNN)
case("rnn-default-activations", node("RNN", "x w r", "y"), ['activations = ["tanh"]'], [value("x", [5, 2, 3])], init=[f32("w", 1, 4, 3), f32("r", 1, 4, 4)])
case("gru-bidirectional", node("GRU", "x w r", "y", direction="bidirectional", linear_before_reset=1), ["bidirectional", "linear_before_reset", "tensor<5x2x2x4xf32>"],
     [value("x", [5, 2, 3])], init=[f32("w", 2, 12, 3), f32("r", 2, 12, 4)])
case("attention-4d", node("Attention", "q k v", "y", is_causal=1), ["nn.attention", "causal", "scale = 2.500000e-01", "!causal_from_end"],
     [value("q", [1, 2, 5, 16]), value("k", [1, 2, 7, 16]), value("v", [1, 2, 7, 16])], opset=23)
case("attention-3d-past", absent("Attention", "q k v - pk pv", "y nk nv", q_num_heads=4, kv_num_heads=2, is_causal=1),
     ["nn.reshape", "nn.transpose", "nn.concat", "nn.attention", "causal_from_end", "nn.transpose", "nn.reshape", "tensor<1x?x32xf32>"],
     [value("q", [1, "s", 32]), value("k", [1, "s", 16]), value("v", [1, "s", 16]), value("pk", [1, 2, "p", 8]), value("pv", [1, 2, "p", 8])],
     [value(n, None) for n in ("y", "nk", "nv")], opset=23)
case("attention-short-mask", node("Attention", "q k k m", "y"), ["nn.pad", "nn.attention"],
     [value("q", [1, 2, 5, 16]), value("k", [1, 2, 7, 16]), value("m", [5, 6], BOOL)], opset=24)
case("attention-window", node("Attention", "q k k", "y", left_window_size=2, is_causal=1),
     ["nn.greater_or_equal", "nn.attention", "causal", "!nn.less_or_equal"], [value("q", [1, 2, 5, 16]), value("k", [1, 2, 5, 16])], opset=25)
case("attention-lengths", absent("Attention", "q k k - - - l", "y", is_causal=1), ["nn.less_or_equal", "nn.less", "nn.logical_and", "nn.attention", "!causal"],
     [value("q", [2, 2, 5, 16]), value("k", [2, 2, 7, 16]), value("l", [2], I64)], opset=24)
case("attention-scores", absent("Attention", "q k k", "y - - s", qk_matmul_output_mode=3), ["!nn.attention", "nn.matmul", "nn.softmax", "nn.matmul"],
     [value("q", [1, 2, 5, 16]), value("k", [1, 2, 5, 16])], [value("y", None), value("s", None)], opset=23)
case("rotary", node("RotaryEmbedding", "x c s", "y", num_heads=2, interleaved=1), ["nn.slice", "nn.mul", "nn.sub", "nn.concat", "-> tensor<1x5x16xf32>"],
     [value("x", [1, 5, 16]), value("c", [1, 5, 4]), value("s", [1, 5, 4])], opset=23)

# --------------------------------------------------------------------- random numbers, training
case("random-streams", [node("RandomNormal", "", "a", shape=[4]), node("RandomNormal", "", "b", shape=[4], mean=2.0)],
     ["nn.random_key {stream = 0", "nn.random", "normal", "nn.random_key {stream = 1", "nn.random", "nn.add"], [], [value("a", None), value("b", None)])
case("random-seed", node("RandomUniformLike", "x", "y", seed=1.0, low=-1.0, dtype=TensorProto.FLOAT16),
     ["!nn.random_key", "nn.constant dense<[4607182418800017408, -1]>", "nn.random", "uniform", "nn.mul", "nn.add", "nn.cast"],
     outputs=[value("y", None, TensorProto.FLOAT16)])
case("dropout-training", absent("Dropout", "x - t", "y", seed=3), ["nn.random", "nn.greater_or_equal", "nn.where", "!nn.random_key"],
     [value("x"), value("t", [], BOOL)])
case("dropout-ratio-0", node("Dropout", "x r t", "y"), ["return %arg0", "!nn.random"], [value("x"), value("t", [], BOOL)], init=[tensor("r", np.float32(0))])
case("batch-norm-training", node("BatchNormalization", "x s s s s", "y m v", training_mode=1, momentum=0.5),
     ["nn.reduce", "mean", "nn.reduce", "nn.batch_norm", "nn.mul", "nn.add"], IMAGE, [value(n, None) for n in "ymv"], [f32("s", 4)])
case("not-1", node("Not", "x", "y"), ["nn.logical_not"], [value("x", type=BOOL)], [value("y", None, BOOL)], opset=1)

# --------------------------------------------------------------------- control flow
case("if-one-element", node("If", "c", "y", then_branch=graph([node("Identity", "s", "t")], [], [value("t", None)]),
                            else_branch=graph([node("Identity", "v", "e")], [], [value("e", None)])),
     ["nn.if", "nn.unsqueeze", "nn.yield", "nn.yield", "tensor<1xf32>"], [value("s", []), value("v", [1]), value("c", [], BOOL)])
THEN, ELSE = graph([node("Relu", "x", "t")], [], [value("t", None)]), graph([node("Neg", "x", "e")], [], [value("e", None)])
case("if", node("If", "c", "y", then_branch=THEN, else_branch=ELSE), ["nn.if %arg1", "nn.relu", "nn.yield", "else", "nn.neg", "nn.yield"],
     [value("x"), value("c", [], BOOL)])
case("if-known", [node("Shape", "x", "s"), node("Size", "s", "r"), node("Equal", "r two", "c"), node("If", "c", "y", then_branch=THEN, else_branch=ELSE)],
     ["nn.relu", "!nn.if", "!nn.neg"], init=[tensor("two", np.int64(2))])
BODY = graph([node("Identity", "c", "d"), node("Concat", "a x", "b", axis=0), node("ReduceSum", "a", "s", keepdims=0)],
             [value("i", [], I64), value("c", [], BOOL), value("a")], [value("d", [], BOOL), value("b", None), value("s", None)])
case("loop-growing", node("Loop", "n t x", "y z", body=BODY), ["nn.loop trip", "^bb0(%arg1: tensor<i64>, %arg2: tensor<i1>, %arg3: tensor<?x3xf32>)", "nn.concat"],
     outputs=[value("y", None), value("z", None)], init=[tensor("n", np.int64(3)), tensor("t", np.array(True))])
case("scan", node("Scan", "i x", "y z", num_scan_inputs=1, scan_input_directions=[1], scan_output_axes=[1],
                  body=graph([node("Add", "a b", "c"), node("Identity", "c", "d")], [value("a", [3]), value("b", [3])], [value("c", [3]), value("d", [3])])),
     ["nn.slice", "nn.shape", "nn.loop trip", "nn.gather", "nn.add", "nn.transpose", "tensor<3x2xf32>"],
     [value("i", [3]), value("x")], [value("y", None), value("z", None)])

# --------------------------------------------------------------------- strings, sequences, optionals
STR = TensorProto.STRING
case("strings-move-as-positions", node("Gather", "x i", "y", axis=0),
     ["nn.range", "nn.gather", "tensor<2xi64>", "nn.string_take %arg0"], [value("x", ["n"], STR)], [value("y", None, STR)], [ints("i", 1, 0)])
case("strings-of-two", node("Concat", "x z", "y", axis=0), ["nn.string_pool %arg0, %arg1", "nn.concat", "nn.string_take"],
     [value("x", [2], STR), value("z", ["n"], STR)], [value("y", None, STR)])
case("string-constant", node("Constant", "", "y", value_strings=["a", "b"]), ['nn.constant dense<["a", "b"]> : tensor<2x!nn.string>'],
     [], [value("y", None, STR)])
case("string-shape", node("Shape", "x", "y"), ["nn.shape", "!string_take"], [value("x", ["n"], STR)], [value("y", None, I64)])
case("string-to-half", node("Cast", "x", "y", to=TensorProto.FLOAT16), ["nn.string_to_number", "to = f32", "nn.cast", "to = f16"],
     [value("x", [2], STR)], [value("y", None, TensorProto.FLOAT16)])
case("sequence-at", [node("SequenceConstruct", "x z", "s"), node("SequenceAt", "s i", "y")], ["return %arg1", "!nn.sequence_at"],
     [value("x"), value("z")], init=[tensor("i", np.int64(-1))])
case("sequence-concat", [node("SequenceConstruct", "x z", "s"), node("SequenceInsert", "s x i", "t"),
                         node("ConcatFromSequence", "t", "y", axis=1)], ["nn.concat %arg0, %arg0, %arg1", "axis = 1", "!concat_from"],
     [value("x"), value("z")], init=[tensor("i", np.int64(0))])
case("sequence-split", [node("SplitToSequence", "x", "s", axis=1, keepdims=0), node("SequenceAt", "s i", "y")],
     ["nn.split", "nn.squeeze", "!nn.split_to_sequence"], init=[tensor("i", np.int64(1))])
case("sequence-length", [node("SequenceConstruct", "x x", "s"), node("SequenceLength", "s", "y")], ["dense<2>", "!sequence_length"],
     outputs=[value("y", None, I64)])
case("sequence-input", node("SequenceLength", "x", "y"), ["%arg0: !nn.sequence<tensor<2x?xf32>>", "nn.sequence_length"],
     [helper.make_tensor_sequence_value_info("x", F, [2, "n"])], [value("y", None, I64)])
case("optional-of-tensor", [node("Optional", "x", "o"), node("OptionalGetElement", "o", "z"), node("Relu", "z", "y")],
     ["nn.relu %arg0", "!nn.optional_get"])
case("optional-has", [node("Optional", "x", "o"), node("OptionalHasElement", "o", "y")], ["dense<true>", "!nn.optional_has"],
     outputs=[value("y", None, BOOL)])
case("has-of-tensor", node("OptionalHasElement", "x", "y"), ["dense<true>"], outputs=[value("y", None, BOOL)])

# --------------------------------------------------------------------- functions, names, dimensions
SCALED = function("Scaled", [onnx.NodeProto(op_type="LeakyRelu", input=["a"], output=["h"], attribute=[
    onnx.AttributeProto(name="alpha", ref_attr_name="slope", type=onnx.AttributeProto.FLOAT)]), node("Add", "h h", "r")], attributes=["slope"])
case("function-attribute", call("Scaled", slope=.25), ["alpha = 2.500000e-01", "nn.add"], functions=[SCALED], imports=LOCAL)
case("function-default", call("Scaled"), ["alpha = 0.009999"], functions=[SCALED], imports=LOCAL)
case("function-absent-input", call("Pick", "x"), ["return %arg0"],
     functions=[function("Pick", [node("Clip", "a lo hi", "r")], ("a", "lo", "hi"))], imports=LOCAL)
case("initializer-is-input", node("Add", "x w", "y"), ["@main(%arg0: tensor<2x3xf32>", "nn.constant", "!%arg1"], [value("x"), value("w", [3])], init=[f32("w", 3)])
case("input-names", node("Relu", "x", "y"), ['nn.dims = ["batch", 3, "x[2]"], nn.name = "x"', '{nn.name = "y"}'], [value("x", ["batch", 3, None])])
case("module-attributes", node("Relu", "x", "y"), ["nn.ir_version = 9", "nn.opset = 18"])
case("dead-code", [node("Relu", "x", "y"), node("NonMaxSuppression", "x x", "z")], ["nn.relu", "!builtin.unrealized"])
case("unused-initializer", node("Relu", "x", "y"), ["!nn.constant"], init=[f32("w", 3)])


def check(expected, text):
    """The first expectation that does not hold, or None."""
    at = 0
    for item in expected:
        if item.startswith("!"):
            if item[1:] in text:
                return f"'{item[1:]}' appears"
            continue
        found = text.find(item, at)
        if found < 0:
            return f"'{item}' is missing" + (" after what came before it" if item in text else "")
        at = found + len(item)
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--filter", default="")
    parser.add_argument("-v", "--verbose", action="store_true")
    options = parser.parse_args()
    passed = failed = 0
    with tempfile.TemporaryDirectory(prefix="nnopt-import-") as folder:
        for name, build, expected in CASES:
            if options.filter not in name:
                continue
            path = os.path.join(folder, name + ".onnx")
            onnx.save(build(), path)
            done = subprocess.run([OPT, path], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
            problem = f"exit {done.returncode}: {done.stderr.strip()}" if done.returncode else check(expected, done.stdout)
            if options.verbose:
                print(f"---- {name}\n{done.stdout}")
            if problem:
                failed += 1
                print(f"FAILED {name}: {problem}")
            else:
                passed += 1
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed or not passed else 0)


if __name__ == "__main__":
    main()
