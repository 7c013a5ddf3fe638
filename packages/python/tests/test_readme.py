"""The READMEs' examples run as they stand."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from urllib.parse import quote

import pytest
from support import ROOT, Mock

import liter_llm.gate

AUTHOR = '{"name":"Jane Austen"}'
BEFORE = """
import asyncio, os
from dataclasses import dataclass
import liter_llm
from liter_llm import *

client = LlmClient(api_key=os.environ["OPENAI_API_KEY"])
"""


def blocks(readme: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", readme.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def awaits(code: str) -> bool:
    try:
        compile(code, "a README", "exec")
    except SyntaxError:
        return True
    return False


examples = [
    pytest.param(block, id=f"{readme.parent.name}-{at}")
    for readme in (ROOT / "README.md", ROOT / "packages" / "python" / "README.md")
    for at, block in enumerate(blocks(readme))
]


def test_the_examples_are_found() -> None:
    assert len(examples) >= 8


@pytest.mark.parametrize("block", examples)
def test_an_example_runs(mock: Mock, tmp_path: Path, block: str) -> None:
    code = block
    if awaits(block):
        code = "async def main():\n" + textwrap.indent(block, "    ") + "\nasyncio.run(main())\n"
    ast.parse(code)
    environment = {**mock.environment(), "ANTHROPIC_API_KEY": "test-key-1234", "ANTHROPIC_BASE_URL": mock.url}
    if "response_format" in block:
        environment["OPENAI_BASE_URL"] = f"{mock.url}/mock/text={quote(AUTHOR)}/v1"
    done = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", BEFORE + code],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout or "print" not in block


def test_the_readme_names_what_there_is() -> None:
    text = (ROOT / "packages" / "python" / "README.md").read_text("utf-8")
    named = re.findall(r"`([A-Z][A-Za-z]+(?:Error)?)`", text)
    known = {*liter_llm.__all__, *liter_llm.gate.__all__}
    assert [name for name in named if name not in known] == []
