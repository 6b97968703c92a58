"""A whole system of its own, and packages of PyPI, for the scripts that try one from outside.

    python3 tests/system.py    # prints a Python that has what docs/examples needs; exit code 3: PyPI is out of reach
"""

import fcntl
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "docs" / "examples" / "requirements.txt"
INSTALL_TIMEOUT_S = 300
START_TIMEOUT_S = 120
STOP_TIMEOUT_S = 60
ANSWER_TIMEOUT_S = 10


def python_with(package, version):
    """The Python of a virtual environment below target/ that has `package`, installed once; None: it cannot be."""
    return installed(f"{package}-{version}", package, [f"{package}=={version}"])


def python_for_examples():
    """The same with all that docs/examples needs."""
    return installed(f"examples-{digest([EXAMPLES.read_text()])}", "cryptography, duckdb, nats", ["-r", EXAMPLES])


def digest(packages):
    """Names an installation: another list is installed elsewhere."""
    return hashlib.sha256(" ".join(packages).encode()).hexdigest()[:12]


def installed(name, modules, packages):
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    place = target / name
    python = place / "bin" / "python"
    steps = [
        [sys.executable, "-m", "venv", "--clear", place],
        [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--retries", "1", "--timeout", "15", *packages],
    ]
    target.mkdir(parents=True, exist_ok=True)
    with open(target / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one of several tests installs
        for step in [] if works([python, "-c", f"import {modules}"]) else steps:
            tried = subprocess.run(step, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S)
            if tried.returncode != 0:
                print(f"{name} cannot be installed: {tried.stdout}{tried.stderr}", file=sys.stderr)
                return None
    return python


def node_with(name, packages):
    """The directory below target/ whose node_modules has `packages`, installed once; None: they cannot be."""
    place = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / name
    if not (works(["node", "--version"]) and works(["npm", "--version"])):
        print(f"{name} cannot be installed: node and npm are missing", file=sys.stderr)
        return None
    options = ["--no-save", "--no-audit", "--no-fund", "--fetch-retries", "1"]
    place.mkdir(parents=True, exist_ok=True)
    with open(place / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "installed").exists():
            install = ["npm", "install", *options, "--prefix", place, *packages]
            tried = subprocess.run(install, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S)
            if tried.returncode != 0:
                print(f"{name} cannot be installed: {tried.stdout}{tried.stderr}", file=sys.stderr)
                return None
            (place / "installed").touch()
    return place


def works(command):
    try:
        return subprocess.run(command, capture_output=True, timeout=INSTALL_TIMEOUT_S).returncode == 0
    except OSError:
        return False


@contextmanager
def started(offers, **variables):
    """Runs `offers dev up` in a directory of its own, with `variables` in its environment; its demo.json."""
    with tempfile.TemporaryDirectory(prefix="offers-outside-") as directory:
        os.chmod(directory, 0o755)  # PostgreSQL may run as another user
        own = {**os.environ, "OFFERS_DATA_DIR": directory, "OFFERS_LISTEN": "127.0.0.1:0", **variables}
        said = Path(directory) / "said"
        with said.open("w") as output:
            system = subprocess.Popen([offers, "dev", "up"], env=own, stdout=output, stderr=output)
        try:
            demo = Path(directory) / "demo.json"
            deadline = time.monotonic() + START_TIMEOUT_S
            while not ready(demo):
                if system.poll() is not None or time.monotonic() > deadline:
                    print(said.read_text())
                    sys.exit(2)
                time.sleep(0.1)
            yield demo
        finally:
            system.send_signal(signal.SIGINT)
            system.wait(STOP_TIMEOUT_S)


def ready(demo):
    try:
        url = json.loads(demo.read_text())["api_url"]
        return urllib.request.urlopen(url + "/readyz", timeout=ANSWER_TIMEOUT_S).status == 200
    except (OSError, ValueError):
        return False


if __name__ == "__main__":
    found = python_for_examples()
    print(found) if found else sys.exit(3)
