// The scripted Java client. Usage: java -cp JARS:CLASSES Client BOOTSTRAP [CASE...]
// Uses only what kafka-clients 2.1 has, so that the same classes run with the newest and with the oldest client.
// One JSON line per case on standard output; see check.py for the protocol with the runner.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.Future;
import java.util.function.BooleanSupplier;
import java.util.stream.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.*;

public class Client {
    interface Case { void run() throws Exception; }

    static final Duration TICK = Duration.ofMillis(50);
    static final long LIMIT_MS = 60_000;
    static final BufferedReader ANSWERS = new BufferedReader(new InputStreamReader(System.in));
    static String bootstrap;

    public static void main(String[] args) {
        bootstrap = args[0];
        Set<String> only = new HashSet<>(Arrays.asList(args).subList(1, args.length));
        Map<String, Case> cases = new LinkedHashMap<>();
        cases.put("produce-consume", Client::produceConsume);
        cases.put("codecs", Client::codecs);
        cases.put("idempotent", Client::idempotent);
        cases.put("rebalance", Client::rebalance);
        cases.put("static-member", Client::staticMember);
        cases.put("seek", Client::seek);
        cases.put("commits", Client::commits);
        cases.put("admin", Client::admin);
        cases.put("restart", Client::restart);
        cases.forEach((name, work) -> {
            if (!only.isEmpty() && !only.contains(name)) return;
            long began = System.nanoTime();
            String detail = "";
            try {
                work.run();
            } catch (Throwable t) {
                StringWriter w = new StringWriter();
                t.printStackTrace(new PrintWriter(w));
                detail = w.toString();
                detail = detail.substring(0, Math.min(1500, detail.length()));
            }
            System.out.printf("{\"case\": \"%s\", \"ok\": %b, \"seconds\": %.2f, \"detail\": \"%s\"}%n", name, detail.isEmpty(),
                (System.nanoTime() - began) / 1e9,
                detail.replace("\\", "\\\\").replace("\"", "'").replace("\n", "\\n").replace("\t", " ").replace("\r", ""));
            System.out.flush();
        });
        System.exit(0);
    }

    static Properties settings(String... pairs) {
        Properties p = new Properties();
        p.put("bootstrap.servers", bootstrap);
        for (int i = 0; i < pairs.length; i += 2) p.put(pairs[i], pairs[i + 1]);
        return p;
    }

    static KafkaProducer<String, String> producer(String... pairs) {
        Properties p = settings("acks", "all");
        p.putAll(settings(pairs));
        return new KafkaProducer<>(p, new StringSerializer(), new StringSerializer());
    }

    static KafkaConsumer<String, String> consumer(String group, String... pairs) {
        Properties p = settings("group.id", group, "auto.offset.reset", "earliest", "enable.auto.commit", "false",
            "session.timeout.ms", "6000", "heartbeat.interval.ms", "500");
        p.putAll(settings(pairs));
        return new KafkaConsumer<>(p, new StringDeserializer(), new StringDeserializer());
    }

    static String unique(String prefix) {
        return prefix + "-" + UUID.randomUUID().toString().substring(0, 10);
    }

    static List<String> values(int n, String prefix) {
        return IntStream.range(0, n).mapToObj(i -> prefix + i).collect(Collectors.toList());
    }

    static void same(Object got, Object want, String what) {
        if (!Objects.equals(got, want)) {
            String g = String.valueOf(got), w = String.valueOf(want);
            throw new AssertionError(what + ": got " + g.substring(0, Math.min(300, g.length())) + ", expected "
                + w.substring(0, Math.min(300, w.length())));
        }
    }

    static void until(Runnable step, BooleanSupplier wanted, java.util.function.Supplier<Object> what) {
        long deadline = System.currentTimeMillis() + LIMIT_MS;
        while (!wanted.getAsBoolean()) {
            if (System.currentTimeMillis() > deadline) throw new AssertionError("not in time: " + what.get());
            step.run();
        }
    }

    static String newTopic(String name, int partitions) throws Exception {
        String topic = unique(name);
        try (AdminClient admin = AdminClient.create(settings())) {
            admin.createTopics(Collections.singleton(new NewTopic(topic, partitions, (short) 1))).all().get();
        }
        return topic;
    }

    static void send(Producer<String, String> p, String topic, List<String> list) throws Exception {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        for (String v : list) sent.add(p.send(new ProducerRecord<>(topic, 0, "k", v)));
        p.flush();
        for (Future<RecordMetadata> f : sent) f.get();
    }

