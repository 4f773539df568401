"""The scripted kcat. Usage: kcat.py BOOTSTRAP [CASE...]"""
import json, re, subprocess, sys, threading, time
from check import restart_broker, run, same, unique

BOOTSTRAP = sys.argv[1]
LIMIT = 60


def kcat(*args, stdin=""):
    done = subprocess.run(["kcat", "-b", BOOTSTRAP, *args], input=stdin.encode(), capture_output=True, timeout=LIMIT)
    assert done.returncode == 0, f"kcat {' '.join(args)}: exit status {done.returncode}: {done.stderr.decode()[-500:]}"
    return done.stdout.decode()


def lines(n, prefix="v"):
    return [f"{prefix}{i}" for i in range(n)]


def fill(topic, values, *args):
    kcat("-P", "-t", topic, "-p", "0", "-X", "acks=all", *args, stdin="\n".join(values) + "\n")


def read(topic, *args):
    return kcat("-C", "-q", "-e", "-t", topic, "-p", "0", *args).splitlines()


def metadata():
    topic = unique("kcat")
    fill(topic, ["one"])
    answer = json.loads(kcat("-L", "-J", "-t", topic))
    same([t["topic"] for t in answer["topics"]], [topic], "topics")
    assert answer["brokers"], answer


def produce_consume():
    topic = unique("kcat")
    fill(topic, [f"key{i}:v{i}" for i in range(1000)], "-K:", "-H", "a=b")
    same(read(topic, "-f", "%o %k %s %h\n"), [f"{i} key{i} v{i} a=b" for i in range(1000)], "records")


def codecs():
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        topic = unique("kcat")
        fill(topic, lines(500, codec * 20), "-z", codec)
        same(read(topic), lines(500, codec * 20), codec)


def seek():
    topic = unique("kcat")
    fill(topic, lines(100))
    same(read(topic, "-o", "42"), lines(100)[42:], "from 42")
    same(read(topic, "-o", "-5"), lines(100)[95:], "the last five")
    time.sleep(0.01)
    middle = int(time.time() * 1000)
    time.sleep(0.01)
    fill(topic, ["late"])
    same(read(topic, "-o", f"s@{middle}"), ["late"], "from a time")
    same(kcat("-Q", "-t", f"{topic}:0:{middle}").strip(), f"{topic} [0] offset 100", "query by time")


class Member:
    """One `kcat -G`, whose rebalances are followed on its standard error."""

    def __init__(self, group, topic):
        self.assigned, self.values = None, []
        self.process = subprocess.Popen(
            ["kcat", "-b", BOOTSTRAP, "-X", "session.timeout.ms=6000", "-X", "auto.offset.reset=earliest",
             "-u", "-G", group, topic], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for pipe, take in ((self.process.stderr, self.on_note), (self.process.stdout, self.on_value)):
            threading.Thread(target=lambda p=pipe, t=take: [t(line) for line in p], daemon=True).start()

    def on_note(self, line):
        found = re.search(r"rebalanced.*: (assigned|revoked): ?(.*)", line)
        if found:
            parts = {int(p) for p in re.findall(r"\[(\d+)\]", found.group(2))}
            self.assigned = parts if found.group(1) == "assigned" else set()

    def on_value(self, line):
        self.values.append(line.rstrip("\n"))

    def end(self):
        self.process.terminate()
        self.process.wait(LIMIT)


def until(wanted, what):
    deadline = time.monotonic() + LIMIT
    while not wanted():
        assert time.monotonic() < deadline, f"not within {LIMIT} s: {what()}"
        time.sleep(0.02)


def rebalance():
    topic, group = unique("kcat"), unique("g")
    fill(topic, ["x"])
    partitions = set(range(len(json.loads(kcat("-L", "-J", "-t", topic))["topics"][0]["partitions"])))
    one = Member(group, topic)
    until(lambda: one.assigned == partitions, lambda: one.assigned)
    two = Member(group, topic)
    half = lambda: [one.assigned, two.assigned]
    until(lambda: None not in half() and one.assigned | two.assigned == partitions
          and not one.assigned & two.assigned and (len(partitions) == 1 or all(half())), half)
    two.end()
    until(lambda: one.assigned == partitions, half)
    one.end()


def restart():
    """kcat ends when its only broker goes away, so a second member goes on; it may see again what the first one had
    not committed yet (kcat does not always commit when it ends), but nothing may be missing."""
    topic, group = unique("kcat"), unique("g")
    fill(topic, lines(500))
    first = Member(group, topic)
    until(lambda: len(first.values) >= 500, lambda: len(first.values))
    first.end()
    restart_broker()
    fill(topic, lines(500, "w"))
    second = Member(group, topic)
    until(lambda: second.values[-1:] == ["w499"], lambda: len(second.values))
    second.end()
    everything = lines(500) + lines(500, "w")
    same(second.values, everything[-len(second.values):], "what the second member read")
    assert len(second.values) >= 500, len(second.values)
    same(read(topic), everything, "records in the log")


run({"metadata": metadata, "produce-consume": produce_consume, "codecs": codecs, "seek": seek, "rebalance": rebalance,
     "restart": restart}, sys.argv[2:])
