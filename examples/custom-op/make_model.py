#!/usr/bin/env python3
"""Writes a model that uses com.example.ClampedCube, its input and what it must give.

    make_model.py MODEL.onnx IN.npz [EXPECTED.npz]
"""
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper

nodes = [helper.make_node("Relu", ["x"], ["r"], name="relu"),
         helper.make_node("Sub", ["x", "r"], ["negative"], name="sub"),
         helper.make_node("ClampedCube", ["negative"], ["c"], name="cube", domain="com.example", limit=2.0),
         helper.make_node("Add", ["c", "x"], ["y"], name="add")]
graph = helper.make_graph(nodes, "custom", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 5])],
                          [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 5])])
opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)]
onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), sys.argv[1])
x = np.linspace(-2, 2, 15, dtype=np.float32).reshape(3, 5)
np.savez(sys.argv[2], x=x)
if len(sys.argv) > 3:
    np.savez(sys.argv[3], y=np.clip(np.minimum(x, 0) ** 3, -2, 2) + x)
