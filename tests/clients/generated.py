#!/usr/bin/env python3
"""Makes clients of the service's OpenAPI document in TypeScript and Python, checks their types, and buys with them.

    ./dev                                # in another terminal
    python3 tests/clients/generated.py   # reads .data/demo.json

`--start target/debug/offers` starts a system of its own instead. What our users generate (openapi-typescript with
openapi-fetch, openapi-python-client) is installed once below target/, in these versions. What a generator complains about
is a failure: mend our document. Exit code 3: one of them cannot be installed, and the other went well.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from system import ROOT, digest, installed, node_with, started

PYTHON = ["openapi-python-client==0.29.1", "ruff==0.17.6"]
NODE = ["openapi-typescript@7.13.0", "openapi-fetch@0.17.0", "typescript@5.9.3"]
RUN_TIMEOUT_S = 120
ANSWER_TIMEOUT_S = 10


class Failed(Exception):
    pass


def run(*command, **options):
    """What it prints."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, **options)
    said = done.stdout + done.stderr
    if done.returncode != 0:
        raise Failed(f"{' '.join(map(str, command))}\n{said}")
    return said


def complains(said):
    return any(word in said.lower() for word in ("warning", "error", "skipping"))


def in_python(python, document, url, offer, place):
    path = {**os.environ, "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"}  # it formats with ruff
    said = run(python, "-m", "openapi_python_client", "generate", "--path", document, "--meta", "none",
               "--output-path", place / "offers_client", env=path)
    if complains(said):
        raise Failed(said)
    return run(python, HERE / "generated_user.py", url, offer, env={**os.environ, "PYTHONPATH": str(place)})


def in_typescript(packages, document, url, offer, place):
    (place / "node_modules").symlink_to(packages / "node_modules")
    (place / "package.json").write_text('{"type": "module"}')
    shutil.copy(HERE / "generated.ts", place)
    programs = packages / "node_modules" / ".bin"
    said = run(programs / "openapi-typescript", document, "-o", place / "api.d.ts")
    if complains(said):
        raise Failed(said)
    run(programs / "tsc", "--strict", "--target", "es2022", "--module", "nodenext", "--noEmitOnError", "generated.ts", cwd=place)
    return run("node", place / "generated.js", url, offer)


def try_all(demo, tools):
    """Whether all went well."""
    demo = json.loads(demo.read_text())
    url, offer = demo["api_url"], demo["offers"][0]
    good = True
    with tempfile.TemporaryDirectory() as directory:
        document = Path(directory) / "openapi.json"
        with urllib.request.urlopen(f"{url}/openapi.json", timeout=ANSWER_TIMEOUT_S) as answer:
            document.write_bytes(answer.read())
        for use, tool in tools.items():
            place = Path(directory) / use.__name__
            place.mkdir()
            try:
                print(f"{use.__name__}: {use(tool, document, url, offer, place).strip()}", flush=True)
            except Failed as failed:
                print(f"{use.__name__}: FAILED: {failed}", flush=True)
                good = False
    return good


def install():
    """The generators that can be had."""
    python = installed(f"openapi-clients-{digest(PYTHON)}", "openapi_python_client", PYTHON)
    node = node_with(f"openapi-clients-{digest(NODE)}", NODE)
    found = {in_python: python, in_typescript: node}
    return {use: tool for use, tool in found.items() if tool}


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("demo", nargs="?", type=Path,
                           default=Path(os.environ.get("OFFERS_DATA_DIR", ROOT / ".data")) / "demo.json")
    arguments.add_argument("--start", type=Path, help="the program `offers`: start a system of its own")
    options = arguments.parse_args()
    tools = install()
    try:
        if options.start:
            with started(options.start.resolve()) as demo:
                good = try_all(demo, tools)
        else:
            good = try_all(options.demo, tools)
    except (FileNotFoundError, urllib.error.URLError) as missing:
        print(f"cannot use {options.demo} ({missing}): start ./dev first", file=sys.stderr)
        sys.exit(2)
    sys.exit(1 if not good else 0 if len(tools) == 2 else 3)


if __name__ == "__main__":
    main()
