"""Work in forked children, so that a signal is a result; and the compiler inside of them."""
import ctypes
import os
import pickle
import signal

from nnopt import BUILD

_library = None


def call(function, *arguments, timeout=60):
    """Calls function in a forked child: ("done", its result), ("raised", message), ("crash", signal) or ("timeout", "")."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(timeout)
            result = ("done", function(*arguments))
        except BaseException as e:
            result = ("raised", f"{type(e).__name__}: {e}")
        with os.fdopen(write, "wb") as f:
            pickle.dump(result, f)
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as f:
        data = f.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return ("timeout", "") if number == signal.SIGALRM else ("crash", signal.Signals(number).name)
    return pickle.loads(data) if data else ("crash", f"exit {os.waitstatus_to_exitcode(status)}")


def load_compiler():
    """Loads the compiler, once; children that are forked later have it."""
    global _library
    if _library is None:
        _library = ctypes.CDLL(os.path.join(BUILD, "lib", "libnnopt_test_compile.so"))
    return _library


def compile(model, output, level, emit="lib"):
    """nnopt-compile in this process, which should be a child: (exit code, messages). `emit` is "lib" or "nn". What a
    defect leaves behind goes to the folder of `output`."""
    os.chdir(os.path.dirname(output))
    log = output + ".log"
    saved = os.dup(2)
    with open(log, "wb") as f:
        os.dup2(f.fileno(), 2)
    try:
        code = load_compiler().nnopt_test_compile(os.fsencode(model), os.fsencode(output), level, os.fsencode(emit))
    finally:
        os.dup2(saved, 2)
        os.close(saved)
    with open(log, errors="replace") as f:
        return code, f.read()
