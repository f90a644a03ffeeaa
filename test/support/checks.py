"""Named checks that are counted, for test programs that go on after one failed."""

passed = failed = 0


def check(name, good, detail=""):
    global passed, failed
    passed, failed = passed + bool(good), failed + (not good)
    if not good:
        print(f"FAILED {name} {detail}")


def finish():
    """Prints `N passed, N failed`; the exit status."""
    print(f"{passed} passed, {failed} failed")
    return failed != 0
