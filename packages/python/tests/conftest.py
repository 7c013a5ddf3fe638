"""The mock provider, in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from support import CASES, ROOT, Mock, table_lines

# A process that was started in the background has Ctrl-C ignored, and so would those that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def mock() -> Iterator[Mock]:
    with started("--cases", str(CASES)) as mock:
        yield mock


@pytest.fixture(scope="session")
def secure_mock() -> Iterator[Mock]:
    """One that speaks TLS with a certificate that nobody vouches for."""
    with started("--tls") as mock:
        yield mock


@pytest.fixture
def environment(mock: Mock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Key and address come from the usual variables."""
    for name, value in mock.environment().items():
        monkeypatch.setenv(name, value)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.ensure_newline()
    for line in table_lines():
        terminalreporter.write_line(line)


@contextmanager
def started(*arguments: str) -> Iterator[Mock]:
    command = os.environ.get("LITERLLM_BIN", str(ROOT / "target" / "release" / "literllm"))
    process = subprocess.Popen(
        [command, "mock", "--port", "0", "--exit-with-stdin", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin
    assert process.stdout
    yield Mock(process.stdout.readline().strip())
    process.stdin.close()
    process.wait(10)
