//! What every command prints, against an embedded cluster, compared with the files beside.
//!
//! `OTTLA_UPDATE_SNAPSHOTS=1` rewrites the files. `OTTLA_TEST_BOOTSTRAP=HOST:PORT` runs the same
//! commands against another cluster, such as a real Kafka started with the kit's profile: what is
//! printed must be the same.
//!
//! Owns: the command lines. Never: looks behind the binary. Invariant: ids, times and addresses are
//! normalised, nothing else.

mod session;

use session::Session;

#[test]
fn topics() {
    let mut session = Session::start("topics");
    session.run("topic create snap-a:3 snap-b:1 -c retention.ms=100000");
    session.run("topic create snap-a:3");
    session.run("topic create snap-a:3 --if-not-exists");
    session.run("topic create snap-c:2 --dry-run");
    session.run("topic create snap-c -c retention.mss=1");
    session.run("topic create 'bad name'");
    session.run("topic list snap-*");
    session.run("topic list snap-* --format json");
    session.run("topic list snap-* --format tsv");
    session.run("topic list snap-* --format yaml");
    session.run("topic list snap-* --sort partitions --format wide");
    session.run("topic list --columns");
    session.run("topic describe snap-a");
    session.run("topic describe snap-b --format json --section summary");
    session.run("topic describe snap-aa");
    session.run("topic set snap-a retention.ms=5000 cleanup.policy+=compact --dry-run");
    session.run("topic set snap-a retention.ms=5000 cleanup.policy+=compact");
    session.run("topic set snap-a retentionms=5000");
    session.run("topic unset snap-a retention.ms cleanup.policy");
    session.run("topic unset snap-a retentionms");
    session.run("topic grow snap-a 5 --dry-run");
    session.run("topic grow snap-a +1");
    session.run("topic grow snap-a 2");
    session.run("topic delete snap-a snap-nothing");
    session.run("topic delete snap-a snap-b --dry-run --format json");
    session.run("topic delete snap-a snap-b --yes");
    session.run("topic delete snap-a --yes --format json");
    session.run("topic delete snap-a --if-exists --yes");
    session.finish();
}

#[test]
fn records() {
    let mut session = Session::start("records");
    session.run("topic create snap-r:1");
    session.feed("produce snap-r -k : -H source=test", "k1:v1\nk2:v2\nk1:v3\n");
    session.feed("produce snap-r -z zstd --format json", "{\"key\":null,\"value\":\"j\"}\n");
    session.feed("produce snap-r --format json --input lines -p 0", "plain\n");
    session.feed("produce snap-r -k :", "no separator\n");
    session.feed("produce snap-r -p 7", "x\n");
    session.feed("produce snap-r --format json", "not json\n");
    session.run("consume snap-r -e");
    session.run("consume snap-r -e -f '%t/%p/%o %k=%v %h %s\\n'");
    session.run("consume snap-r -e --format json");
    session.run("consume snap-r -e --format tsv");
    session.run("consume snap-r -o 1..3");
    session.run("consume snap-r -o -2 -e");
    session.run("consume snap-r -o start -n 2");
    session.run("consume snap-r --last 1");
    session.run("consume snap-r -e --key k1");
    session.run("consume snap-r -e --value *3 --header source=te*");
    session.run("consume snap-r -e -f %z");
    session.run("consume snap-r -o yesterday");
    session.run("consume snap-q -e");
    session.run("consume snap-q -e --format json");
    session.run("topic offsets snap-r");
    session.run("topic offsets snap-r --at 2020-01-01 --format json");
    session.run("topic trim snap-r --before 2");
    session.run("topic trim snap-r --before 2 --dry-run");
    session.run("topic trim snap-r --before 2 --yes");
    session.run("topic trim snap-r:9 --before 2 --yes");
    session.run("consume snap-r -e -f '%o\\n'");
    session.run("topic delete snap-r --yes");
    session.finish();
}

#[test]
fn groups() {
    let mut session = Session::start("groups");
    session.run("topic create snap-g:2");
    session.feed("produce snap-g -p 0", "1\n2\n3\n");
    session.feed("produce snap-g -p 1", "4\n");
    session.run("consume snap-g:0 -g snap-group -e");
    session.run("consume snap-g -g snap-group -e -f %t\\n");
    session.feed("produce snap-g -p 1", "5\n6\n");
    session.run("group list snap-*");
    session.run("group list snap-* --format json");
    session.run("group describe snap-group");
    session.run("group describe snap-group --format json");
    session.run("group describe snap-groups");
    session.run("group lag snap-group");
    session.run("group lag snap-group --by partition --format json");
    session.run("group lag snap-group --max 1");
    session.run("group lag snap-group --max 2");
    session.run("group seek snap-group --to start");
    session.run("group seek snap-group --to start --dry-run --format json");
    session.run("group seek snap-group --to start --yes");
    session.run("group seek snap-group --by 2 --topic snap-g:0 --yes");
    session.run("group delete-offsets snap-group snap-g:1 --yes");
    session.run("group delete-offsets snap-group snap-x --yes");
    session.run("group delete snap-group");
    session.run("group delete snap-group --yes");
    session.run("group delete snap-group --yes --format json");
    session.run("topic delete snap-g --yes");
    session.finish();
}

