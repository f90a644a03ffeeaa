#!/usr/bin/env python3
"""Latency of nnopt beside onnxruntime and openvino.

    compare.py [--models=resnet50,bert_base] [--threads=1,2] [--peers=onnxruntime,openvino] [--rounds=N]
               [--seconds=S] [--dynamic] [--precision=f32|bf16|int8] [--cpu-time] [--json=FILE]

Every side runs in a process of its own and is driven by the same Python loop: one call with preallocated inputs
and outputs (nnopt: nnopt_session_run through ctypes; onnxruntime: an IO binding; openvino: an inference
request). The sides take turns for --rounds rounds of --seconds seconds each, so that slow phases of a shared
machine hit all of them. Printed are minimum and median in milliseconds, the ratio of the minima to ours (below
1 the peer is faster), and memory: the peak of the process, loading included, above what it held before it loaded
runtime and model. For nnopt also what compiling took, and how close it is to the bounds of the machine (nnopt-run
--profile). Dimensions are pinned to those of the example inputs unless --dynamic is given. Peers that are not installed
are left out. A decoder's name with `:prompt=128` behind it is its first run, over so many tokens. performance_page.py makes docs/performance.md of the files that --json writes.

--precision=int8 quantizes the model with the same calibration data for all sides: ours by --quantize=int8, onnxruntime's by
quantize_static (QDQ), openvino's by nncf. --precision=bf16 compares with openvino's bf16. Then *error* is that of the first
output against the f32 model of onnxruntime: |a - b| / |b|. --cpu-time measures the processor time of the process, which
other work on the machine disturbs less; for one thread only.
"""
import argparse
import datetime
import importlib.metadata
import json
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "support"), os.path.join(HERE, "..", "models")]
import numpy as np

import corpus
import quantized
from nnopt import ROOT, Session, compile, tool

DEFAULT = ("resnet50,repvgg_a0,mobileone_s0,densenet121,squeezenet1_1,mobilenet_v2,efficientnet_b0,convnext_tiny,deit_tiny,"
           "swin_tiny,vit_base,whisper_tiny_encoder,bert_base,distilbert_cls,gpt2,llama_small,moe_decoder_dense,moe_decoder,"
           "lstm_tagger,ch_PP-OCRv4_det_infer,ch_PP-OCRv4_rec_infer,silero_vad_v5")
RUNS = 5  # of a side in its turn, at least
TOLERANCE = 5e-3  # between the sides; test/models/run.py is the test of how right ours is


# --------------------------------------------------------------------- the sides
def start_nnopt(model, artifact, feeds, threads, precision):
    session = Session(artifact, threads)
    session.prepare(feeds)
    return session.step, lambda: session.results


def start_onnxruntime(model, artifact, feeds, threads, precision):
    import onnxruntime as ort
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    want = session.run(None, feeds)
    binding = session.io_binding()
    values = {k: ort.OrtValue.ortvalue_from_numpy(v) for k, v in feeds.items()}
    for name, value in values.items():
        binding.bind_ortvalue_input(name, value)
    outputs = [ort.OrtValue.ortvalue_from_numpy(w) for w in want]
    for info, value in zip(session.get_outputs(), outputs):
        binding.bind_ortvalue_output(info.name, value)
    return lambda: session.run_with_iobinding(binding), lambda: [o.numpy() for o in outputs]


def start_openvino(model, artifact, feeds, threads, precision):
    import openvino as ov
    core = ov.Core()
    graph = core.read_model(model)
    graph.reshape({name: list(v.shape) for name, v in feeds.items()})
    compiled = core.compile_model(graph, "CPU", {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1,
                                                 "PERFORMANCE_HINT": "LATENCY",
                                                 "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32"})
    request = compiled.create_infer_request()
    for name, value in feeds.items():
        request.set_tensor(name, ov.Tensor(value))
    return request.infer, lambda: [request.get_output_tensor(i).data.copy() for i in range(len(compiled.outputs))]


STARTERS = {"nnopt": start_nnopt, "onnxruntime": start_onnxruntime, "openvino": start_openvino}


def memory(field):
    """A line of /proc/self/status in bytes: VmRSS, or VmHWM, its peak."""
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith(field + ":"))


