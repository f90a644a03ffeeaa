"""The main program of tests that draw random cases by seed."""
import argparse
import tempfile


def main(doc, kinds, count, run, add_arguments=None):
    """Runs `count` seeds of each kind: run(seed, kind, folder, arguments) returns messages, none where all is well.

    Ends with `N passed, N failed`; returns the exit status.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=count, help="cases of each kind")
    if len(kinds) > 1:
        parser.add_argument("--only", choices=sorted(kinds))
    if add_arguments:
        add_arguments(parser)
    arguments = parser.parse_args()
    passed = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for kind in [arguments.only] if getattr(arguments, "only", None) else kinds:
            for seed in range(arguments.seed, arguments.seed + arguments.count):
                errors = run(seed, kind, folder, arguments)
                for error in errors:
                    print(error, flush=True)
                passed, failed = passed + (not errors), failed + bool(errors)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0