    static List<ConsumerRecord<String, String>> read(Consumer<String, String> c, int count) {
        List<ConsumerRecord<String, String>> got = new ArrayList<>();
        until(() -> c.poll(TICK).forEach(got::add), () -> got.size() >= count, () -> got.size() + " of " + count);
        c.poll(Duration.ofMillis(300)).forEach(got::add);
        same(got.size(), count, "records");
        return got;
    }

    static List<String> texts(List<ConsumerRecord<String, String>> got) {
        return got.stream().map(ConsumerRecord::value).collect(Collectors.toList());
    }

    static void produceConsume() throws Exception {
        String topic = newTopic("java-plain", 3);
        try (KafkaProducer<String, String> p = producer()) {
            for (String v : values(1000, "v")) {
                ProducerRecord<String, String> r = new ProducerRecord<>(topic, 1, "k", v);
                r.headers().add("h", new byte[] {0, -1}).add("h", null);
                p.send(r);
            }
        }
        try (KafkaConsumer<String, String> c = consumer(unique("g"))) {
            c.subscribe(Collections.singleton(topic));
            List<ConsumerRecord<String, String>> got = read(c, 1000);
            same(texts(got), values(1000, "v"), "values");
            same(got.get(999).offset(), 999L, "last offset");
            same(got.get(0).key(), "k", "key");
            same(got.get(0).headers().toArray().length, 2, "headers");
        }
    }

    static void codecs() throws Exception {
        for (String codec : Arrays.asList("none", "gzip", "snappy", "lz4", "zstd")) {
            String topic = newTopic("java-" + codec, 1);
            try (KafkaProducer<String, String> p = producer("compression.type", codec, "linger.ms", "20")) {
                send(p, topic, values(500, codec + codec + codec));
            }
            try (KafkaConsumer<String, String> c = consumer(unique("g"))) {
                c.subscribe(Collections.singleton(topic));
                same(texts(read(c, 500)), values(500, codec + codec + codec), codec);
            }
        }
    }

    static void idempotent() throws Exception {
        String topic = newTopic("java-idempotent", 1);
        try (KafkaProducer<String, String> p = producer("enable.idempotence", "true", "linger.ms", "0")) {
            send(p, topic, values(2000, "v"));
        }
        try (KafkaConsumer<String, String> c = consumer(unique("g"))) {
            c.subscribe(Collections.singleton(topic));
            same(texts(read(c, 2000)), values(2000, "v"), "values");
        }
    }

    static void rebalance() throws Exception {
        String topic = newTopic("java-rebalance", 4), group = unique("g");
        KafkaConsumer<String, String> one = consumer(group), two = consumer(group);
        one.subscribe(Collections.singleton(topic));
        until(() -> one.poll(TICK), () -> one.assignment().size() == 4, one::assignment);
        two.subscribe(Collections.singleton(topic));
        until(() -> { one.poll(TICK); two.poll(TICK); },
            () -> one.assignment().size() == 2 && two.assignment().size() == 2,
            () -> one.assignment() + " " + two.assignment());
        Set<TopicPartition> all = new HashSet<>(one.assignment());
        all.addAll(two.assignment());
        same(all.size(), 4, "all partitions");
        two.close();
        until(() -> one.poll(TICK), () -> one.assignment().size() == 4, one::assignment);
        one.close();
    }

    static void staticMember() throws Exception {
        String topic = newTopic("java-static", 4), group = unique("g");
        KafkaConsumer<String, String> one = consumer(group, "group.instance.id", "one");
        one.subscribe(Collections.singleton(topic));
        until(() -> one.poll(TICK), () -> one.assignment().size() == 4, one::assignment);
        one.close();
        KafkaConsumer<String, String> again = consumer(group, "group.instance.id", "one");
        again.subscribe(Collections.singleton(topic));
        until(() -> again.poll(TICK), () -> again.assignment().size() == 4, again::assignment);
        again.close();
    }

