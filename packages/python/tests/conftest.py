"""The mock provider, in a process of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest
from support import CASES, ROOT, Mock


@pytest.fixture(scope="session")
def mock() -> Iterator[Mock]:
    command = os.environ.get("LITERLLM_BIN", str(ROOT / "target" / "release" / "literllm"))
    process = subprocess.Popen(
        [command, "mock", "--port", "0", "--exit-with-stdin", "--cases", str(CASES)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin
    assert process.stdout
    yield Mock(process.stdout.readline().strip())
    process.stdin.close()
    process.wait(10)
