"""A study's server in a process of its own, and clients of it."""

import contextlib
import json
import subprocess
import sys

import httpx
from conftest import REPOSITORY

LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
from hyperfitting.commands.preference_serve import main
sys.exit(main(sys.argv[1:]))
"""


class Server:
    """`hyperfitting preference serve` on a free port, or on `port`; `said` are the lines until it serves."""

    def __init__(self, folder, *words, port=0, limit=None):
        command = ["-m", "hyperfitting.commands.preference_serve"]
        command = command if limit is None else ["-c", LIMITED.format(limit=limit)]
        self.process = subprocess.Popen(
            [sys.executable, *command, str(folder), "--port", str(port), *map(str, words)],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.said = []
        for line in self.process.stdout:
            self.said.append(line)
            if line.startswith("serving at "):
                self.url = line.split()[2].rstrip(";")
                break
        else:
            raise AssertionError("".join(self.said))
        self.port = int(self.url.rstrip("/").rpartition(":")[2])

    def client(self, secret=None, **headers):
        if secret is not None:
            headers["Authorization"] = f"Bearer {secret}"
        return Client(httpx.Client(base_url=self.url, headers=headers, timeout=30, trust_env=False, verify=False))

    def end(self):
        """SIGTERM; (exit code, what it said after it served)."""
        self.process.terminate()
        said = self.process.communicate(timeout=30)[0]
        return self.process.returncode, said

    def kill(self):
        self.process.kill()
        self.process.communicate()


@contextlib.contextmanager
def serving(folder, *words, **options):
    server = Server(folder, *words, **options)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.kill()


class Client:
    """One annotator's requests; `bytes` is all that ever came back, headers too."""

    def __init__(self, http):
        self.http, self.bytes = http, b""

    def page(self):
        return self._kept(self.http.get("/"))

    def post(self, path, body=None, content=None, **headers):
        headers = {"Content-Type": "application/json", **headers}
        content = json.dumps({} if body is None else body) if content is None else content
        return self._kept(self.http.post(f"/api/{path}", content=content, headers=headers))

    def vote(self, assignment, choice="A", **more):
        return self.post("vote", {"assignment": assignment, "choice": choice, **more})

    def _kept(self, answer):
        head = "".join(f"{name}: {value}\n" for name, value in answer.headers.multi_items())
        self.bytes += head.encode() + answer.content
        return answer
