"""lit configuration: FileCheck tests of the dialects, the passes and the tools.

Run from the repository root:  /usr/lib/llvm-22/bin/lit -v test
NNOPT_BUILD names the build folder (default: build beside this folder's parent).
"""

import os

import lit.formats

config.name = "nnopt"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test"]
config.test_source_root = os.path.dirname(__file__)

build = os.environ.get(
    "NNOPT_BUILD", os.path.join(os.path.dirname(config.test_source_root), "build")
)
config.test_exec_root = os.path.join(build, "test-lit")
config.excludes = ["support", "fuzz", "models", "bench"]
config.environment["PATH"] = os.pathsep.join(
    [os.path.join(build, "bin"), "/usr/lib/llvm-22/bin", os.environ.get("PATH", "")]
)
config.substitutions.append(("%build", build))
