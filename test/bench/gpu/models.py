"""Runs artifacts with GPU code on a GPU: outputs beside those of their CPU code, and latency.

  models.py MODEL.so INPUTS.npz [MODEL.so INPUTS.npz ...]

Compile with --gpu=ARCH; with --opt=0 --passes=nnopt-default the CPU code is the plain reference. Latency is wall-clock time
of a run with inputs and outputs in CPU memory, copies included; the kernels' time is by CUDA events, one by one.
"""
import collections
import ctypes as C
import os
import sys
import time

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "support"))
import nnopt


class Record(C.Structure):
    _fields_ = [("run", C.c_uint64), ("launch", C.c_uint32), ("threads", C.c_int32),
                ("kernel", C.c_char_p), ("op", C.c_char_p), ("nodes", C.c_char_p), ("start_ns", C.c_int64), ("duration_ns", C.c_int64),
                ("flops", C.c_int64), ("bytes", C.c_int64), ("tasks", C.c_int64)]


def bounds(session):
    """10^9 operations of f32 and bytes of memory per second that the GPU can do at most."""
    found = C.c_double(), C.c_double()
    session.lib.nnopt_model_device_bounds.argtypes = [C.c_void_p] * 4
    session._check(session.lib.nnopt_model_device_bounds(session.model, *map(C.byref, found), C.byref(session.error)))
    return [v.value for v in found]


def kernels(session):
    """Microseconds, number of launches, and least microseconds by the bounds, of each kernel in one run."""
    times = collections.defaultdict(lambda: [0.0, 0, 0.0])
    gflops, gbytes = bounds(session)

    def record(_, pointer):
        r = C.cast(pointer, C.POINTER(Record)).contents
        entry = times[r.kernel.decode()]
        entry[0] += r.duration_ns / 1e3
        entry[1] += 1
        entry[2] += max(r.flops / gflops, r.bytes / gbytes, 0) / 1e3

    callback = nnopt._PROFILE(record)
    session.lib.nnopt_session_set_profiler(session.session, callback, None)
    session.step()
    times.clear()
    session.step()
    session.lib.nnopt_session_set_profiler(session.session, nnopt._PROFILE(), None)
    return sorted(times.items(), key=lambda kv: -kv[1][0])


def measure(path, inputs):
    feeds = dict(np.load(inputs))
    with nnopt.Session(path, threads=0) as cpu:
        want = cpu.run(None, feeds)
        names = [o.name for o in cpu.outputs]
    start = time.perf_counter()
    with nnopt.Session(path, device="cuda") as gpu:
        print(f"{path}: opened in {time.perf_counter() - start:.2f} s")
        gpu.prepare(feeds)
        worst = 0.0
        for run in range(4):  # the third one and later are replayed as a graph
            gpu.step()
            errors = [nnopt.difference(got, w) for got, w in zip(gpu.results, want)]
            worst = max(worst, *errors)
            print(f"  run {run}: " + ", ".join(f"{n} {e:.2e}" for n, e in zip(names, errors)))
        times = []
        for _ in range(200):
            start = time.perf_counter()
            gpu.step()
            times.append((time.perf_counter() - start) * 1e3)
        print(f"  latency: median {np.median(times):.3f} ms, min {min(times):.3f} ms")
        profile = kernels(gpu)
        print(f"  kernels: {sum(t for _, (t, _, _) in profile):.0f} us in {sum(n for _, (_, n, _) in profile)} launches")
        for name, (t, n, least) in profile[:12]:
            print(f"    {t:8.1f} us {n:4d}x {100 * least / t if t else 0:4.0f}% of the bound in f32 FMA or memory  {name}")
    return worst <= 1e-4


def main():
    arguments = sys.argv[1:]
    if not arguments or len(arguments) % 2:
        sys.exit(__doc__)
    good = [measure(*pair) for pair in zip(arguments[::2], arguments[1::2])]
    print(f"{sum(good)} passed, {len(good) - sum(good)} failed")
    sys.exit(not all(good))


if __name__ == "__main__":
    main()