def serve(pipe, side, cpu_time, *arguments):
    """The process of one side: times calls for as many seconds as it is told."""
    try:
        before = memory("VmRSS")
        with open("/proc/self/clear_refs", "w") as f:
            f.write("5")  # the peak begins anew
        clock = time.process_time if cpu_time else time.perf_counter
        step, results = STARTERS[side](*arguments)
        for _ in range(3):
            step()
        pipe.send((memory("VmHWM") - before, [np.asarray(r) for r in results()]))
        while True:
            seconds = pipe.recv()
            if seconds is None:
                return
            times = []
            end = time.perf_counter() + seconds
            while len(times) < RUNS or time.perf_counter() < end:
                start = clock()
                step()
                times.append(clock() - start)
            pipe.send(times)
    except Exception as e:
        pipe.send(f"{type(e).__name__}: {e}")


class Side:
    def __init__(self, side, *arguments):
        self.side, self.times = side, []
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=serve, args=(other, side, *arguments), daemon=True)
        self.process.start()
        other.close()
        self.peak_bytes, self.outputs = self.receive()

    def receive(self):
        try:
            answer = self.pipe.recv()
        except EOFError:
            answer = "the process died"
        if isinstance(answer, str):
            raise RuntimeError(f"{self.side}: {answer}")
        return answer

    def measure(self, seconds):
        self.pipe.send(seconds)
        self.times += self.receive()

    def stop(self):
        if self.process.is_alive():
            self.pipe.send(None)
            self.process.join()


# --------------------------------------------------------------------- measuring
def difference(a, b):
    """max |a - b| / max |b|"""
    a, b = a.astype(np.float64), b.astype(np.float64)
    return np.max(np.abs(a - b), initial=0) / max(np.max(np.abs(b), initial=0), 1e-30) if a.shape == b.shape else np.inf


def error(outputs, reference):
    """|a - b| / |b| of the first output."""
    a, b = outputs[0].astype(np.float64), reference[0].astype(np.float64)
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def measure(model, peers, threads, options, folder):
    artifact = os.path.join(corpus.CACHE, f"{model.name}.bench.so")
    flags = [] if options.dynamic else model.pins()
    paths = dict.fromkeys(["nnopt", *peers], model.path)
    if options.precision == "bf16":
        flags.append("--precision=bf16")
    if options.precision == "int8":
        quantized.calibration(model, os.path.join(folder, "calib.npz"))
        flags += ["--quantize=int8", f"--calib={folder}/calib.npz"]
        for peer, make in (("onnxruntime", quantized.quantize_onnxruntime), ("openvino", quantized.quantize_openvino)):
            try:
                if peer in peers:
                    paths[peer] = make(model, folder)
            except Exception as e:
                print(f"{model.name}: {peer}: {type(e).__name__}: {str(e).splitlines()[0]}", file=sys.stderr)
                del paths[peer]
    seconds, compiler_bytes = compile(model.path, artifact, flags, timeout=3600)
    reference = None
    if options.precision != "f32":
        _, results = start_onnxruntime(model.path, artifact, model.example, threads, "f32")
        reference = [r.copy() for r in results()]  # these are views of the session's memory
    sides, rows = [], []
    try:
        for side, path in paths.items():
            try:
                sides.append(Side(side, options.cpu_time, path, artifact, model.example, threads, options.precision))
            except RuntimeError as e:
                if side == "nnopt":
                    raise
                print(f"{model.name}: {str(e).splitlines()[0]}", file=sys.stderr)
        for side in sides[1:] if options.precision == "f32" else []:
            worst = max(difference(a, b) for a, b in zip(sides[0].outputs, side.outputs))
            if not worst < TOLERANCE:
                raise RuntimeError(f"outputs of nnopt and {side.side} differ by {worst:.1e} of their scale")
        for _ in range(options.rounds):
            for side in sides:
                side.measure(options.seconds)
        ours = min(sides[0].times)
        for side in sides:
            rows.append({"model": model.name, "threads": threads, "side": side.side,
                         "min_ms": 1e3 * min(side.times), "median_ms": 1e3 * statistics.median(side.times),
                         "runs": len(side.times), "ratio_to_nnopt": min(side.times) / ours, "peak_bytes": side.peak_bytes})
            if reference:
                rows[-1]["error"] = error(side.outputs, reference)
        rows[0] |= {"compile_s": seconds, "compile_bytes": compiler_bytes, "artifact_bytes": os.path.getsize(artifact)}
        for side in sides:
            side.stop()
        rows[0]["roofline"] = roofline(artifact, model.example, threads, 1e3 * ours, folder)
    finally:
        for side in sides:
            side.stop()
        os.remove(artifact)
    return rows


