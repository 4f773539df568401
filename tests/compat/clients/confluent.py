"""The scripted confluent-kafka (librdkafka) client. Usage: confluent.py BOOTSTRAP [CASE...]"""
import sys, time
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewPartitions, NewTopic
from check import restart_broker, run, same, unique

BOOTSTRAP = sys.argv[1]
LIMIT = 60


def producer(**settings):
    return Producer({"bootstrap.servers": BOOTSTRAP, "acks": "all"} | settings)


def consumer(group, **settings):
    return Consumer({"bootstrap.servers": BOOTSTRAP, "group.id": group, "auto.offset.reset": "earliest",
                     "enable.auto.commit": False, "session.timeout.ms": 6000} | settings)


def new_topic(name, partitions=1, **configs):
    admin = AdminClient({"bootstrap.servers": BOOTSTRAP})
    topic = unique(name)
    for future in admin.create_topics([NewTopic(topic, partitions, 1, config=configs)]).values():
        future.result(LIMIT)
    return topic


def send(p, topic, values, **options):
    errors = []
    for value in values:
        p.produce(topic, value, on_delivery=lambda e, m: errors.append(e) if e else None, **options)
        p.poll(0)
    same(p.flush(LIMIT), 0, "unsent records")
    same(errors, [], "delivery errors")


def read(c, count):
    """`count` records and not one more than that for half a second."""
    got, deadline = [], time.monotonic() + LIMIT
    while len(got) < count and time.monotonic() < deadline:
        m = c.poll(1)
        if m is not None:
            assert m.error() is None, m.error()
            got.append(m)
    extra = c.poll(0.5)
    assert extra is None, f"one record too many: {extra.value()!r}"
    return got


def values(n, prefix="v"):
    return [f"{prefix}{i}".encode() for i in range(n)]


def produce_consume():
    topic = new_topic("cc-plain", 3)
    send(producer(), topic, values(1000), partition=1, key=b"k", headers=[("h", b"\x00\xff"), ("h", None)])
    c = consumer(unique("g"))
    c.subscribe([topic])
    got = read(c, 1000)
    same([m.value() for m in got], values(1000), "values")
    same([m.offset() for m in got], list(range(1000)), "offsets")
    same({m.key() for m in got}, {b"k"}, "keys")
    same(got[0].headers(), [("h", b"\x00\xff"), ("h", None)], "headers")
    c.close()


def codecs():
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        topic = new_topic(f"cc-{codec}")
        send(producer(**{"compression.type": codec, "linger.ms": 20}), topic, values(500, codec * 20))
        c = consumer(unique("g"))
        c.assign([TopicPartition(topic, 0, 0)])
        same([m.value() for m in read(c, 500)], values(500, codec * 20), codec)
        c.close()


def idempotent():
    topic = new_topic("cc-idempotent")
    send(producer(**{"enable.idempotence": True, "linger.ms": 0}), topic, values(2000))
    c = consumer(unique("g"))
    c.assign([TopicPartition(topic, 0, 0)])
    same([m.value() for m in read(c, 2000)], values(2000), "values")
    c.close()


def rebalance():
    topic, group, assigned = new_topic("cc-rebalance", 4), unique("g"), {}

    def follow(name):
        def note(c, parts):
            assigned[name] = {p.partition for p in parts}

        def forget(c, parts):
            assigned[name] = set()
        return {"on_assign": note, "on_revoke": forget}

    def until(*members, wanted):
        deadline = time.monotonic() + LIMIT
        while time.monotonic() < deadline:
            for m in members:
                m.poll(0.05)
            if wanted():
                return
        raise AssertionError(f"the group did not settle: {assigned}")

    one, two = consumer(group), consumer(group)
    one.subscribe([topic], **follow("one"))
    until(one, wanted=lambda: assigned.get("one") == {0, 1, 2, 3})
    two.subscribe([topic], **follow("two"))
    until(one, two, wanted=lambda: len(assigned["one"]) == 2 and len(assigned.get("two", ())) == 2
          and assigned["one"] | assigned["two"] == {0, 1, 2, 3})
    two.close()
    until(one, wanted=lambda: assigned["one"] == {0, 1, 2, 3})
    one.close()


