"""What the Python drivers share: running cases one after the other and reporting them to the runner.

A driver prints one JSON line per case on standard output: {"case": name, "ok": bool, "seconds": s, "detail": text}.
`restart_broker()` asks the runner to restart the broker and returns when the new one answers.
"""
import json, sys, time, traceback, uuid


def unique(prefix):
    return f"{prefix}-{uuid.uuid4().hex[:10]}"


def same(got, want, what="value"):
    assert got == want, f"{what}: got {str(got)[:300]!r}, expected {str(want)[:300]!r}"


def restart_broker():
    print(json.dumps({"ask": "restart"}), flush=True)
    answer = sys.stdin.readline().strip()
    assert answer == "restarted", f"the runner said {answer!r}"


def run(cases, only):
    for name, case in cases.items():
        if only and name not in only:
            continue
        began = time.monotonic()
        result = {"case": name, "ok": True, "detail": ""}
        try:
            case()
        except BaseException:
            result |= {"ok": False, "detail": traceback.format_exc(limit=4)[-1500:]}
        print(json.dumps(result | {"seconds": round(time.monotonic() - began, 2)}), flush=True)
