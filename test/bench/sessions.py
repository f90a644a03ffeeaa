#!/usr/bin/env python3
"""Runs a second of several sessions of one model at once, and of one beside processes that take all CPUs.

    sessions.py [--models=resnet50,mobilenet_v2] [--seconds=S] [--rounds=N]

A line is a number of sessions, each with a thread of the program and so many threads of its own, and the best of --rounds, which
take turns. On 2 cores two sessions of 2 threads should do as much as two of 1 thread, and a session beside others' work no less
with 2 threads than with 1.
"""
import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "models"), os.path.join(HERE, "..", "support")]
import corpus  # noqa: E402
import nnopt  # noqa: E402

# sessions, threads of each, whether something else is busy
CASES = [(1, 1, False), (1, 2, False), (2, 1, False), (2, 2, False), (1, 1, True), (1, 2, True)]


def rate(path, feeds, sessions, threads, busy, seconds):
    """Runs a second, of all sessions together."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() * busy)]
    counts = [0] * sessions
    everyone = [nnopt.Session(path, threads) for _ in range(sessions)]
    for session in everyone:
        session.run(None, feeds)
    end = time.perf_counter() + seconds

    def run(i):
        while time.perf_counter() < end:
            everyone[i].run(None, feeds)
            counts[i] += 1
    callers = [threading.Thread(target=run, args=(i,)) for i in range(sessions)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    for session in everyone:
        session.close()
    for other in others:
        other.kill()
        other.wait()
    return sum(counts) / seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="resnet50,mobilenet_v2,deit_tiny,gpt2")
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(f"{'model':16} sessions threads busy  runs/s")
    for model in corpus.models("full"):
        if model.name not in options.models.split(","):
            continue
        model.prepare()
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "model.so")
            nnopt.compile(model.path, path, ["--quiet", *model.pins()])
            best = [max(r) for r in zip(*([rate(path, model.example, *case, options.seconds) for case in CASES]
                                          for _ in range(options.rounds)))]
        for (sessions, threads, busy), runs in zip(CASES, best):
            print(f"{model.name:16} {sessions:8} {threads:7} {'yes' if busy else 'no':4} {runs:7.1f}", flush=True)


if __name__ == "__main__":
    main()
