"""Models of 32-bit floats as models of 16-bit ones, as exporters make them of a network in half precision."""
import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16
# Inputs that stay 32-bit floats by the operator's definition, and attributes that name an element type.
KEPT = {"Resize": (1, 2), "Upsample": (1,)}
TYPE_ATTRIBUTES = {"Cast": "to", "RandomNormal": "dtype", "RandomUniform": "dtype", "EyeLike": "dtype"}


def _half(tensor):
    """The tensor in 16 bits. What is beyond them, as masks of -3.4e38 are, becomes the largest number there is."""
    array = numpy_helper.to_array(tensor)
    limit = np.float32(np.finfo(np.float16).max)
    narrow = np.where(np.isinf(array), array, np.clip(array, -limit, limit)).astype(np.float16)
    return numpy_helper.from_array(narrow, tensor.name)


def _convert(graph):
    kept = {name for node in graph.node for i, name in enumerate(node.input) if i in KEPT.get(node.op_type, ())}
    for tensor in graph.initializer:
        if tensor.data_type == FLOAT and tensor.name not in kept:
            tensor.CopyFrom(_half(tensor))
    for value in (*graph.input, *graph.output):
        if value.type.tensor_type.elem_type == FLOAT:
            value.type.tensor_type.elem_type = HALF
    del graph.value_info[:]
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                _convert(attribute.g)
            elif attribute.type == onnx.AttributeProto.TENSOR and attribute.t.data_type == FLOAT and not kept & set(node.output):
                attribute.t.CopyFrom(_half(attribute.t))
            elif attribute.name == TYPE_ATTRIBUTES.get(node.op_type) and attribute.i == FLOAT:
                attribute.i = HALF


def to_half(model):
    """Makes weights, inputs, outputs and all between of 16 bits, in place. `model` has its external data loaded."""
    _convert(model.graph)
    return model


def half_feeds(feeds):
    return {name: v.astype(np.float16) if v.dtype == np.float32 else v for name, v in feeds.items()}
