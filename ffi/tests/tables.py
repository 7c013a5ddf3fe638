"""Runs the tables that every language runs, the conformance cases, the faults and the recovery, through each form of the C ABI.

tables.py REPLAY MOCK_URL LITERLLM: REPLAY is replay.c's program, LITERLLM the command.
"""

import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent / "core" / "conformance"
FORMS = ("callback", "blocking", "pull")
CANCELLABLE = ("callback", "pull")
# A hundred milliseconds are promised; a noisy machine has ten times that.
AT_ONCE = 1
TEXT = "one two three four five six seven eight nine ten eleven twelve"


def replay(program, form, config, request, cancel_when=None):
    """The chunks, and the answer and the error, one of which is None. The call is cancelled when `cancel_when` returns."""
    arguments = [program, form, json.dumps(config), json.dumps(request), *(["cancel"] if cancel_when else [])]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as run:
        if cancel_when:
            cancel_when()
        began = time.monotonic()
        output, _ = run.communicate(timeout=120)
    assert run.returncode == 0, f"replay ended with {run.returncode}"
    assert not cancel_when or time.monotonic() - began < AT_ONCE, f"it ended after {time.monotonic() - began} s"
    lines = [json.loads(line) for line in output.splitlines()]
    return lines[:-2], lines[-2], lines[-1]


def conformance(program, mock):
    for folder in sorted(ROOT.glob("*/*/")):
        name = f"{folder.parent.name}/{folder.name}"
        config = json.loads((folder.parent / "client.json").read_text().replace("{MOCK}", mock))
        config.setdefault("headers", {})["x-mock"] = f"case={name}"
        config["max_retries"] = 0
        request = json.loads((folder / "request.json").read_text())
        should = json.loads((folder / "expected.json").read_text())
        for form in FORMS:
            chunks, _, error = replay(program, form, config, request)
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
    chunks, _, error = replay(program, form, config, row.get("request", story))
    expect = row["expect"]
    choices = [choice for chunk in chunks for choice in chunk["choices"][:1]]
    text = "".join(choice["delta"].get("content") or "" for choice in choices)
    reasons = [choice["finish_reason"] for choice in choices if choice["finish_reason"]]
    if (error and error["kind"]) != expect["kind"] or text != expect.get("text", text):
        return f"{error} after {text!r}"
    if "finish_reason" in expect and reasons != [expect["finish_reason"]]:
        return f"finish {reasons}"
    if "requests" in expect:
        seen = len(ask(mock, f"log?id={name}"))
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


def recovery(program, mock, secure):
    for row in json.loads((ROOT / "recovery.json").read_text()):
        for form in FORMS if "cancel_after" not in row else CANCELLABLE:
            yield f"{row['name']} ({form})", recovered(program, mock, secure, form, row)


