"""Runs the clients side by side: run.py MOCK NAME=PYTHON… prints one JSON object a client. Rounds are interleaved."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path

ROUNDS = 7
STREAMS = 5
FIRST = 200


class Client:
    def __init__(self, name: str, python: str, mock: str) -> None:
        self.name = name
        self.process = subprocess.Popen(
            [python, str(Path(__file__).with_name("clients.py")), name, mock],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.answer()

    def answer(self) -> float:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended")
        value = json.loads(line)
        return 0.0 if value == "ready" else float(value)

    def ask(self, command: str) -> float:
        assert self.process.stdin
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self.answer()


def main(mock: str, pairs: list[str]) -> None:
    clients = []
    for pair in pairs:
        name, python = pair.split("=", 1)
        try:
            client = Client(name, python, mock)
            client.ask("chunks 1")
        except RuntimeError as problem:
            print(f"skipped: {problem}", file=sys.stderr)
            continue
        clients.append(client)
    rounds: dict[str, list[float]] = {client.name: [] for client in clients}
    for _ in range(ROUNDS):
        for client in clients:
            rounds[client.name].append(client.ask(f"chunks {STREAMS}"))
    for client in clients:
        row: dict[str, object] = {"client": client.name, "cpu_us_per_chunk": round(statistics.median(rounds[client.name]), 2)}
        row["ttft_us"] = round(client.ask(f"first {FIRST}"))
        row["rss_mib"] = round(client.ask("memory"), 1)
        if client.name == "literllm-python":
            row["paced_1000_wall_over_ideal"] = round(client.ask("paced 1000 5.0"), 3)
            row["paced_1000_rss_mib"] = round(client.ask("memory"), 1)
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
