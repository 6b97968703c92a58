"""A whole system of its own, for the scripts that try one from outside."""

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

INSTALL_TIMEOUT_S = 300
START_TIMEOUT_S = 120
STOP_TIMEOUT_S = 60
ANSWER_TIMEOUT_S = 10


def python_with(package, version):
    """The Python of a virtual environment below target/ that has `package`, installed once; None: it cannot be."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", Path(__file__).resolve().parent.parent / "target"))
    place = target / f"{package}-{version}"
    python = place / "bin" / "python"
    steps = [
        [sys.executable, "-m", "venv", "--clear", place],
        [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--retries", "1",
         "--timeout", "15", f"{package}=={version}"],
    ]
    for step in [] if works([python, "-c", f"import {package}"]) else steps:
        tried = subprocess.run(step, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S)
        if tried.returncode != 0:
            print(f"{package} {version} cannot be installed: {tried.stdout}{tried.stderr}")
            return None
    return python


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
