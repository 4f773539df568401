"""Finds the kit (a real Kafka, other people's suites, load generators) and starts the brokers that are to be judged with it.

Owns where the kit is, how both brokers are started for it, and their end. Never touches a process it did not start.
"""
import json, os, re, shutil, signal, socket, subprocess, sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
RESULTS = HERE / "results"


def find(given):
    """The kit's folder: as given, from OTTLA_KIT, or `shared/kit` beside a folder above this repository."""
    places = [given, os.environ.get("OTTLA_KIT"), *(above / "shared" / "kit" for above in ROOT.parents)]
    for place in filter(None, places):
        if (Path(place) / "perf").exists():
            return Path(place).resolve()
    sys.exit("the kit is not there: --kit or OTTLA_KIT names its folder (the one with `kafka`, `suite` and `perf`)")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def default_binary():
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "ottla"


def commit():
    """The commit of this tree, with a mark when something is not committed."""
    git = lambda *words: subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    return git("rev-parse", "--short", "HEAD") + ("+changes" if git("status", "--porcelain", "--untracked-files=no") else "")


class Ottla:
    """`ottla serve` on a port of 127.0.0.1, in a folder of its own; `prefix` may enter a network namespace."""

    def __init__(self, binary, folder, settings, port=None, prefix=()):
        self.port = port or free_port()
        address = f"PLAINTEXT://127.0.0.1:{self.port}"
        settings = {"listeners": address, "advertised.listeners": address, "log.dirs": folder, "ottla.http.listener": ""} | settings
        words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        self.command, self.log = [*prefix, binary, "serve", "--print", "json", *words], Path(f"{folder}.log")

    def __enter__(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([str(word) for word in self.command], stdout=subprocess.PIPE, stderr=log, text=True)
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"ottla did not start:\n{self.log.read_text(errors='replace')[-2000:]}")
        ready = json.loads(line)
        self.bootstrap, self.pid = ready["bootstrap"], ready["pid"]
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Kafka:
    """A real Kafka with its own defaults, from the kit."""

    def __init__(self, kit, folder, *options):
        self.kit, self.folder, self.options = kit, folder, options

    def __enter__(self):
        return self.start()

    def start(self):
        words = [str(word) for word in (self.kit / "kafka", "start", "--dir", self.folder, "--bare", *self.options)]
        done = subprocess.run(words, check=True, capture_output=True, text=True)
        self.bootstrap = re.search(r"127\.0\.0\.1:\d+", done.stdout)[0]
        pids = subprocess.run([self.kit / "kafka", "pids", self.folder], check=True, capture_output=True, text=True)
        self.pid = pids.stdout.split()[0]
        return self

    def stop(self):
        """Ends it and keeps its folder."""
        subprocess.run([self.kit / "kafka", "stop", self.folder], check=True, stdout=subprocess.DEVNULL)

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
