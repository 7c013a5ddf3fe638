"""Runs the tables that every language runs, the conformance cases and the faults, through each form of the C ABI.

tables.py REPLAY MOCK_URL: REPLAY is replay.c's program.
"""

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent / "core" / "conformance"
FORMS = ("callback", "blocking", "pull")


def replay(program, form, config, request):
    """The chunks, and the error or None."""
    run = subprocess.run(
        [program, form, json.dumps(config), json.dumps(request)], stdout=subprocess.PIPE, timeout=120, check=True
    )
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    return lines[:-1], lines[-1]


def conformance(program, mock):
    for folder in sorted(ROOT.glob("*/*/")):
        name = f"{folder.parent.name}/{folder.name}"
        config = json.loads((folder.parent / "client.json").read_text().replace("{MOCK}", mock))
        config.setdefault("headers", {})["x-mock"] = f"case={name}"
        config["max_retries"] = 0
        request = json.loads((folder / "request.json").read_text())
        should = json.loads((folder / "expected.json").read_text())
        for form in FORMS:
            chunks, error = replay(program, form, config, request)
            answer = {"chunks": chunks, "error": error and {"kind": error["kind"]}}
            yield f"{name} ({form})", None if answer == should else f"{json.dumps(answer)}, error {error}"


def faults(program, mock):
    for number, row in enumerate(json.loads((ROOT / "faults.json").read_text())):
        for form in FORMS:
            yield f"{row['name']} ({form})", fault(program, mock, form, f"c-fault-{number}-{form}", row)


def fault(program, mock, form, name, row):
    """What is wrong, or None."""
    config = {
        "api_keys": {"openai": "test-key-1234"},
        "base_urls": {"openai": f"{mock}/v1"},
        "headers": {"x-mock": f"id={name}; {row['mock']}"},
        "max_retries": 0,
        **row.get("config", {}),
    }
    story = {"model": "openai/demo", "messages": [{"role": "user", "content": "Tell me a story"}]}
    chunks, error = replay(program, form, config, row.get("request", story))
    expect = row["expect"]
    choices = [choice for chunk in chunks for choice in chunk["choices"][:1]]
    text = "".join(choice["delta"].get("content") or "" for choice in choices)
    reasons = [choice["finish_reason"] for choice in choices if choice["finish_reason"]]
    if (error and error["kind"]) != expect["kind"] or text != expect.get("text", text):
        return f"{error} after {text!r}"
    if "finish_reason" in expect and reasons != [expect["finish_reason"]]:
        return f"finish {reasons}"
    if "requests" in expect:
        with urllib.request.urlopen(f"{mock}/_mock/log?id={name}") as log:
            seen = len(json.load(log))
        if seen != expect["requests"]:
            return f"{seen} requests"
    if error is None:
        return None
    partial = error["partial"]
    if (expect["when"] == "call") != (not chunks) or (partial is not None) != expect["partial"]:
        return f"{len(chunks)} chunks, partial {partial}"
    if partial and (partial["choices"][0]["message"].get("content") or "") != text:
        return f"partial {partial} of {text!r}"
    for field in ("status", "retry_after"):
        if field in expect and error[field] != expect[field]:
            return f"{field} {error[field]}"
    return "the key is in the message" if "test-key-1234" in error["message"] else None


def main():
    program, mock = sys.argv[1:]
    passed, failed = 0, 0
    for name, wrong in [*conformance(program, mock), *faults(program, mock)]:
        if wrong:
            print(f"FAILED: {name}: {wrong}")
            failed += 1
        else:
            passed += 1
    print(f"tables: {passed} passed, {failed} failed")
    sys.exit(failed > 0)


main()