def cooperative():
    topic, group = new_topic("cc-cooperative", 4), unique("g")
    one, two = (consumer(group, **{"partition.assignment.strategy": "cooperative-sticky"}) for _ in range(2))
    one.subscribe([topic])
    two.subscribe([topic])
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        one.poll(0.05), two.poll(0.05)
        held = [{p.partition for p in c.assignment()} for c in (one, two)]
        if [len(h) for h in held] == [2, 2] and held[0] | held[1] == {0, 1, 2, 3}:
            break
    else:
        raise AssertionError(f"the group did not settle: {held}")
    one.close(), two.close()


def seek():
    topic = new_topic("cc-seek")
    for i in range(100):
        producer_time = 1_700_000_000_000 + i * 1000
        SEEKER.produce(topic, b"%d" % i, timestamp=producer_time)
    same(SEEKER.flush(LIMIT), 0, "unsent records")
    c = consumer(unique("g"))
    c.assign([TopicPartition(topic, 0, 0)])
    same(len(read(c, 100)), 100, "records")
    c.seek(TopicPartition(topic, 0, 42))
    same(read(c, 58)[0].value(), b"42", "after seek to 42")
    found = c.offsets_for_times([TopicPartition(topic, 0, 1_700_000_000_000 + 69_500)], LIMIT)
    same(found[0].offset, 70, "offset for time")
    same(c.get_watermark_offsets(TopicPartition(topic, 0), LIMIT), (0, 100), "watermarks")
    c.close()


SEEKER = producer(**{"retries": 5})


def commits():
    topic, group = new_topic("cc-commits"), unique("g")
    send(producer(), topic, values(100))
    c = consumer(group)
    c.subscribe([topic])
    got = read(c, 100)
    c.commit(offsets=[TopicPartition(topic, 0, got[59].offset() + 1, metadata="note")], asynchronous=False)
    c.close()
    c = consumer(group)
    c.subscribe([topic])
    same(read(c, 40)[0].value(), b"v60", "first after the commit")
    same(c.committed([TopicPartition(topic, 0)], LIMIT)[0].offset, 60, "committed")
    c.close()


def admin():
    admin = AdminClient({"bootstrap.servers": BOOTSTRAP})
    topic = new_topic("cc-admin", 2, **{"retention.ms": "3600000"})
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    same(list(admin.describe_configs([resource]).values())[0].result(LIMIT)["retention.ms"].value, "3600000", "retention.ms")
    list(admin.create_partitions([NewPartitions(topic, 5)]).values())[0].result(LIMIT)
    deadline = time.monotonic() + LIMIT
    while len(admin.list_topics(topic, timeout=LIMIT).topics[topic].partitions) != 5:
        assert time.monotonic() < deadline, "five partitions were never seen"
    assert list(admin.describe_cluster(request_timeout=LIMIT).result(LIMIT).nodes)
    list(admin.delete_topics([topic]).values())[0].result(LIMIT)
    while topic in admin.list_topics(timeout=LIMIT).topics:
        assert time.monotonic() < deadline, "the topic was never gone"
    try:
        list(admin.create_topics([NewTopic("not/legal", 1, 1)]).values())[0].result(LIMIT)
    except KafkaException as e:
        same(e.args[0].name(), "TOPIC_EXCEPTION", "error of a bad name")
    else:
        raise AssertionError("a topic with a bad name was created")


def restart():
    topic, group = new_topic("cc-restart"), unique("g")
    p, c = producer(**{"enable.idempotence": True}), consumer(group)
    send(p, topic, values(500))
    c.subscribe([topic])
    got = read(c, 500)
    c.commit(got[-1], asynchronous=False)
    restart_broker()
    send(p, topic, values(500, "w"))
    more = read(c, 500)
    same([m.value() for m in got + more], values(500) + values(500, "w"), "values")
    same([m.offset() for m in got + more], list(range(1000)), "offsets")
    c.commit(got[299], asynchronous=False)
    c.close()
    c = consumer(group)
    c.subscribe([topic])
    same(len(read(c, 700)), 700, "records after the committed offset")
    c.close()


run({"produce-consume": produce_consume, "codecs": codecs, "idempotent": idempotent, "rebalance": rebalance,
     "cooperative": cooperative, "seek": seek, "commits": commits, "admin": admin, "restart": restart}, sys.argv[2:])
