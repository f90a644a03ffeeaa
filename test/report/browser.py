"""Driving a headless Chromium by the WebDriver protocol (https://www.w3.org/TR/webdriver2/), which is plain HTTP.

    with Browser() as page:
        page.open("file:///tmp/report.html")
        page.run("return document.title")
"""
import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request


def missing():
    """The programs that are needed and not there."""
    return [name for name in ("chromium", "chromedriver") if not shutil.which(name)]


class Browser:
    def __init__(self, size=(1440, 900)):
        self.driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                       text=True)
        # "ChromeDriver was started successfully on port 43210."
        for line in self.driver.stdout:
            if found := re.search(r"successfully on port (\d+)", line):
                break
        else:
            raise RuntimeError("chromedriver did not start")
        self.url = f"http://127.0.0.1:{found.group(1)}/session"
        options = {"args": ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage",
                            f"--window-size={size[0]},{size[1]}"]}
        capabilities = {"alwaysMatch": {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}}
        self.url += "/" + self._call("POST", "", {"capabilities": capabilities})["sessionId"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self._call("DELETE", "")
        finally:
            self.driver.kill()
            self.driver.wait()

    def _call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"}, method=method)
        # Never through a proxy.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=120) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(json.load(error)["value"]["message"]) from None

    def open(self, url):
        self._call("POST", "/url", {"url": url})

    def run(self, script, *arguments):
        """The value that JavaScript code returns; its arguments are `arguments`."""
        return self._call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def click(self, selector):
        """Clicks the middle of the first element, as a mouse would."""
        element = self._call("POST", "/element", {"using": "css selector", "value": selector})
        self._call("POST", f"/element/{next(iter(element.values()))}/click", {})

    def type(self, selector, text):
        element = self._call("POST", "/element", {"using": "css selector", "value": selector})
        self._call("POST", f"/element/{next(iter(element.values()))}/value", {"text": text})

    def wait(self, script, seconds=20):
        """Until JavaScript code returns something true, which is returned."""
        end = time.monotonic() + seconds
        while not (value := self.run(script)):
            if time.monotonic() > end:
                raise RuntimeError(f"in vain for {seconds} s: {script}")
            time.sleep(0.05)
        return value

    def messages(self):
        """Console messages since the last call: warnings, errors and uncaught exceptions among them."""
        return [f"{m['level']}: {m['message']}" for m in self._call("POST", "/se/log", {"type": "browser"})]

    def screenshot(self, path):
        import base64
        with open(path, "wb") as stream:
            stream.write(base64.b64decode(self._call("GET", "/screenshot")))