def roofline(artifact, feeds, threads, ours_ms, folder):
    """What `nnopt-run --profile` measures: the bounds of the machine, the model's and those of its slowest kernels as
    shares of the time that they take."""
    np.savez(os.path.join(folder, "example.npz"), **feeds)
    subprocess.run([tool("nnopt-run"), artifact, f"--inputs={folder}/example.npz", "--profile", f"--threads={threads}",
                    f"--repeat={max(3, min(200, int(1000 / ours_ms)))}", "--warmup=3", f"--json={folder}/profile.json", "--quiet"],
                   check=True)
    with open(os.path.join(folder, "profile.json")) as f:
        profile = json.load(f)
    total = sum(k["ms"] for k in profile["kernels"])
    return {**profile["roofline"], "share": sum(k["bound_ms"] for k in profile["kernels"]) / ours_ms,
            "kernels": [{"kernel": k["kernel"], "calls": k["calls"], "of_time": k["ms"] / total, "of_bound": k["bound_ms"] / k["ms"]}
                        for k in profile["kernels"][:3]]}


def cpu_name():
    try:
        with open("/proc/cpuinfo") as f:
            return next(line.split(":")[1].strip() for line in f if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


def simd():
    with open("/proc/cpuinfo") as f:
        flags = next((line.split() for line in f if line.startswith("flags")), [])
    return "AVX-512" if "avx512f" in flags else "AVX2" if "avx2" in flags else "no AVX2"


def version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=DEFAULT)
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--peers", default="onnxruntime,openvino")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--dynamic", action="store_true")
    parser.add_argument("--precision", choices=["f32", "bf16", "int8"], default="f32")
    parser.add_argument("--cpu-time", action="store_true")
    parser.add_argument("--json")
    options = parser.parse_args()
    if options.cpu_time and options.threads != "1":
        parser.error("--cpu-time is that of one thread: it needs --threads=1")

    versions = {p: version(p) for p in options.peers.split(",") if p}
    for peer in [p for p, v in versions.items() if v is None]:
        print(f"{peer} is not installed: left out")
        del versions[peer]
    git = lambda *a: subprocess.run(["git", "-C", ROOT, *a], capture_output=True, text=True).stdout.strip()
    header = {"cpu": cpu_name(), "flags": simd(), "cores": len(os.sched_getaffinity(0)), "date": datetime.date.today().isoformat(),
              "commit": git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else ""),
              "nnopt": subprocess.run([tool("nnopt-compile"), "--version"], capture_output=True, text=True).stdout.split("\n")[0],
              **versions}
    print(", ".join(f"{k} {v}" for k, v in header.items()))
    print(f"{'model':24} {'threads':>7} {'side':12} {'min ms':>9} {'median ms':>10} {'ratio':>6} {'MB':>6}"
          + ("" if options.precision == "f32" else f" {'error':>8}"))

    names = options.models.split(",")
    known = {m.name: m for m in corpus.models("full")}
    unknown = [n for n in names if n.split(":")[0] not in known]
    if unknown:
        parser.error(f"no model {', '.join(unknown)}; known: {' '.join(sorted(known))}")
    results, status = [], 0
    for name in names:
        stem, _, prompt = name.partition(":prompt=")
        model = known[stem]
        model.prepare()
        if prompt:
            model.example = model.prompt_inputs(int(prompt))
        for threads in map(int, options.threads.split(",")):
            try:
                with tempfile.TemporaryDirectory() as folder:
                    rows = measure(model, list(versions), threads, options, folder)
            except Exception as e:
                print(f"{name}: {e}", file=sys.stderr)
                status = 1
                continue
            for r in rows:
                r["model"] = name
                print(f"{r['model']:24} {r['threads']:7} {r['side']:12} {r['min_ms']:9.3f} {r['median_ms']:10.3f} "
                      f"{r['ratio_to_nnopt']:6.2f} {r['peak_bytes'] / 1e6:6.0f}"
                      + (f" {r['error']:8.4f}" if "error" in r else ""), flush=True)
            results += rows
        model.discard()
    if options.json:
        with open(options.json, "w") as f:
            json.dump({**header, "precision": options.precision, "rounds": options.rounds, "seconds": options.seconds,
                       "results": results}, f, indent=1)
    return status


if __name__ == "__main__":
    sys.exit(main())
