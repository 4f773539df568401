// The scripted kafkajs client. Usage: node kafkajs.js BOOTSTRAP [CASE...]; the modules are found through NODE_PATH.
// One JSON line per case on standard output; see check.py for the protocol with the runner.
const { Kafka, logLevel, CompressionTypes } = require('kafkajs')
const { randomUUID } = require('crypto')
const readline = require('readline')

const [bootstrap, ...only] = process.argv.slice(2)
const LIMIT = 60000
const kafka = new Kafka({ clientId: 'compat', brokers: bootstrap.split(','), logLevel: logLevel.NOTHING,
  retry: { retries: 20, initialRetryTime: 50, maxRetryTime: 1000 } })
const answers = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]()

const unique = prefix => `${prefix}-${randomUUID().slice(0, 10)}`
const values = (n, prefix = 'v') => Array.from({ length: n }, (_, i) => `${prefix}${i}`)
const pause = ms => new Promise(resolve => setTimeout(resolve, ms))

function same(got, want, what) {
  const [g, w] = [JSON.stringify(got), JSON.stringify(want)]
  if (g !== w) throw new Error(`${what}: got ${g.slice(0, 300)}, expected ${w.slice(0, 300)}`)
}

async function until(wanted, what) {
  const deadline = Date.now() + LIMIT
  while (!wanted()) {
    if (Date.now() > deadline) throw new Error(`not within ${LIMIT} ms: ${JSON.stringify(what())}`)
    await pause(20)
  }
}

async function restartBroker() {
  console.log(JSON.stringify({ ask: 'restart' }))
  same((await answers.next()).value, 'restarted', 'the runner')
}

async function withAdmin(work) {
  const admin = kafka.admin()
  await admin.connect()
  try { return await work(admin) } finally { await admin.disconnect() }
}

async function newTopic(name, numPartitions = 1) {
  const topic = unique(name)
  await withAdmin(a => a.createTopics({ topics: [{ topic, numPartitions }], waitForLeaders: true }))
  return topic
}

async function withProducer(work, settings = {}) {
  const producer = kafka.producer({ allowAutoTopicCreation: false, ...settings })
  await producer.connect()
  try { return await work(producer) } finally { await producer.disconnect() }
}

const send = (producer, topic, list, extra = {}) =>
  producer.send({ topic, acks: -1, messages: list.map(value => ({ value, partition: 0 })), ...extra })

async function follow(groupId, topic, settings = {}) {
  const got = [], assigned = { parts: null }
  const consumer = kafka.consumer({ groupId, sessionTimeout: 6000, heartbeatInterval: 500, maxWaitTimeInMs: 200, ...settings })
  consumer.on(consumer.events.GROUP_JOIN, e => { assigned.parts = e.payload.memberAssignment[topic] || [] })
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  await consumer.run({ autoCommit: false, eachMessage: async ({ partition, message }) => { got.push({ partition, message }) } })
  return { consumer, got, assigned, stop: () => consumer.disconnect() }
}

const texts = got => got.map(g => g.message.value.toString())

