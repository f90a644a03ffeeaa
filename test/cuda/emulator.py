#!/usr/bin/env python3
"""The emulator of GPU threads itself: it accepts kernels that keep the rules, and names what others break.

The kernels are in emulator.c. Ends with `N passed, N failed`.
"""
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
SIMT = os.path.join(HERE, "..", "support", "simt", "simt.c")
# What the emulator says; nothing where the kernel is right.
CASES = {
    "copies": "", "zeros_from_outside": "", "matrix": "",
    "missing_wait": "asynchronous copy has not arrived", "wait_for_older_group": "asynchronous copy has not arrived",
    "not_committed": "asynchronous copy has not arrived",
    # Whether the neighbour's copy is seen before or after it arrives depends on who runs first.
    "missing_barrier": "race", "overwritten_while_read": "race: writes shared memory that another thread reads",
    "copy_outside_of_shared": "not shared memory", "copy_outside_of_buffer": "reads outside of all buffers",
    "misaligned_copy": "misaligned asynchronous copy", "misaligned_matrix": "misaligned row of a matrix",
    "matrix_outside": "outside of the shared memory", "matrix_of_own_write": "race: reads what another thread has just written",
    "lanes_apart": "different operations of the warp", "lane_missing": "lane that never comes",
    "barrier_missing": "barrier that another thread never reaches",
    "product": "", "product_not_fenced": "has not fenced", "product_without_barrier": "race: reads what another thread has just written",
    "product_not_waited_for": "race: writes what a product reads", "product_of_others": "different operands",
    "product_not_swizzled": "mode of swizzling", "product_outside": "outside of the shared memory", "product_shifted": "pattern of swizzling",
}


def main():
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        program = os.path.join(folder, "emulator")
        subprocess.run(["/usr/lib/llvm-22/bin/clang", "-O1", "-Wall", os.path.join(HERE, "emulator.c"), SIMT, "-o", program], check=True)
        for name, message in CASES.items():
            done = subprocess.run([program, name], capture_output=True, text=True)
            good = message in done.stderr and (done.returncode == 0) == (not message)
            failed += not good
            if not good:
                print(f"FAIL  {name}: exit {done.returncode}: {done.stderr.strip()[:200]}")
    print(f"{len(CASES) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