def recovered(program, mock, secure, form, row):
    """What is wrong, or None."""
    ids = [f"c-{form}-{row['name'].replace(' ', '-')}-{number}" for number in range(len(row["models"]))]
    config = {
        "api_keys": {"openai": "test-key-1234"},
        "base_urls": {
            "openai": f"{mock}/v1",
            "refused": "http://127.0.0.1:9/v1",
            "unknown_host": "http://no-such-host.invalid/v1",
            "untrusted": f"{secure}/v1",
        },
        "hosts": [
            *({"name": name, "base_url": ""} for name in ("refused", "unknown_host", "untrusted")),
            {"name": "no_key", "base_url": "http://127.0.0.1:9/v1", "key_vars": ["LITERLLM_TEST_NO_SUCH_KEY"]},
        ],
        "cooldown": 0,
        **row.get("config", {}),
    }
    request = {
        "model": [model(route, id) for route, id in zip(row["models"], ids)],
        "messages": [{"role": "user", "content": "Count"}],
    }
    if "mode" in row:
        request["stream_fallback_mode"] = row["mode"]
    if "format" in row:
        request["response_format"] = {"type": row["format"]}
    expect, last = row["expect"], row.get("cancel_after")
    answered = None if last is None else lambda: ask(mock, f"wait?id={ids[last]}&event=done&timeout_ms=20000")
    chunks, answer, error = replay(program, form, config, request, answered)
    if (error and error["kind"]) != expect.get("kind"):
        return f"ended with {error}"
    if last is not None:
        seen = [[request["outcome"] for request in ask(mock, f"log?id={id}")] for id in ids]
        if any(len(of) != (at <= last) or "open" in of for at, of in enumerate(seen)):
            return f"the mock saw {seen}"
    if error:
        return failed_as(expect, error)
    events = [chunk["literllm"] for chunk in chunks if "literllm" in chunk]
    message = answer["choices"][0]["message"]
    should = expect.get("text", "").replace("{T}", TEXT)
    is_text = (shown(chunks), message.get("content") or "")
    if is_text != (should, should):
        return f"text {is_text}"
    if "tools" in expect and [call["function"]["arguments"] for call in message.get("tool_calls", [])] != expect["tools"]:
        return f"tool calls {message}"
    last = events[-1] if events else {}
    for field in ("event", "reason", "mode", "kept"):
        if field in expect and last.get(field) != expect[field]:
            return f"{field}: {events}"
    attempts = answer["literllm"]["attempts"]
    if "legs" in expect and len(attempts) != expect["legs"]:
        return f"attempts {attempts}"
    # Whatever happened, the stream is one.
    if len({(chunk["id"], chunk["model"], chunk["created"]) for chunk in chunks}) != 1:
        return "its identity changes"
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    roles = sum("role" in choice["delta"] for choice in choices)
    finishes = sum(choice["finish_reason"] is not None for choice in choices)
    return None if (roles, finishes) == (1, 1) else f"{roles} role chunks, {finishes} finish chunks"


def failed_as(expect, error):
    if "causes" in expect and [cause["kind"] for cause in error["causes"]] != expect["causes"]:
        return f"causes {error}"
    partial = error["partial"] and error["partial"]["choices"][0]["message"]
    if "partial" in expect and (partial or {}).get("content") != expect["partial"]:
        return f"partial {partial}"
    if "partial_tools" in expect and len((partial or {}).get("tool_calls", [])) != expect["partial_tools"]:
        return f"partial {partial}"
    return None


def ask(mock, path):
    with urllib.request.urlopen(f"{mock}/_mock/{path}") as answer:
        return json.load(answer)


def model(route, id):
    """A route of the table as a model's name. The mock counts by its id which request is the first."""
    if route == "@unknown_provider":
        return "nowhere/demo"
    if route.startswith("@"):
        return f"{route[1:]}/demo"
    return f"openai/demo?id={id}&{route.replace('{T}', TEXT.replace(' ', '%20'))}"


def shown(chunks):
    """What a consumer that minds resets has in the end."""
    text = ""
    for chunk in chunks:
        if chunk.get("literllm", {}).get("event") == "reset":
            text = ""
        text += "".join(choice["delta"].get("content") or "" for choice in chunk["choices"])
    return text


def main():
    program, mock, command = sys.argv[1:]
    # A second one, whose certificate nobody vouches for. It stops when its stdin closes.
    untrusted = subprocess.Popen(
        [command, "mock", "--tls", "--exit-with-stdin"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    secure = untrusted.stdout.readline().strip()
    passed, failed = 0, 0
    tables = {
        "conformance": conformance(program, mock),
        "faults": faults(program, mock),
        "recovery": recovery(program, mock, secure),
    }
    for table, rows in tables.items():
        results = list(rows)
        wrong = [(name, what) for name, what in results if what]
        for name, what in wrong:
            print(f"FAILED: {name}: {what}")
        if table == "recovery":
            for name, what in results:
                print(f"row: c|{'wrong' if what else 'ok'}|{name.rpartition(' (')[0]}")
        passed, failed = passed + len(results) - len(wrong), failed + len(wrong)
        scenarios = len({name.rpartition(" (")[0] for name, _ in results})
        print(f"table: {table}, {scenarios} scenarios through c in {len(FORMS)} forms, {len(wrong)} wrong")
    untrusted.stdin.close()
    untrusted.wait()
    print(f"tables: {passed} passed, {failed} failed")
    sys.exit(failed > 0)


main()