const cases = {
  'produce-consume': async () => {
    const topic = await newTopic('js-plain')
    await withProducer(p => p.send({ topic, acks: -1,
      messages: values(1000).map(value => ({ key: 'k', value, headers: { a: 'b' } })) }))
    const c = await follow(unique('g'), topic)
    await until(() => c.got.length >= 1000, () => c.got.length)
    same(texts(c.got), values(1000), 'values')
    same(c.got.map(g => Number(g.message.offset)), values(1000).map((_, i) => i), 'offsets')
    same([c.got[0].message.key.toString(), c.got[0].message.headers.a.toString()], ['k', 'b'], 'key and header')
    await c.stop()
  },
  codecs: async () => {
    for (const compression of [CompressionTypes.None, CompressionTypes.GZIP]) {
      const topic = await newTopic('js-codec')
      await withProducer(p => send(p, topic, values(500, 'compress me '), { compression }))
      const c = await follow(unique('g'), topic)
      await until(() => c.got.length >= 500, () => c.got.length)
      same(texts(c.got), values(500, 'compress me '), `codec ${compression}`)
      await c.stop()
    }
  },
  idempotent: async () => {
    const topic = await newTopic('js-idempotent')
    await withProducer(async p => { for (let i = 0; i < 20; i++) await send(p, topic, values(50, `${i}-`)) },
      { idempotent: true, maxInFlightRequests: 1 })
    const c = await follow(unique('g'), topic)
    await until(() => c.got.length >= 1000, () => c.got.length)
    same(texts(c.got), Array.from({ length: 20 }, (_, i) => values(50, `${i}-`)).flat(), 'values')
    await c.stop()
  },
  rebalance: async () => {
    const topic = await newTopic('js-rebalance', 4), group = unique('g')
    const one = await follow(group, topic)
    await until(() => one.assigned.parts?.length === 4, () => one.assigned)
    const two = await follow(group, topic)
    await until(() => one.assigned.parts.length === 2 && two.assigned.parts?.length === 2, () => [one.assigned, two.assigned])
    same([...one.assigned.parts, ...two.assigned.parts].sort(), [0, 1, 2, 3], 'all partitions')
    await two.stop()
    await until(() => one.assigned.parts.length === 4, () => one.assigned)
    await one.stop()
  },
  seek: async () => {
    const topic = await newTopic('js-seek')
    const start = 1700000000000
    await withProducer(p => p.send({ topic, acks: -1,
      messages: values(100).map((value, i) => ({ value, timestamp: String(start + i * 1000) })) }))
    const c = await follow(unique('g'), topic)
    await until(() => c.got.length >= 100, () => c.got.length)
    c.consumer.seek({ topic, partition: 0, offset: '42' })
    await until(() => c.got.length >= 158, () => c.got.length)
    same(texts(c.got.slice(100)), values(100).slice(42), 'after the seek')
    await c.stop()
    const found = await withAdmin(a => a.fetchTopicOffsetsByTimestamp(topic, start + 69500))
    same(found.map(f => f.offset), ['70'], 'offset for a time')
  },
  commits: async () => {
    const topic = await newTopic('js-commits'), group = unique('g')
    await withProducer(p => send(p, topic, values(100)))
    const first = await follow(group, topic)
    await until(() => first.got.length >= 100, () => first.got.length)
    await first.consumer.commitOffsets([{ topic, partition: 0, offset: '60', metadata: 'note' }])
    await first.stop()
    const second = await follow(group, topic)
    await until(() => second.got.length >= 40, () => second.got.length)
    same(texts(second.got), values(100).slice(60), 'after the commit')
    await second.stop()
    const offsets = await withAdmin(a => a.fetchOffsets({ groupId: group, topics: [topic] }))
    same(offsets[0].partitions.map(p => [p.offset, p.metadata]), [['60', 'note']], 'committed')
  },
  admin: async () => {
    const topic = await newTopic('js-admin', 2)
    await withAdmin(async a => {
      await a.createPartitions({ topicPartitions: [{ topic, count: 5 }] })
      const deadline = Date.now() + LIMIT
      const count = async () => (await a.fetchTopicMetadata({ topics: [topic] })).topics[0].partitions.length
      while (await count() !== 5) if (Date.now() > deadline) throw new Error('five partitions were never seen')
      const described = await a.describeConfigs({ includeSynonyms: false,
        resources: [{ type: 2, name: topic, configNames: ['retention.ms'] }] })
      same(described.resources[0].configEntries[0].configValue, '604800000', 'retention.ms')
      same((await a.describeCluster()).brokers.length >= 1, true, 'brokers')
      await a.deleteTopics({ topics: [topic] })
      while ((await a.listTopics()).includes(topic)) if (Date.now() > deadline) throw new Error('the topic was never gone')
    })
  },
  restart: async () => {
    const topic = await newTopic('js-restart'), group = unique('g')
    await withProducer(async p => {
      await send(p, topic, values(500))
      const c = await follow(group, topic)
      await until(() => c.got.length >= 500, () => c.got.length)
      await c.consumer.commitOffsets([{ topic, partition: 0, offset: '500' }])
      await restartBroker()
      await send(p, topic, values(500, 'w'))
      await until(() => c.got.length >= 1000, () => c.got.length)
      same(texts(c.got), [...values(500), ...values(500, 'w')], 'values')
      await c.stop()
    })
  },
}

async function main() {
  for (const [name, work] of Object.entries(cases)) {
    if (only.length && !only.includes(name)) continue
    const began = Date.now()
    const result = { case: name, ok: true, detail: '' }
    try { await work() } catch (e) { result.ok = false; result.detail = String(e.stack || e).slice(0, 1500) }
    result.seconds = (Date.now() - began) / 1000
    console.log(JSON.stringify(result))
  }
  process.exit(0)
}
main()
