"""What the tests of compression share: the compiler run in a folder with data, small models, the list of tests of a program.

The example is examples/models/fashion.onnx with its 16 images; with the model corpus (see NNOPT_SHARED) and --full some tests take
trained networks of it.
"""
import argparse
import filecmp
import os
import subprocess
import sys
import tempfile
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "support"), os.path.join(HERE, "..", "models")]
import numpy as np
import onnx
from onnx import helper, numpy_helper
from corpus import SHARED
from nnopt import BUILD, ROOT, Session, reference_session

MODEL = os.path.join(ROOT, "examples", "models", "fashion.onnx")


class Folder:
    """A folder with data for the example model, and the compiler run in it."""

    def __init__(self, path):
        self.path = path
        image = np.load(os.path.join(ROOT, "examples", "models", "fashion.npz"))["image"]
        labels = np.load(os.path.join(ROOT, "examples", "models", "fashion-expected.npz"))["labels"]
        self.image, self.labels = image, labels
        np.savez(self / "calib.npz", image=image)
        np.savez_compressed(self / "eval.npz", image=image, labels=labels)

    def __truediv__(self, name):
        return os.path.join(self.path, name)

    def compile(self, *flags, model=MODEL, code=0, says=()):
        done = subprocess.run([os.path.join(BUILD, "bin", "nnopt-compile"), model, *flags], cwd=self.path,
                              capture_output=True, text=True, timeout=1500)
        assert done.returncode == code, f"{flags}: exit {done.returncode}, expected {code}\n{done.stderr}"
        for text in says:
            assert text in done.stderr, f"{flags}: '{text}' is not in:\n{done.stderr}"
        return done.stderr

    def replay(self, stem, *flags, model=MODEL):
        """The recipe STEM.json gives the bytes of STEM.so again, and of itself."""
        self.compile(f"--recipe={stem}.json", "-o", "again.so", "--recipe-out=again.json", *flags, model=model)
        assert filecmp.cmp(self / f"{stem}.so", self / "again.so", shallow=False), f"{stem}: the recipe gives another artifact"
        assert filecmp.cmp(self / f"{stem}.json", self / "again.json", shallow=False), f"{stem}: the recipe is written differently"

    def export(self, stem):
        """The model that --emit=onnx writes for STEM.json gives in onnxruntime what STEM.so gives."""
        self.compile(f"--recipe={stem}.json", "--emit=onnx", "-o", f"{stem}.onnx")
        with Session(self / f"{stem}.so") as session:
            ours = session.run(None, {"image": self.image})[0]
        theirs = reference_session(self / f"{stem}.onnx", optimize=False).run(None, {"image": self.image})[0]
        assert np.abs(ours - theirs).max() < 1e-4 * np.abs(theirs).max(), "onnxruntime gives something else"


def mlp(path, sizes):
    """A model of matrix products with random weights, relu between them; its input is x [n, sizes[0]]."""
    rng = np.random.default_rng(0)
    constants, nodes, value = [], [], "x"
    for i, (depth, columns) in enumerate(zip(sizes, sizes[1:])):
        w = (rng.standard_normal((depth, columns)) * rng.uniform(0.5, 2, columns) / np.sqrt(depth)).astype(np.float32)
        constants += [numpy_helper.from_array(w, f"w{i}"), numpy_helper.from_array(w[0].copy(), f"b{i}")]
        nodes.append(helper.make_node("Gemm", [value, f"w{i}", f"b{i}"], [f"y{i}"], name=f"linear{i}"))
        value = f"y{i}"
        if i + 2 < len(sizes):
            nodes.append(helper.make_node("Relu", [value], [f"r{i}"], name=f"relu{i}"))
            value = f"r{i}"
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", 1, ["n", sizes[0]])],
                              [helper.make_tensor_value_info(value, 1, ["n", sizes[-1]])], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)


def main(description, tests, full_tests=()):
    """Runs tests, of which `full_tests` need the model corpus and are run with --full."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--only", help="one of the tests, by name")
    options = parser.parse_args()
    if options.full and os.path.isdir(os.path.join(SHARED, "trained")):
        tests = [*tests, *full_tests]
    elif options.full and full_tests:
        print(f"skipped: {', '.join(t.__name__ for t in full_tests)}, since the model corpus is not there (see NNOPT_SHARED)")
    tests = [t for t in tests if not options.only or t.__name__ == options.only]
    failed = 0
    with tempfile.TemporaryDirectory() as path:
        folder = Folder(path)
        for test in tests:
            start = time.time()
            try:
                test(folder)
                print(f"ok    {test.__name__}: {test.__doc__.splitlines()[0]} ({time.time() - start:.0f} s)", flush=True)
            except Exception:
                failed += 1
                print(f"FAIL  {test.__name__}: {traceback.format_exc()}", flush=True)
    print(f"{len(tests) - failed} passed, {failed} failed")
    return 1 if failed else 0
