// kafkajs: records and groups. Arguments: case, address, prefix, target.
'use strict'

const assert = require('node:assert/strict')
const crypto = require('node:crypto')
const { Kafka, CompressionTypes, CompressionCodecs, AssignerProtocol, PartitionAssigners, logLevel } = require('kafkajs')
const lz4 = require('lz4-napi')
const zstd = require('@bokuweb/zstd-wasm')

const [what, address, prefix] = process.argv.slice(2)
const LIMIT_MS = 60_000
// Just under the default max.message.bytes (1 MiB + 12), with room for what a codec adds to noise.
const LARGE = (1 << 20) - 1024
// Recent, so that retention leaves it alone.
const BASE_MS = Date.now() - 3_600_000

CompressionCodecs[CompressionTypes.Snappy] = require('kafkajs-snappy')
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: encoder => lz4.compressFrame(encoder.buffer),
  decompress: buffer => lz4.decompressFrame(buffer),
})
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async encoder => Buffer.from(zstd.compress(encoder.buffer)),
  decompress: async buffer => Buffer.from(zstd.decompress(buffer)),
})

const kafka = new Kafka({ brokers: [address], clientId: prefix, logLevel: logLevel.NOTHING, retry: { retries: 8, initialRetryTime: 50 } })
const admin = kafka.admin()

const step = text => console.log(`-- ${text}`)
const noise = (length, seed) =>
  crypto.createHash('shake128', { outputLength: Math.max(length, 1) }).update(String(seed)).digest().subarray(0, length)

async function wait(text, done) {
  const end = Date.now() + LIMIT_MS
  while (!(await done())) {
    assert(Date.now() < end, `timed out waiting until ${text}`)
    await new Promise(resolve => setTimeout(resolve, 20))
  }
}

async function create(topic, numPartitions) {
  assert(await admin.createTopics({ topics: [{ topic, numPartitions, replicationFactor: 1 }], waitForLeaders: true }))
  return topic
}

function oddRecords() {
  const rows = [
    { key: null, value: Buffer.from('null key') },
    { key: Buffer.from('empty value'), value: Buffer.alloc(0) },
    { key: Buffer.from('null value'), value: null },
    { key: Buffer.alloc(0), value: Buffer.from('empty key') },
    { key: Buffer.from('headers'), value: Buffer.from('h'), headers: { again: ['1', '2', '1'], other: 'x', 'grüße': noise(3000, 3) } },
    { key: Buffer.from('noise'), value: noise(LARGE, 1) },
    { key: Buffer.from('zeroes'), value: Buffer.alloc(LARGE) },
  ]
  for (let i = 0; i < 500; i++) rows.push({ key: Buffer.from(`k${i}`), value: noise(i, i) })
  return rows.map((row, i) => ({ partition: 0, headers: {}, ...row, timestamp: String(BASE_MS + i * 1000) }))
}

const plain = headers =>
  Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, [value].flat().map(v => Buffer.from(v).toString('hex'))]))

// Reads from `offset` on, through a group of its own: this client has no other way.
async function read(topic, offset, count) {
  const consumer = kafka.consumer({ groupId: `${topic}-reader-${offset}`, maxWaitTimeInMs: 100 })
  const got = []
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  await consumer.run({ autoCommit: false, eachMessage: async ({ message }) => void got.push(message) })
  consumer.seek({ topic, partition: 0, offset: String(offset) })
  await wait(`${count} records of ${topic} came`, () => got.length >= count)
  await consumer.disconnect()
  return got
}

async function records() {
  for (const [name, compression] of Object.entries({
    none: CompressionTypes.None, gzip: CompressionTypes.GZIP, snappy: CompressionTypes.Snappy,
    lz4: CompressionTypes.LZ4, zstd: CompressionTypes.ZSTD,
  })) {
    step(`codec ${name}`)
    const topic = await create(`${prefix}-${name}`, 1)
    const rows = oddRecords()
    for (const idempotent of [false, true]) {
      const producer = kafka.producer({ idempotent, maxInFlightRequests: 1 })
      await producer.connect()
      let at = idempotent ? rows.length : 0
      // A request is one batch here: the large ones go alone.
      for (const messages of [rows.slice(0, 5), [rows[5]], [rows[6]], rows.slice(7)]) {
        const [answer] = await producer.send({ topic, messages, compression, acks: -1 })
        assert.equal(answer.baseOffset, String(at), 'base offset')
        at += messages.length
      }
      await producer.disconnect()
    }
    const got = await read(topic, 0, 2 * rows.length)
    got.forEach((message, i) => {
      const row = rows[i % rows.length]
      assert.equal(message.offset, String(i), 'offset')
      assert.deepEqual(message.key, row.key, `key of record ${i}`)
      assert.deepEqual(message.value, row.value, `value of record ${i}`)
      assert.equal(message.timestamp, row.timestamp, `timestamp of record ${i}`)
      assert.deepEqual(plain(message.headers), plain(row.headers), `headers of record ${i}`)
    })
    assert.equal((await read(topic, 250, 1))[0].offset, '250', 'reading from the middle')
    const [byTime] = await admin.fetchTopicOffsetsByTimestamp(topic, BASE_MS + 99_500)
    assert.equal(byTime.offset, '100', 'offset by time')
    const [ends] = await admin.fetchTopicOffsets(topic)
    assert.deepEqual([ends.low, ends.high], ['0', String(2 * rows.length)], 'ends')
  }
  step('a record that is too large')
  const producer = kafka.producer({ retry: { retries: 0 } })
  await producer.connect()
  await assert.rejects(producer.send({ topic: `${prefix}-none`, messages: [{ value: noise(2 << 20, 9) }] }), /too large|MESSAGE_TOO_LARGE|larger/i)
  await producer.disconnect()
}

