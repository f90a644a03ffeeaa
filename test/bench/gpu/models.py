#!/usr/bin/env python3
"""The models of test/models/corpus.py on a GPU: outputs beside those of plain loops on the CPU, and latency.

    models.py [--only=MODEL,...] [--precision=f32|tf32|bf16|f16] [--jobs=N] [--json=FILE] [--kernels=N]

The artifact's CPU code is the plain reference (--opt=0) of the 32-bit model, its GPU code what a user gets; with f16 the GPU runs
the model in half precision (test/support/half.py). All are compiled first, on all cores. `error` is the largest difference of an
output relative to its scale; it may be 1e-4 in f32, 2e-2 in f16 and tf32 (10 bits behind the point), and 0.1 in bf16 (7 bits).
Latency is wall-clock time with inputs and outputs in CPU memory, copies included. --kernels prints the N slowest ones (needs
PyTorch). Ends with `N passed, N failed`.
"""
import argparse
import json
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from common import architecture, in_parallel, kernel_times, latency, nnopt
import numpy as np

TOLERANCES = {"f32": 1e-4, "tf32": 2e-2, "f16": 2e-2, "bf16": 0.1}
FOLDER = os.path.join(nnopt.BUILD, "gpu")


def pins(proto, feeds):
    """--dim flags that fix all named dimensions at the sizes of these inputs."""
    found = {}
    for value in proto.graph.input:
        for dim, size in zip(value.type.tensor_type.shape.dim, np.shape(feeds.get(value.name, ()))):
            if dim.dim_param:
                found[dim.dim_param] = f"--dim={dim.dim_param}={size}"
    return list(found.values())


def build(name, precision, arch):
    """Compiles a model as the reference and for the GPU: two paths, the same one for f32; and its inputs."""
    import corpus
    import onnx
    from half import to_half
    model = next(m for m in corpus.models("full") if m.name == name)
    model.prepare()
    out = os.path.join(FOLDER, name + ".so")
    plain = ["--quiet", "--opt=0", f"--gpu={arch}"]
    nnopt.compile(model.path, out, [*plain, "--passes=nnopt-default"])
    gpu = out
    if precision != "f32":
        gpu, source, flags = os.path.join(FOLDER, f"{name}.{precision}.so"), model.path, [f"--precision={precision}"]
        if precision == "f16":
            source, flags = os.path.join(FOLDER, name + ".f16.onnx"), []
            onnx.save(to_half(onnx.load(model.path)), source)
        nnopt.compile(source, gpu, ["--quiet", f"--gpu={arch}", *flags])
    return out, gpu, model.example


def run(name, precision, plain, path, feeds, kernels):
    from half import half_feeds
    with nnopt.Session(plain, threads=0) as cpu:
        want = cpu.run(None, feeds)
        names = [o.name for o in cpu.outputs]
    start = time.perf_counter()
    with nnopt.Session(path, device="cuda") as gpu:
        opened = time.perf_counter() - start
        gpu.prepare(half_feeds(feeds) if precision == "f16" else feeds)
        errors = {}
        for _ in range(4):  # the third one and later are replayed as a graph
            gpu.step()
            results = [r if r is not None else gpu._take(i) for i, r in enumerate(gpu.results)]
            for output, got, w in zip(names, results, want):
                errors[output] = max(errors.get(output, 0.0), nnopt.difference(np.asarray(got, np.asarray(w).dtype), w))
        median, least = latency(gpu.step, seconds=0.1, least=10)
        rows = kernel_times(gpu.step) if kernels else []
    worst = max(errors, key=lambda n: (not np.isfinite(errors[n]), errors[n]))
    good = errors[worst] <= TOLERANCES[precision]
    print(f"{'ok    ' if good else 'FAILED'} {name:28s} error {errors[worst]:.1e} ({worst}), {median:8.3f} ms, opened in {opened:.2f} s",
          flush=True)
    for kernel, count, us in rows[:kernels]:
        print(f"    {us:8.1f} us {count:4d}x  {kernel}")
    return {"model": name, "precision": precision, "error": errors[worst], "output": worst, "passed": bool(good), "median_ms": median,
            "min_ms": least, "kernels": rows}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="")
    parser.add_argument("--precision", default="f32", choices=list(TOLERANCES))
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--json")
    parser.add_argument("--kernels", type=int, default=0)
    arguments = parser.parse_args()
    arch, gpu = architecture()
    import corpus
    names = [m.name for m in corpus.models("full")]
    chosen = arguments.only.split(",") if arguments.only else names
    if unknown := sorted(set(chosen) - set(names)):
        sys.exit(f"models.py: there is no model {', '.join(unknown)}; there are {', '.join(names)}")
    print(f"{gpu}, {arguments.precision}: {len(chosen)} models")
    os.makedirs(FOLDER, exist_ok=True)
    start, records = time.perf_counter(), []
    built = list(in_parallel(build, [(name, arguments.precision, arch) for name in chosen], arguments.jobs))
    print(f"compiled in {time.perf_counter() - start:.0f} s", flush=True)
    for (name, *_), made in built:
        try:
            if isinstance(made, Exception):
                raise made
            records.append(run(name, arguments.precision, *made, arguments.kernels))
        except Exception as error:  # of one model: the others go on
            print(f"FAILED {name:28s} {str(error).strip()[-300:]}", flush=True)
            records.append({"model": name, "precision": arguments.precision, "passed": False, "failure": str(error)})
    if arguments.json:
        with open(arguments.json, "w") as f:
            json.dump({"gpu": gpu, "records": records}, f, indent=1)
    passed = sum(r["passed"] for r in records)
    print(f"{passed} passed, {len(records) - passed} failed")
    sys.exit(passed < len(records))


if __name__ == "__main__":
    main()
