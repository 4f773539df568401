"""Brokers for the compatibility tests: any command with {port} and {dir}, or a real Apache Kafka from Maven's jars.

Owns starting, restarting, killing and stopping; never touches a process it did not start.
"""
import json, os, shutil, signal, socket, struct, subprocess, sys, time
from pathlib import Path

HERE = Path(__file__).resolve().parent
KAFKA_VERSION = "4.3.1"
CONFLUENT_VERSION = "2.16.1"


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def answers(port):
    """True when a raw ApiVersions v0 request is answered with error 0."""
    return answers_at("127.0.0.1", port)


def answers_at(host, port):
    """As `answers`, at any address."""
    try:
        with socket.create_connection((host, port), timeout=2) as s:
            body = struct.pack(">hhih", 18, 0, 7, 6) + b"compat"
            s.sendall(struct.pack(">i", len(body)) + body)
            head = b""
            while len(head) < 10:
                got = s.recv(10 - len(head))
                if not got:
                    return False
                head += got
            return struct.unpack(">iih", head)[1:] == (7, 0)
    except OSError:
        return False


class Broker:
    """One broker process. `command` is a template with {port} and {dir}, run without a shell."""

    def __init__(self, command, directory, ready=answers):
        self.template, self.directory, self.ready = command, Path(directory), ready
        self.port, self.process = free_port(), None
        self.directory.mkdir(parents=True, exist_ok=True)
        self.log = self.directory.parent / f"{self.directory.name}.log"

    @property
    def bootstrap(self):
        return f"127.0.0.1:{self.port}"

    def start(self):
        command = [part.format(port=self.port, dir=self.directory) for part in self.template]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while not self.ready(self.port):
            if self.process.poll() is not None or time.monotonic() > deadline:
                tail = self.log.read_text(errors="replace")[-2000:]
                self.stop()
                sys.exit(f"the broker did not start: {' '.join(command)}\n{tail}")
            time.sleep(0.02)
        return self

    def stop(self, limit=60):
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(limit)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def restart(self):
        self.stop()
        self.start()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()


def need(*packages):
    """Installs Debian packages given as (package, program) where the program is missing."""
    missing = [p for p, program in packages if not shutil.which(program)]
    if not missing:
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        sys.exit(f"missing programs; install the packages {' '.join(missing)} and try again")
    quiet = {"stdout": subprocess.DEVNULL, "check": True}
    subprocess.run(["apt-get", "update", "-qq"], **quiet)
    subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing], **quiet)


def venv(cache):
    """A Python with confluent-kafka in its own environment, made once; the path of its interpreter."""
    home = Path(cache) / f"venv-confluent-{CONFLUENT_VERSION}"
    if not (home / ".complete").exists():
        need(("python3-venv", "python3"))
        subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
        subprocess.run([home / "bin/pip", "install", "-q", "--disable-pip-version-check",
                        f"confluent-kafka=={CONFLUENT_VERSION}"], check=True, stdout=sys.stderr)
        (home / ".complete").touch()
    return home / "bin" / "python"


def jars(cache, profile):
    """The folder with the jars of one profile of java/pom.xml, fetched once."""
    target = Path(cache) / f"jars-{profile}"
    if not (target / ".complete").exists():
        need(("default-jdk-headless", "javac"), ("maven", "mvn"))
        shutil.rmtree(target, ignore_errors=True)
        work = Path(cache) / f"maven-{profile}"
        work.mkdir(parents=True, exist_ok=True)
        shutil.copy(HERE / "java" / "pom.xml", work)
        subprocess.run(["mvn", "-q", "-B", f"-P{profile}", "dependency:copy-dependencies", f"-DoutputDirectory={target}",
                        "-DincludeScope=runtime"], cwd=work, check=True, stdout=sys.stderr)
        (target / ".complete").touch()
    return target


def java(jars, heap, log_level, *main):
    return ["java", f"-Xmx{heap}", f"-Dcompat.log={log_level}", f"-Dlog4j2.configurationFile={HERE / 'java' / 'log4j2.xml'}",
            "-XX:+UseSerialGC", "-cp", f"{jars}/*", *main]


# What a cluster of one node must be told, and nothing else.
ONE_NODE = {
    "node.id": 0, "offsets.topic.replication.factor": 1, "transaction.state.log.replication.factor": 1,
    "transaction.state.log.min.isr": 1, "share.coordinator.state.topic.replication.factor": 1,
    "share.coordinator.state.topic.min.isr": 1, "group.initial.rebalance.delay.ms": 0,
}


class Kafka(Broker):
    """A real Apache Kafka with one node, its own defaults but for what one node needs."""

    def __init__(self, cache, directory, settings=()):
        self.libs = jars(cache, "kafka")
        super().__init__([], directory)
        controller, node = free_port(), self.directory
        config = node / "server.properties"
        properties = ONE_NODE | {
            "process.roles": "broker,controller", "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "controller.quorum.bootstrap.servers": f"127.0.0.1:{controller}", "log.dirs": node / "data",
        } | dict(settings)
        config.write_text("".join(f"{k}={v}\n" for k, v in properties.items()))
        self.template = java(self.libs, "1g", "INFO", "kafka.Kafka", str(config))
        self.ready = self.registered
        if not (node / "data" / "meta.properties").exists():
            storage = java(self.libs, "256m", "WARN", "kafka.tools.StorageTool")
            uuid = subprocess.run([*storage, "random-uuid"], check=True, capture_output=True, text=True).stdout.strip()
            subprocess.run([*storage, "format", "--standalone", "-t", uuid, "-c", str(config)], check=True,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.starts = 0

    def start(self):
        self.starts = self.log.read_text().count("Kafka Server started") if self.log.exists() else 0
        return super().start()

    def registered(self, port):
        """ApiVersions is answered before the broker is registered, so the log is asked as well."""
        return answers(port) and self.log.read_text(errors="replace").count("Kafka Server started") > self.starts
