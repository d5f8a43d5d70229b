#!/usr/bin/env python3
"""Runs the Autobahn test suite against a WebSocket echo server.

    test/autobahn/run.py ws://127.0.0.1:9001/debug/echo
    test/autobahn/run.py ws://127.0.0.1:9001/debug/echo --cases '1.*,6.4.*' --report out/
    test/autobahn/run.py ws://127.0.0.1:9001/debug/echo --exclude '12.*,13.*'

All of it takes about eight minutes, nearly all of them for compression (12.* and
13.*, a thousand messages a case). Without those it is 12 seconds; '12.*.2' and
'13.*.2' are a sample of them for another 3.

The suite (wstest) is Python 2.7 and was never ported, so a Python 2.7 must be
there ("pyenv install 2.7.18", or the package python2.7 where there still is
one). Everything else is installed on the first run, with the versions of
requirements.txt, into a folder of its own in the user's cache.

Standard output has the failing cases and one line of counts. Exit codes: 0 all
passed, 1 a case failed, 2 wrong arguments, 4 the suite could not be run.
"""

import argparse
import ast
import glob
import hashlib
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
REQUIREMENTS = HERE / "requirements.txt"

# The last release of virtualenv that makes environments for Python 2.7.
BOOTSTRAP = ["virtualenv==20.21.1", "distlib==0.4.4", "filelock==3.32.7", "platformdirs==3.11.0"]

PASSED = {"OK", "INFORMATIONAL"}


class CannotRun(Exception):
    """The suite cannot be installed or run; the text says what to do."""


def is_python2(command):
    try:
        out = subprocess.run([command, "-c", "import sys; print(sys.version_info[:2] == (2, 7))"],
                             capture_output=True, text=True, check=False)
    except OSError:
        return False
    return out.stdout.strip() == "True"


def find_python2():
    """A Python 2.7: $PYTHON2, one on the path, or one of pyenv's."""
    root = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
    candidates = [os.environ.get("PYTHON2"), shutil.which("python2.7"), shutil.which("python2")]
    candidates += sorted(glob.glob(os.path.join(root, "versions", "2.7.*", "bin", "python2.7")))
    for c in candidates:
        if c and is_python2(c):
            return c
    raise CannotRun("no Python 2.7 was found; install one (pyenv install 2.7.18) or name it: PYTHON2=/path/to/python2.7")


