#!/usr/bin/env python3
"""A session with nnopt-lsp-server, as an editor has it: initialize, a good file, a file with an error, shutdown.

Ends with `N passed, N failed`.
"""
import json
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("NNOPT_BUILD", os.path.join(ROOT, "build"))
GOOD = """func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = nn.relu %x : (tensor<4xf32>) -> tensor<4xf32>
  return %0 : tensor<4xf32>
}
"""
BAD = GOOD.replace("nn.relu", "nn.rellu")


class Server:
    def __init__(self):
        self.process = subprocess.Popen([os.path.join(BUILD, "bin", "nnopt-lsp-server")], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.count = 0

    def send(self, method, params, request=True):
        message = {"jsonrpc": "2.0", "method": method, "params": params}
        if request:
            self.count += 1
            message["id"] = self.count
        data = json.dumps(message).encode()
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(data) + data)
        self.process.stdin.flush()

    def receive(self):
        length = 0
        while (line := self.process.stdout.readline().strip()):
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        return json.loads(self.process.stdout.read(length)) if length else None

    def open(self, name, text):
        """Diagnostics of a file."""
        uri = f"file:///{name}"
        self.send("textDocument/didOpen", {"textDocument": {"uri": uri, "languageId": "mlir", "version": 1, "text": text}},
                  request=False)
        message = self.receive()
        assert message["method"] == "textDocument/publishDiagnostics" and message["params"]["uri"] == uri, message
        return message["params"]["diagnostics"]


def main():
    server, passed, failed = Server(), 0, 0

    def check(name, holds):
        nonlocal passed, failed
        passed, failed = passed + bool(holds), failed + (not holds)
        if not holds:
            print(f"FAIL  {name}")

    server.send("initialize", {"processId": None, "rootUri": None, "capabilities": {}})
    answer = server.receive()
    check("initialize", answer["id"] == 1 and answer["result"]["capabilities"].get("hoverProvider"))
    server.send("initialized", {}, request=False)
    check("a good file has no diagnostics", server.open("good.mlir", GOOD) == [])
    diagnostics = server.open("bad.mlir", BAD)
    check("an unknown operation is reported", diagnostics and "nn.rellu" in diagnostics[0]["message"])
    server.send("textDocument/hover", {"textDocument": {"uri": "file:///good.mlir"}, "position": {"line": 1, "character": 9}})
    hover = server.receive()
    check("hover knows the operation", "nn.relu" in json.dumps(hover.get("result")))
    server.send("shutdown", None)
    check("shutdown", "result" in server.receive())
    server.send("exit", None, request=False)
    check("exit", server.process.wait(timeout=60) == 0)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
