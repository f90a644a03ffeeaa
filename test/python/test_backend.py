"""nnopt.backend is a backend as ONNX defines them. The whole suite runs in test/conformance; here, some of it
through this interface."""
import numpy as np
import onnx
import pytest
from onnx.backend.test import BackendTest

import nnopt
import nnopt.backend

backend_test = BackendTest(nnopt.backend, __name__)
backend_test.include(r"test_(add|relu|gemm_all_attributes|conv_with_strides_padding|nonzero_example|lstm_defaults|"
                     r"split_equal_parts_1d_opset18|loop11|where_example|cast_FLOAT_to_BFLOAT16)_cpu")
globals().update(backend_test.test_cases)


def test_run_node():
    node = onnx.helper.make_node("Concat", ["a", "b"], ["c"], axis=0)
    (c,) = nnopt.backend.run_node(node, [np.float32([1, 2]), np.float32([3])])
    assert c.tolist() == [1, 2, 3]


def test_what_is_unsupported_is_not_compatible():
    graph = onnx.helper.make_graph([onnx.helper.make_node("Whirl", ["x"], ["y"], domain="com.example")], "g",
                                   [onnx.helper.make_tensor_value_info("x", 1, [2])],
                                   [onnx.helper.make_tensor_value_info("y", 1, [2])])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("com.example", 1)], ir_version=8)
    assert not nnopt.backend.is_compatible(model)
    with pytest.raises(nnopt.Error) as error:
        nnopt.backend.run_model(model, [np.zeros(2, np.float32)])
    assert error.value.code == 4


def test_devices():
    assert nnopt.backend.supports_device("CPU") and not nnopt.backend.supports_device("CUDA")
