#!/usr/bin/env python3
"""The models of test/models/corpus.py on a GPU: outputs beside those of plain loops on the CPU, and latency.

    models.py [--only=MODEL,...] [--precision=f32|tf32|bf16|f16] [--jobs=N] [--build-only] [--json=FILE] [--kernels=N]

Sizes are those of the example inputs. The artifact's CPU code is the plain reference (--opt=0) of the 32-bit model, its GPU code what
a user gets. All are compiled first, on all cores (--build-only: no more than that; what is there is taken the next time). `error` is
the largest difference of an output relative to its scale; it may be 1e-4 in f32, 2e-2 in f16 and tf32 (10 bits behind the point), and
0.1 in bf16 (7 bits). Latency is wall-clock time with inputs and outputs in CPU memory, copies included. --kernels prints the N slowest
kernels (needs PyTorch). Ends with `N passed, N failed`.
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


def build(name, precision, arch):
    """Compiles a model for the GPU; its path, its inputs, and what they should give: outputs of plain loops on the CPU, by name. What is
    there already and newer than the compiler is taken as it is."""
    import corpus
    os.makedirs(FOLDER, exist_ok=True)
    out, want = (os.path.join(FOLDER, f"{name}.{end}") for end in (f"{precision}.so", "want.npz"))
    model = next(m for m in corpus.models("full") if m.name == name)
    model.prepare()
    sizes = model.pins()
    newer = lambda path: os.path.exists(path) and os.path.getmtime(path) > os.path.getmtime(nnopt.tool("nnopt-compile"))
    if not newer(want) or precision == "f32" and not newer(out):
        plain = os.path.join(FOLDER, f"{name}.f32.so")
        nnopt.compile(model.path, plain, ["--quiet", "--opt=0", "--passes=nnopt-default", f"--gpu={arch}", *sizes])
        with nnopt.Session(plain, threads=2) as cpu:
            np.savez(want, **dict(zip([o.name for o in cpu.outputs], cpu.run(None, model.example))))
    if precision != "f32" and not newer(out):
        nnopt.compile(model.path, out, ["--quiet", f"--gpu={arch}", f"--precision={precision}", *sizes])
    return out, model.example, want


def run(name, precision, path, feeds, want, kernels):
    start = time.perf_counter()
    with nnopt.Session(path, device="cuda") as gpu, np.load(want, allow_pickle=True) as wanted:
        opened = time.perf_counter() - start
        gpu.prepare(feeds)
        errors = {}
        for _ in range(4):  # the third one and later are replayed as a graph
            gpu.step()
            for i, output in enumerate(gpu.outputs):
                got, w = gpu.results[i] if gpu.results[i] is not None else gpu._take(i), wanted[output.name]
                errors[output.name] = max(errors.get(output.name, 0.0), nnopt.difference(np.asarray(got, w.dtype), w))
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
    parser.add_argument("--build-only", action="store_true")
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
    start, records = time.perf_counter(), []
    built = list(in_parallel(build, [(name, arguments.precision, arch) for name in chosen], arguments.jobs))
    print(f"compiled in {time.perf_counter() - start:.0f} s", flush=True)
    if arguments.build_only:
        built = [case for case in built if isinstance(case[1], Exception)]
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