// One consumer of a group: what it holds follows from its GROUP_JOIN events.
async function join(topic, groupId, partitionAssigners, seen) {
  const consumer = kafka.consumer({
    groupId, partitionAssigners, maxWaitTimeInMs: 100, heartbeatInterval: 200, sessionTimeout: 10_000, rebalanceTimeout: 20_000,
  })
  const member = { held: 0, leave: () => consumer.disconnect() }
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => { member.held = (payload.memberAssignment[topic] ?? []).length })
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  await consumer.run({
    autoCommitInterval: 100,
    eachMessage: async ({ partition, message }) => void seen.add(`${partition}/${message.offset}`),
  })
  return member
}

const settle = (members, ...sizes) =>
  wait(`the members hold ${sizes}`, () => members.every((member, i) => member.held === sizes[i]))

async function groups() {
  const topic = await create(`${prefix}-shared`, 6)
  const groupId = `${topic}-group`
  const seen = new Set()
  let produced = 0

  const produce = async compression => {
    const producer = kafka.producer()
    await producer.connect()
    const messages = Array.from({ length: 300 }, (_, i) => ({ partition: i % 6, value: `v${i}` }))
    await producer.send({ topic, messages, compression })
    await producer.disconnect()
    produced += messages.length
  }
  const consumed = () => wait(`${produced} records were consumed`, () => seen.size === produced)
  const assigners = [PartitionAssigners.roundRobin]

  const one = await join(topic, groupId, assigners, seen)
  await settle([one], 6)
  await produce(CompressionTypes.None)
  const two = await join(topic, groupId, assigners, seen)
  await settle([one, two], 3, 3)
  await produce(CompressionTypes.GZIP)
  const three = await join(topic, groupId, assigners, seen)
  await settle([one, two, three], 2, 2, 2)
  await produce(CompressionTypes.LZ4)
  await consumed()

  const { groups: [described] } = await admin.describeGroups([groupId])
  assert.equal(described.state, 'Stable')
  assert.equal(described.members.length, 3)
  const assigned = described.members.flatMap(m => AssignerProtocol.MemberAssignment.decode(m.memberAssignment).assignment[topic])
  assert.deepEqual(assigned.sort(), [0, 1, 2, 3, 4, 5], 'assigned in the description')
  assert((await admin.listGroups()).groups.some(g => g.groupId === groupId), 'the group is listed')

  await one.leave()
  await settle([two, three], 3, 3)
  await produce(CompressionTypes.Snappy)
  await two.leave()
  await settle([three], 6)
  await produce(CompressionTypes.ZSTD)
  await consumed()
  await three.leave()
  const [{ partitions }] = await admin.fetchOffsets({ groupId, topics: [topic] })
  for (const { partition, offset } of partitions) assert.equal(offset, String(produced / 6), `committed in ${partition}`)

  step('resetting, deleting')
  await admin.resetOffsets({ groupId, topic, earliest: true })
  await admin.deleteGroups([groupId])
  await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '10' }] })
  const ends = await admin.fetchTopicOffsets(topic)
  assert.equal(ends.find(e => e.partition === 0).low, '10', 'low after the deletion')
  await admin.deleteTopics({ topics: [topic] })
  await wait('the topic is gone', async () => !(await admin.listTopics()).includes(topic))
}

async function main() {
  await zstd.init()
  await admin.connect()
  await { records, groups }[what]()
  await admin.disconnect()
}

main().then(
  () => process.exit(0),
  error => {
    console.error('FAILED:', error)
    process.exit(1)
  },
)
