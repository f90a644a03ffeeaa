"""What the benchmarks on GPUs share: compiling on all cores, and times of kernels."""
import collections
import concurrent.futures
import ctypes as C
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "..", "support"), os.path.join(HERE, "..", "..", "models")]
import nnopt  # noqa: E402


def architecture():
    """That of the first GPU, as sm_90; and its name."""
    try:
        line = subprocess.run(["nvidia-smi", "--query-gpu=compute_cap,name", "--format=csv,noheader"], capture_output=True, text=True,
                              check=True).stdout.splitlines()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        sys.exit(f"{os.path.basename(sys.argv[0])}: nvidia-smi finds no GPU")
    capability, name = line.split(", ", 1)
    return "sm_" + capability.replace(".", ""), name


def in_parallel(function, cases, jobs=None):
    """function(*case) in processes of their own; yields (case, result or exception) in the order of `cases`."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(jobs or os.cpu_count(), mp_context=context) as pool:
        futures = [pool.submit(function, *case) for case in cases]
        for case, future in zip(cases, futures):
            try:
                yield case, future.result()
            except Exception as error:  # of one case: the others go on
                yield case, error


def on_gpu(session, feeds):
    """Prepares a session whose inputs and results are tensors of PyTorch on the GPU."""
    import torch
    session.prepare({n: torch.from_numpy(np.ascontiguousarray(v)).cuda() for n, v in feeds.items()},
                    allocate=lambda dims, dtype: torch.empty(dims, dtype=getattr(torch, np.dtype(dtype).name), device="cuda"))
    return session


def latency(step, seconds=0.5, least=20):
    """Median and minimum of milliseconds by the wall clock of calls that wait for their result."""
    for _ in range(5):
        step()
    times, end = [], time.perf_counter() + seconds
    while len(times) < least or time.perf_counter() < end:
        start = time.perf_counter()
        step()
        times.append((time.perf_counter() - start) * 1e3)
    return float(np.median(times)), min(times)


def kernel_times(call, repeat=10):
    """[(kernel, launches a call, microseconds a call)], longest first, of what runs on the GPU in `call`: CUPTI's times, by PyTorch's
    profiler, which sees all kernels of the process. Of each launch the shortest time of the calls; it is counted from the end of the launch
    before it, beside which it may have begun."""
    import torch
    call()
    torch.cuda.synchronize()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        for _ in range(repeat):
            call()
        torch.cuda.synchronize()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "trace.json")
        profile.export_chrome_trace(path)
        with open(path) as f:
            trace = json.load(f)["traceEvents"]
    events = sorted((e for e in trace if e.get("cat") in ("kernel", "gpu_memcpy", "gpu_memset")), key=lambda e: e["ts"])
    end = 0.0
    for e in events:
        last, end = end, max(end, e["ts"] + e["dur"])
        e["own"] = end - max(e["ts"], last)
    per_call = len(events) // repeat
    found = collections.OrderedDict()
    for i in range(per_call):
        same = events[i::per_call]
        entry = found.setdefault(same[0]["name"], [0, 0.0])
        entry[0] += 1
        entry[1] += min(e["own"] for e in same)
    return sorted(((name, n, us) for name, (n, us) in found.items()), key=lambda row: -row[2])


class _Record(C.Structure):
    _fields_ = [("run", C.c_uint64), ("launch", C.c_uint32), ("threads", C.c_int32),
                ("kernel", C.c_char_p), ("op", C.c_char_p), ("nodes", C.c_char_p), ("start_ns", C.c_int64), ("duration_ns", C.c_int64),
                ("flops", C.c_int64), ("bytes", C.c_int64), ("tasks", C.c_int64)]


def launches(session):
    """[(kernel, operations, bytes)] of one run, in their order, as the compiler counted them."""
    found = []

    def record(_, pointer):
        r = C.cast(pointer, C.POINTER(_Record)).contents
        found.append((r.kernel.decode(), max(0, r.flops), max(0, r.bytes)))  # negative: not counted

    callback = nnopt._PROFILE(record)
    session.lib.nnopt_session_set_profiler(session.session, callback, None)
    session.step()
    session.lib.nnopt_session_set_profiler(session.session, nnopt._PROFILE(), None)
    return found