    static void seek() throws Exception {
        String topic = newTopic("java-seek", 1);
        long start = 1_700_000_000_000L;
        try (KafkaProducer<String, String> p = producer()) {
            for (int i = 0; i < 100; i++) p.send(new ProducerRecord<>(topic, 0, start + i * 1000, "k", "v" + i));
        }
        TopicPartition tp = new TopicPartition(topic, 0);
        try (KafkaConsumer<String, String> c = consumer(unique("g"))) {
            c.assign(Collections.singleton(tp));
            read(c, 100);
            c.seek(tp, 42);
            same(texts(read(c, 58)).get(0), "v42", "after the seek");
            c.seekToBeginning(Collections.singleton(tp));
            same(texts(read(c, 100)).get(0), "v0", "after the seek to the beginning");
            c.seekToEnd(Collections.singleton(tp));
            same(c.position(tp), 100L, "position at the end");
            same(c.offsetsForTimes(Collections.singletonMap(tp, start + 69_500)).get(tp).offset(), 70L, "offset for a time");
            same(c.beginningOffsets(Collections.singleton(tp)).get(tp), 0L, "beginning");
            same(c.endOffsets(Collections.singleton(tp)).get(tp), 100L, "end");
        }
    }

    static void commits() throws Exception {
        String topic = newTopic("java-commits", 1), group = unique("g");
        TopicPartition tp = new TopicPartition(topic, 0);
        try (KafkaProducer<String, String> p = producer()) { send(p, topic, values(100, "v")); }
        try (KafkaConsumer<String, String> c = consumer(group)) {
            c.subscribe(Collections.singleton(topic));
            read(c, 100);
            c.commitSync(Collections.singletonMap(tp, new OffsetAndMetadata(60, "note")));
        }
        try (KafkaConsumer<String, String> c = consumer(group)) {
            c.subscribe(Collections.singleton(topic));
            same(texts(read(c, 40)).get(0), "v60", "first after the commit");
        }
        try (AdminClient admin = AdminClient.create(settings())) {
            OffsetAndMetadata committed = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().get(tp);
            same(committed.offset() + committed.metadata(), "60note", "committed");
            same(admin.describeConsumerGroups(Collections.singleton(group)).all().get().get(group).members().size(), 0, "members");
            admin.deleteConsumerGroups(Collections.singleton(group)).all().get();
        }
    }

    static void admin() throws Exception {
        String topic = newTopic("java-admin", 2);
        try (AdminClient admin = AdminClient.create(settings())) {
            ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
            Config before = admin.describeConfigs(Collections.singleton(resource)).all().get().get(resource);
            same(before.get("retention.ms").value(), "604800000", "retention.ms");
            admin.createPartitions(Collections.singletonMap(topic, NewPartitions.increaseTo(5))).all().get();
            long deadline = System.currentTimeMillis() + LIMIT_MS;
            while (partitions(admin, topic) != 5) {
                if (System.currentTimeMillis() > deadline) throw new AssertionError("five partitions were never seen");
            }
            if (admin.describeCluster().nodes().get().isEmpty()) throw new AssertionError("no nodes");
            admin.deleteTopics(Collections.singleton(topic)).all().get();
            while (admin.listTopics().names().get().contains(topic)) {
                if (System.currentTimeMillis() > deadline) throw new AssertionError("the topic was never gone");
            }
        }
    }

    // `all()` of 2.1 became `allTopicNames()`; `values()` became `topicNameValues()`: ask for what this client has.
    @SuppressWarnings("unchecked")
    static int partitions(AdminClient admin, String topic) throws Exception {
        DescribeTopicsResult result = admin.describeTopics(Collections.singleton(topic));
        String method = Stream.of("topicNameValues", "values")
            .filter(m -> Stream.of(DescribeTopicsResult.class.getMethods()).anyMatch(f -> f.getName().equals(m)))
            .findFirst().orElseThrow(() -> new AssertionError("no method"));
        Map<String, ? extends org.apache.kafka.common.KafkaFuture<TopicDescription>> map =
            (Map<String, ? extends org.apache.kafka.common.KafkaFuture<TopicDescription>>)
                DescribeTopicsResult.class.getMethod(method).invoke(result);
        return map.get(topic).get().partitions().size();
    }

    static void restart() throws Exception {
        String topic = newTopic("java-restart", 1), group = unique("g");
        try (KafkaProducer<String, String> p = producer("enable.idempotence", "true");
             KafkaConsumer<String, String> c = consumer(group)) {
            send(p, topic, values(500, "v"));
            c.subscribe(Collections.singleton(topic));
            List<ConsumerRecord<String, String>> got = read(c, 500);
            c.commitSync();
            System.out.println("{\"ask\": \"restart\"}");
            System.out.flush();
            same(ANSWERS.readLine(), "restarted", "the runner");
            send(p, topic, values(500, "w"));
            got.addAll(read(c, 500));
            List<String> want = values(500, "v");
            want.addAll(values(500, "w"));
            same(texts(got), want, "values");
            same(got.get(999).offset(), 999L, "last offset");
        }
    }
}
