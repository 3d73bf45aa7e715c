/** As much of MongoDB as `hello`, `find` and the cursor that comes of it. */
import { BSON } from 'mongodb'

function mongo(command) {
  const documents = [{ text: 'x'.repeat(1000) }]
  const ns = 'test.documents'
  if (command.hello || command.ismaster) {
    return {
      ...{ isWritablePrimary: true, ismaster: true, helloOk: true, readOnly: false },
      ...{ minWireVersion: 0, maxWireVersion: 25, logicalSessionTimeoutMinutes: 30 },
      ...{ maxBsonObjectSize: 16_777_216, maxMessageSizeBytes: 48_000_000 },
      ...{ maxWriteBatchSize: 100_000, localTime: new Date(), connectionId: 1, ok: 1 },
    }
  }
  if (command.find) return { cursor: { id: 1n, ns, firstBatch: documents }, ok: 1 }
  if (command.getMore) return { cursor: { id: 1n, ns, nextBatch: documents }, ok: 1 }
  return { n: 1, ok: 1 }
}

const OP_QUERY = 2004

/** MongoDB's messages: OP_MSG, and OP_QUERY with which a client begins. */
function answerMongo(message) {
  const [id, operation] = [message.readInt32LE(4), message.readInt32LE(12)]
  const query = operation === OP_QUERY
  // Before the document: flags, name, skip, limit; or flags, the kind of section.
  const start = query ? message.indexOf(0, 20) + 9 : 21
  const size = message.readInt32LE(start)
  const document = BSON.serialize(mongo(BSON.deserialize(message.subarray(start, start + size))))
  const head = Buffer.alloc(query ? 36 : 21)
  head.writeInt32LE(head.length + document.length, 0)
  head.writeInt32LE(id, 8)
  head.writeInt32LE(query ? 1 : 2013, 12)
  if (query) head.writeInt32LE(1, 32)
  return Buffer.concat([head, document])
}

export function serveMongo(socket) {
  let received = Buffer.alloc(0)
  socket
    .on('error', () => {})
    .on('data', (data) => {
      received = Buffer.concat([received, data])
      while (received.length >= 16 && received.length >= received.readInt32LE(0)) {
        const size = received.readInt32LE(0)
        socket.write(answerMongo(received.subarray(0, size)))
        received = received.subarray(size)
      }
    })
}