def quiet(command, what):
    """Runs a command and shows what it said only when it failed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CannotRun(f"{what} failed: {shlex.join(map(str, command))}\n{done.stdout}{done.stderr}")


def install():
    """Installs wstest once and gives its path. Changed versions make a new folder."""
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    stamp = hashlib.sha256(REQUIREMENTS.read_bytes() + " ".join(BOOTSTRAP).encode()).hexdigest()[:12]
    home = cache / "skein" / f"autobahn-{stamp}"
    wstest = home / "suite" / "bin" / "wstest"
    if (home / "complete").exists():
        return wstest
    python2 = find_python2()
    print(f"installing the Autobahn test suite into {home} ...", file=sys.stderr)
    shutil.rmtree(home, ignore_errors=True)
    tools = home / "tools"
    quiet([sys.executable, "-m", "venv", tools], "making a Python 3 environment")
    quiet([tools / "bin" / "pip", "install", *BOOTSTRAP], "installing virtualenv")
    quiet([tools / "bin" / "virtualenv", "-p", python2, home / "suite"], "making a Python 2.7 environment")
    quiet([home / "suite" / "bin" / "pip", "install", "--no-deps", "-r", REQUIREMENTS], "installing wstest")
    quiet([wstest, "--help"], "wstest")
    (home / "complete").touch()
    return wstest


def run_suite(wstest, url, cases, exclude, report, limit):
    """Runs wstest; gives the cases it meant to run and its results, case id -> result."""
    spec = {
        "outdir": str(report),
        "servers": [{"agent": "server", "url": url}],
        "cases": cases,
        "exclude-cases": exclude,
        "exclude-agent-cases": {},
    }
    report.mkdir(parents=True, exist_ok=True)
    index = report / "index.json"
    index.unlink(missing_ok=True)
    log = report / "wstest.log"
    with tempfile.NamedTemporaryFile("w", suffix=".json") as f, open(log, "wb") as out:
        json.dump(spec, f)
        f.flush()
        wait(subprocess.Popen([wstest, "-m", "fuzzingclient", "-s", f.name], stdout=out, stderr=out), log, limit)
    if not index.exists():
        raise CannotRun(f"wstest made no report; see {log}")
    return chosen(log), json.loads(index.read_text(encoding="utf-8")).get("server", {})


def wait(suite, log, limit):
    """Waits for wstest, which would wait for ever when no case matches."""
    end = time.monotonic() + limit
    try:
        while True:
            try:
                code = suite.wait(timeout=1)
                break
            except subprocess.TimeoutExpired:
                if time.monotonic() > end:
                    raise CannotRun(f"wstest was not done after {limit} s; see {log}") from None
                if "Cases = []" in log.read_text(encoding="utf-8", errors="replace"):
                    raise CannotRun("no case matches the patterns") from None
    finally:
        suite.kill()
        suite.wait()
    if code != 0:
        raise CannotRun(f"wstest ended with {code}; see {log}")


def chosen(log):
    """The cases that the patterns stood for. wstest ends without an error when the
    server goes away half-way, so only this tells which cases are missing."""
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("Cases = "):
            return ast.literal_eval(line.removeprefix("Cases = "))
    raise CannotRun(f"wstest did not say which cases it runs; see {log}")


def judge(cases, results, compression):
    """Sorts the cases: passed, not applicable, and failed with the reason."""
    passed, unimplemented, failed = [], [], []
    for case in cases:
        r = results.get(case)
        if r is None:
            failed.append((case, "not run, the server could not be reached"))
        elif r["behavior"] == "UNIMPLEMENTED" and not compression and case.split(".")[0] in ("12", "13"):
            unimplemented.append(case)
        elif r["behavior"] in PASSED and r["behaviorClose"] in PASSED:
            passed.append(case)
        else:
            failed.append((case, f"{r['behavior']}, close {r['behaviorClose']} ({r.get('remoteCloseCode')})"))
    return passed, unimplemented, failed


def patterns(text):
    return [p for p in (p.strip() for p in text.split(",")) if p]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("url", help="the echo server, ws://host:port/path; it must take messages of 16 MiB")
    p.add_argument("--cases", type=patterns, default=["*"], help="case numbers and patterns, separated by commas (all)")
    p.add_argument("--exclude", type=patterns, default=[], help="cases to leave out, in the same form (none)")
    p.add_argument("--no-compression", action="store_true", help="the server has permessage-deflate switched off: 12.* and 13.* may be UNIMPLEMENTED")
    p.add_argument("--report", type=pathlib.Path, help="folder for the report in HTML and JSON (a new one in the temp folder)")
    p.add_argument("--timeout", type=int, default=1800, help="seconds that the whole run may take (1800)")
    p.add_argument("--wstest", help="an installed wstest to use instead of installing one")
    args = p.parse_args()
    report = (args.report or pathlib.Path(tempfile.mkdtemp(prefix="autobahn-"))).resolve()
    try:
        began = time.monotonic()
        wstest = args.wstest or install()
        print(f"installed or found in {time.monotonic() - began:.0f} s; report: {report / 'index.html'}", file=sys.stderr)
        began = time.monotonic()
        cases, results = run_suite(wstest, args.url, args.cases, args.exclude, report, args.timeout)
        passed, unimplemented, failed = judge(cases, results, not args.no_compression)
        print(f"{len(results)} cases in {time.monotonic() - began:.0f} s", file=sys.stderr)
    except CannotRun as e:
        print(f"run.py: {e}", file=sys.stderr)
        return 4
    for case, why in failed:
        print(f"FAILED {case}: {why}")
    counts = f"{len(passed)} passed, {len(failed)} failed"
    if unimplemented:
        counts += f", {len(unimplemented)} unimplemented (no compression)"
    print(counts)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
