"""A producer that writes down when each record was acknowledged, and answers questions about the cluster.

  acks.py BOOTSTRAP TOPIC PARTITIONS RECORDS_PER_SECOND BYTES OUT.jsonl

Records go round the partitions named (`0-9` or `0,3,7`), acks=all, idempotent, nodes that were away tried again every second,
librdkafka's defaults otherwise. Each line of
OUT.jsonl is [partition, sent, acknowledged] in monotonic seconds, acknowledged null where it failed. On standard input:
`create TOPIC PARTITIONS REPLICAS`, `state TOPIC` (JSON: leader and in-sync replicas of each partition), `stop`.
"""
import json, sys, threading, time
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

bootstrap, topic, named, rate, size, path = sys.argv[1:]
out, rate, stop = open(path, "w", buffering=1), float(rate), threading.Event()
admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})


def answer(words):
    if words[0] == "create":
        new = NewTopic(words[1], int(words[2]), int(words[3]), config={"min.insync.replicas": "2"})
        [done.result(60) for done in admin.create_topics([new], operation_timeout=60).values()]
        return {}
    found = admin.list_topics(words[1], timeout=20).topics[words[1]]
    return {"error": str(found.error or ""), "partitions": {i: [p.leader, sorted(p.isrs)] for i, p in found.partitions.items()}}


def listen():
    for line in sys.stdin:
        words = line.split()
        if words[0] == "stop":
            break
        try:
            said = answer(words)
        except Exception as error:  # told to who asked
            said = {"error": str(error) or type(error).__name__}
        print(json.dumps(said), flush=True)
    stop.set()


def spread(text):
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


threading.Thread(target=listen, daemon=True).start()
partitions, value, count = list(spread(named)), b"x" * int(size), 0
producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "enable.idempotence": True, "log_level": 0,
                     "delivery.timeout.ms": 120000, "message.timeout.ms": 120000, "linger.ms": 0,
                     # Else a node that leads soon after it came back is not met for up to 10 s: the client's, not the cluster's.
                     "reconnect.backoff.max.ms": 1000})
began = time.monotonic()
while not stop.is_set():
    now = time.monotonic()
    while partitions and rate and count < (now - began) * rate:
        partition, sent = partitions[count % len(partitions)], time.monotonic()
        def told(error, _message, partition=partition, sent=sent):
            out.write(json.dumps([partition, sent, None if error else time.monotonic()]) + "\n")
        try:
            producer.produce(topic, value, partition=partition, on_delivery=told)
        except BufferError:
            break
        count += 1
        producer.poll(0)
    producer.poll(0.001)
producer.flush(30)
