#!/usr/bin/env python3
"""Time of feed-forward networks that --moe turned into mixtures of experts, beside the dense ones.

    moe.py [--model=relu_transformer] [--shares=75%,50%,25%] [--batches=1,32] [--repeat=300]

The feed-forward networks of a trained transformer (see NNOPT_SHARED) are compiled by themselves, and run on what they
read in the whole model. Processor time of one thread, the least of many runs, dense and mixture in turns, summed over the
networks.
"""
import argparse
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "support"), os.path.join(HERE, "..", "models")]
import numpy as np
import onnx
from corpus import SHARED
from least_time import in_turn
from nnopt import Session, compile, reference_session


def networks(model):
    """(input, output) of each feed-forward network: MatMul, Add, activation, MatMul, Add."""
    readers = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    constants = {i.name for i in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type != "MatMul" or node.input[1] not in constants:
            continue
        chain = [node]
        for kind in ("Add", "Relu", "MatMul", "Add"):
            following = readers.get(chain[-1].output[0], [])
            if len(following) != 1 or following[0].op_type != kind:
                break
            chain.append(following[0])
        if len(chain) == 5:
            yield node.input[0], chain[-1].output[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="relu_transformer")
    parser.add_argument("--shares", default="75%,50%,25%")
    parser.add_argument("--batches", default="1,32")
    parser.add_argument("--repeat", type=int, default=300)
    options = parser.parse_args()
    trained, shares = os.path.join(SHARED, "trained"), options.shares.split(",")
    if not os.path.isdir(trained):
        print("skipped: the model corpus is not there (see NNOPT_SHARED)")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(trained, options.model + ".onnx")
        subprocess.run([sys.executable, "to_npz.py", options.model + ".onnx", folder], cwd=trained, check=True,
                       capture_output=True)
        data = dict(np.load(os.path.join(folder, "calib.npz")))
        model = onnx.shape_inference.infer_shapes(onnx.load(path))
        found = list(networks(model))
        for name, _ in found:
            model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
        onnx.save(model, os.path.join(folder, "tapped.onnx"))
        tapped = reference_session(os.path.join(folder, "tapped.onnx"))
        values = tapped.run([name for name, _ in found], data)
        artifacts = []
        for i, (inputs, outputs) in enumerate(found):
            part = os.path.join(folder, f"{i}.onnx")
            onnx.utils.extract_model(path, part, [inputs], [outputs])
            np.savez(os.path.join(folder, f"{i}.npz"), **{inputs: values[i]})
            artifacts.append([])
            for share in ["dense", *shares]:
                artifacts[i].append(os.path.join(folder, f"{i}-{share}.so"))
                flags = [] if share == "dense" else [f"--moe={share}", f"--calib={folder}/{i}.npz"]
                compile(part, artifacts[i][-1], flags)
        print("| model | batch | dense, ms | " + " | ".join(f"{s}, ms | ratio" for s in shares) + " |")
        print("|---" * (3 + 2 * len(shares)) + "|")
        for batch in map(int, options.batches.split(",")):
            total = np.zeros(1 + len(shares))
            for i, (inputs, _) in enumerate(found):
                sessions = [Session(a) for a in artifacts[i]]
                for session in sessions:
                    session.prepare({inputs: np.ascontiguousarray(values[i][:batch])})
                total += in_turn([session.step for session in sessions], turns=max(20, options.repeat // batch))
                for session in sessions:
                    session.close()
            print(f"| {options.model} | {batch} | {total[0]:.3f} | " +
                  " | ".join(f"{t:.3f} | {total[0] / t:.2f}" for t in total[1:]) + " |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
