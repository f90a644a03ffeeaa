"""The least time of several runs of one thread, as lib/compress/CompiledGraph.cpp measures it, and of runs that take turns."""
import resource
import time


class LeastTime:
    """`with least: run()`, again and again; then `least.ms`.

    Of runs without a context switch what the wall clock says; where all were interrupted, as long ones on a busy machine are, the
    processor time. That of a short run may be too small in a virtual machine, so its least is no figure to go by.
    """

    def __init__(self):
        self.wall = self.processor = float("inf")

    @staticmethod
    def moment():
        usage = resource.getrusage(resource.RUSAGE_THREAD)
        return usage.ru_nvcsw + usage.ru_nivcsw, time.thread_time(), time.perf_counter()

    def __enter__(self):
        self.begin = self.moment()
        return self

    def __exit__(self, kind, error, trace):
        wall, (switches, processor, _) = time.perf_counter(), self.moment()
        self.processor = min(self.processor, processor - self.begin[1])
        if switches == self.begin[0]:
            self.wall = min(self.wall, wall - self.begin[2])

    @property
    def ms(self):
        return 1e3 * (self.processor if self.wall == float("inf") else self.wall)


def in_turn(steps, seconds=0, turns=1, runs=1):
    """Least milliseconds of each of the functions, called `runs` times in each of so many turns, and for so many seconds, at least."""
    best = [LeastTime() for _ in steps]
    end = time.monotonic() + seconds
    while turns > 0 or time.monotonic() < end:
        turns -= 1
        for least, step in zip(best, steps):
            for _ in range(runs):
                with least:
                    step()
    return [least.ms for least in best]
