"""Kafka's own console producer, console consumer and consumer groups tool. Usage: console.py BOOTSTRAP [CASE...]
The environment's COMPAT_JAVA is the java command line up to the class name."""
import os, shlex, subprocess, sys
from check import restart_broker, run, same, unique

BOOTSTRAP = sys.argv[1]
LIMIT = 90
TOOLS = {"producer": "org.apache.kafka.tools.ConsoleProducer",
         "consumer": "org.apache.kafka.tools.consumer.ConsoleConsumer",
         "groups": "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
         "topics": "org.apache.kafka.tools.TopicCommand"}


def tool(name, *args, stdin=""):
    command = [*shlex.split(os.environ["COMPAT_JAVA"]), TOOLS[name], "--bootstrap-server", BOOTSTRAP, *args]
    done = subprocess.run(command, input=stdin.encode(), capture_output=True, timeout=LIMIT)
    assert done.returncode == 0, f"{name} {' '.join(args)}: exit {done.returncode}: {done.stderr.decode()[-800:]}"
    return done.stdout.decode()


def values(n, prefix="v"):
    return [f"{prefix}{i}" for i in range(n)]


def produce(topic, lines):
    tool("producer", "--topic", topic, stdin="\n".join(lines) + "\n")


def consume(topic, count, *args):
    return tool("consumer", "--topic", topic, "--from-beginning", "--max-messages", str(count), *args).splitlines()


def produce_consume():
    topic = unique("console")
    tool("topics", "--create", "--topic", topic, "--partitions", "1")
    produce(topic, values(200))
    same(consume(topic, 200), values(200), "records")


def commits():
    topic, group = unique("console"), unique("g")
    tool("topics", "--create", "--topic", topic, "--partitions", "1")
    produce(topic, values(100))
    same(consume(topic, 100, "--group", group), values(100), "records")
    shown = tool("groups", "--group", group, "--describe", "--offsets").split()
    same(shown[shown.index(topic) + 1: shown.index(topic) + 4], ["0", "100", "100"], "partition, offset, end")


def restart():
    topic = unique("console")
    tool("topics", "--create", "--topic", topic, "--partitions", "1")
    produce(topic, values(100))
    restart_broker()
    produce(topic, values(100, "w"))
    same(consume(topic, 200), values(100) + values(100, "w"), "records")


run({"produce-consume": produce_consume, "commits": commits, "restart": restart}, sys.argv[2:])