#[test]
fn settings() {
    let mut session = Session::start("settings");
    session.run("topic create snap-s:1");
    session.run("config set --topic snap-s retention.ms=5000 --dry-run");
    session.run("config set --topic snap-s retention.ms=5000 --format json");
    session.run("config set --topic snap-s retention.ms=soon");
    session.run("config get --topic snap-s retention.* max.message.bytes");
    session.run("config get --topic snap-s retention.mss");
    session.run("config explain retention.mz --topic snap-s");
    session.run("config unset --topic snap-s retention.ms");
    session.run("config get --topic snap-nothing retention.ms");
    session.run("config get --broker x retention.ms");
    session.run("config get retention.ms");
    session.run("topic delete snap-s --yes");
    session.finish();
}

#[test]
fn cluster() {
    let mut session = Session::start("cluster");
    session.run("cluster health");
    session.run("cluster health --format json");
    session.run("doctor");
    session.run("broker apis --broker 77");
    session.run("broker apis --columns");
    session.finish();
}

#[test]
fn bench() {
    let mut session = Session::start("bench");
    let short = "--duration 1s --warm-up 50ms --size 100 --format json";
    session.measure(&format!("bench produce {short} --partitions 2 --clients 2 --in-flight 3"));
    session.measure(&format!("bench produce {short} --rate 500 --batch 0 --acks 1 --rounds 2"));
    session.measure(&format!("bench consume {short} --records 5000"));
    session.measure(&format!("bench e2e {short} --rate 200 --partitions 2"));
    session.run("bench produce --columns");
    session.run("bench produce --size 3");
    session.run("bench produce --rounds 0");
    session.run("bench produce --config nonsense");
    session.run("bench consume --topic bench-none");
    session.run("topic create bench-empty");
    session.run("bench consume --topic bench-empty --format json");
    session.run("topic list ottla-bench-*");
    session.finish();
}

#[test]
fn usage() {
    let mut session = Session::start("usage");
    session.run("topik list");
    session.run("topic list --format json --nonsense");
    session.run("topic list -X bootstrap.server=x");
    session.run("topic list -X sasl.mechanism=PLAIN --format json");
    session.run("topic list -b localhost:1");
    session.run("topic list -b localhost:1 --format json");
    session.run("topic delete a --watch");
    session.run("help nothing");
    session.run("consume t --format yaml");
    session.run("config check /nowhere.toml");
    session.run("config show --set num.partitions=3 --set log.dirs=/x");
    session.run("config show --set num.partition=3");
    session.run("serve --set listeners=PLAINTEXT://127.0.0.1:0");
    session.run("dev --brokers 3 --set node.id=4");
    session.run("dev --brokers 3 --set log.dirs=/nowhere/at/all");
    session.run("dev --brokers 3 --port 65534");
    session.finish();
}

#[test]
fn replicas() {
    let mut session = Session::start_three("replicas");
    session.run("topic create snap-p:1:3");
    // Where replicas begin is drawn at random.
    session.until("partition move snap-p:0 --to 1,2,3 --wait", "exit 0");
    session.run("partition move snap-p:0 --to 3,1,2 --dry-run");
    session.run("partition move snap-p:0 --to 3,1,2 --wait");
    session.until("partition list snap-p --unhealthy --format tsv", "exit 0");
    session.until("partition elect snap-p", "nothing to do");
    session.until("partition list snap-p --format tsv", "snap-p\t0\t3\t");
    session.until("partition list snap-p --format json", "\"in_sync\": \"1,2,3\"");
    session.run("partition list snap-p --columns");
    session.run("partition list --unhealthy");
    session.run("partition list snap-q");
    session.run("partition elect snap-p");
    session.run("partition elect snap-p:7");
    session.run("partition move snap-p:0 --to 3,9");
    session.run("partition move snap-p:0 --to 3,1,2");
    session.run("partition moves");
    session.run("partition moves --format json");
    session.run("partition cancel");
    session.run("partition cancel --dry-run --format json");
    session.run("topic create snap-r:1:1");
    session.until("partition move snap-r:0 --to 1 --wait", "exit 0");
    session.run("partition move snap-r:0 --to 2 --wait --format json");
    session.until("partition list snap-r --format tsv", "snap-r\t0\t2\t");
    session.run("partition rebalance --exclude-broker 2 --format tsv");
    session.run("partition rebalance --exclude-broker 2 --max-moves 1");
    session.run("partition rebalance --exclude-broker 2 --apply --wait --format tsv");
    session.run("cluster health");
    session.run("cluster quorum --columns");
    session.run("cluster info --columns");
    session.run("broker drain 9");
    session.run("broker remove 9");
    session.run("broker remove 3 --dry-run");
    session.run("broker remove 3");
    session.finish();
}
