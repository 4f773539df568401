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
        self.spawn()
        return self.ready()

    def spawn(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([str(word) for word in self.command], stdout=subprocess.PIPE, stderr=log, text=True)

    def ready(self):
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


class Three:
    """Three brokers that form one cluster; nodes 1 to 3 may end and come back one by one."""

    def __init__(self, binary, folder, settings):
        self.nodes, folder = {}, Path(folder)
        folder.mkdir(parents=True)
        ports = {node: (free_port(), free_port()) for node in (1, 2, 3)}
        voters = ",".join(f"{node}@127.0.0.1:{inner}" for node, (_, inner) in ports.items())
        for node, (port, inner) in ports.items():
            address = f"PLAINTEXT://127.0.0.1:{port}"
            own = {"node.id": node, "listeners": f"{address},CONTROLLER://127.0.0.1:{inner}", "controller.listener.names": "CONTROLLER",
                   "controller.quorum.voters": voters, "offsets.topic.replication.factor": 3}
            self.nodes[node] = Ottla(binary, folder / str(node), own | settings, port)
        self.bootstrap = ",".join(f"127.0.0.1:{port}" for port, _ in ports.values())

    def __enter__(self):
        for node in self.nodes.values():
            node.spawn()
        for node in self.nodes.values():
            node.ready()
        return self

    def pids(self):
        return [node.pid for node in self.nodes.values()]

    def end(self, node, how):
        self.nodes[node].process.send_signal(how)
        self.nodes[node].process.wait(60)

    def start(self, node):
        self.nodes[node].__enter__()

    def __exit__(self, *_):
        for node in self.nodes.values():
            if node.process.poll() is None:
                node.process.kill()
                node.process.wait()


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
        self.pids = [int(pid) for pid in pids.stdout.split()]
        self.pid = self.pids[0]
        self.bootstraps = ",".join(dict.fromkeys(re.findall(r"127\.0\.0\.1:\d+", done.stdout)))
        return self

    def stop(self):
        """Ends it and keeps its folder."""
        subprocess.run([self.kit / "kafka", "stop", self.folder], check=True, stdout=subprocess.DEVNULL)

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
