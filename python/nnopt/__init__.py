"""nnopt: compiles ONNX models to native code, and runs them.

    import nnopt
    model = nnopt.compile("resnet50.onnx", "resnet50.so", dim={"batch": 1})
    scores = model.run({"input": image})["output"]

    model = nnopt.load("resnet50.so")     # later, without compiling
"""
from ._compile import check, compile, tool
from ._error import Error
from ._model import Model, Session, TensorInfo, load
from ._runtime import default_threads, host_cpu

__all__ = ["Error", "Model", "Session", "TensorInfo", "check", "compile", "default_threads", "host_cpu", "load", "tool"]
