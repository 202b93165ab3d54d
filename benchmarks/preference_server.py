"""The server of a study with many annotators at once: votes a second, and how long a vote takes.

    OMP_NUM_THREADS=1 python benchmarks/preference_server.py

A real server process on loopback, and clients that vote without reading: each gives its next vote as soon as the last one is
acknowledged, so that as many votes are under way at any time as there are clients. People give one in half a minute. Every round serves a
study of its own, and after it every acknowledged vote must be in the database once.
"""

import argparse
import asyncio
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
from common import median_range, report

from hyperfitting.preference.study import Assignment, Pair, Study

WORDS = (
    "the a small old red boat dog girl king tree ran slept found lost sang over under with near and then soon".split()
)


def make_study(folder: Path, clients: int, votes: int) -> Study:
    """Each client is asked about `votes` pairs of two texts of 256 words."""
    draw = random.Random(0)
    texts = [" ".join(draw.choices(WORDS, k=256)) for _ in range(2 * votes)]
    pairs = [
        Pair("one", "two", "words", str(n), 256, texts[n][:200], texts[2 * n], texts[2 * n + 1]) for n in range(votes)
    ]
    own = [Assignment(pair, pair % 2 == 1, "vote") for pair in range(votes)]
    return Study.create(folder, pairs, [own] * clients, {})


def start(study: Study) -> tuple[subprocess.Popen, int]:
    command = [sys.executable, "-m", "hyperfitting.commands.preference_serve", str(study.folder), "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    for line in server.stdout:
        if line.startswith("serving at "):
            return server, int(line.split()[2].strip("/;").rpartition(":")[2])
    raise SystemExit("the server did not start")


class Client:
    """One annotator on one connection that stays open."""

    def __init__(self, port: int, secret: str):
        self.port, self.secret, self.seconds, self.voted = port, secret, [], []

    async def post(self, path: str, body: dict) -> dict:
        content = json.dumps(body)
        head = [f"POST /api/{path} HTTP/1.1", f"Host: 127.0.0.1:{self.port}", f"Authorization: Bearer {self.secret}"]
        head += ["Content-Type: application/json", f"Content-Length: {len(content)}", "", content]
        self.writer.write("\r\n".join(head).encode())
        answer = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        assert answer.startswith(b"http/1.1 200"), answer
        return json.loads(await self.reader.readexactly(int(answer.split(b"content-length:")[1].split(b"\r")[0])))

    async def connect(self) -> None:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 20)
        self.state = await self.post("consent", {})

    async def vote(self) -> None:
        while item := self.state["item"]:
            begun = time.perf_counter()
            ballot = {"assignment": item["assignment"], "choice": "A", "strength": None, "comment": "", "seconds": 12.3}
            self.state = await self.post("vote", ballot)
            self.seconds.append(time.perf_counter() - begun)
            self.voted.append(item["assignment"])
        self.writer.close()


async def run_clients(port: int, secrets: list[str]) -> tuple[float, list[Client]]:
    """(seconds, clients) of all their votes; they connect before the clock starts."""
    clients = [Client(port, secret) for secret in secrets]
    await asyncio.gather(*(client.connect() for client in clients))
    begun = time.perf_counter()
    await asyncio.gather(*(client.vote() for client in clients))
    return time.perf_counter() - begun, clients


def measure(clients: int, votes: int) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        study = make_study(Path(folder) / "study", clients, votes)
        server, port = start(study)
        try:
            seconds, done = asyncio.run(run_clients(port, [one.secret for one in study.annotators()]))
            used = psutil.Process(server.pid).cpu_times()
        finally:
            server.terminate()
            server.communicate()
        acknowledged = [assignment for client in done for assignment in client.voted]
        assert len(acknowledged) == len(set(acknowledged)) == len(study.votes()) == clients * votes
        latencies = np.array([second for client in done for second in client.seconds])
    return {
        "votes_per_second": len(acknowledged) / seconds,
        "p50_ms": float(np.quantile(latencies, 0.5)) * 1000,
        "p99_ms": float(np.quantile(latencies, 0.99)) * 1000,
        "server_cpu_ms": (used.user + used.system) / len(acknowledged) * 1000,
        "votes": len(acknowledged),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 20, 200])
    parser.add_argument("--votes", type=int, default=20, help="of each client")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    measured = {clients: [] for clients in args.clients}
    for _ in range(args.rounds):
        for clients in args.clients:
            measured[clients].append(measure(clients, args.votes))
    rows = [
        [f"{clients:,}", f"{rounds[0]['votes']:,}"]
        + [
            median_range([one[key] for one in rounds], digits)
            for key, digits in (("votes_per_second", 0), ("p50_ms", 1), ("p99_ms", 1), ("server_cpu_ms", 1))
        ]
        for clients, rounds in measured.items()
    ]
    columns = ["clients at once", "votes", "votes/s", "median, ms", "p99, ms", "server's CPU ms/vote"]
    report(
        "preference-server", "Votes on a study's server, each synced to the disk", columns, rows, {"rounds": measured}
    )


if __name__ == "__main__":
    main()
