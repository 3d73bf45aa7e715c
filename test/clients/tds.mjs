/**
 * As much of SQL Server's protocol (MS-TDS) as its drivers need: a login, and an empty result for a
 * request; rows without end for one that says "endless", and no answer to one that says "waitfor".
 */
export function answerTds(socket) {
  const reply = (body, last = true) => {
    const header = Buffer.from([4, last ? 1 : 0, 0, 0, 0, 0, 1, 0])
    header.writeUInt16BE(header.length + body.length, 2)
    return socket.write(Buffer.concat([header, body]))
  }
  const sendRows = () => {
    while (reply(TDS.row, false));
    socket.once('drain', sendRows)
  }
  let received = Buffer.alloc(0)
  socket
    .on('error', () => {})
    .on('data', (data) => {
      received = Buffer.concat([received, data])
      while (received.length >= 4 && received.length >= received.readUInt16BE(2)) {
        const packet = received.subarray(0, received.readUInt16BE(2))
        received = received.subarray(packet.length)
        const [type, status] = packet
        const isLast = (status & 1) === 1
        if (!isLast) continue
        const text = packet.toString('utf16le')
        if (type === 0x12) reply(TDS.prelogin)
        else if (type === 0x10) reply(Buffer.concat([TDS.loginAck, TDS.done]))
        else if (text.includes('endless')) {
          reply(TDS.columns, false)
          sendRows()
        } else if (!text.includes('waitfor')) reply(TDS.done)
      }
    })
}

const utf16 = (text) => [text.length, ...Buffer.from(text, 'utf16le')]
const TDS = {
  // A version, and no encryption.
  prelogin: Buffer.from([0, 0, 11, 0, 6, 1, 0, 17, 0, 1, 0xff, 15, 0, 0, 0, 0, 0, 2]),
  // TDS 7.4.
  loginAck: Buffer.from([0xad, 16, 0, 1, 0x74, 0, 0, 4, ...utf16('SQL'), 15, 0, 0, 0]),
  // One column: varchar(8000).
  columns: Buffer.from([
    ...[0x81, 1, 0, 0, 0, 0, 0, 0, 0, 0xa7, 0x40, 0x1f, 0x09, 0x04, 0xd0, 0, 0x34],
    ...utf16('text'),
  ]),
  row: Buffer.concat([Buffer.from([0xd1, 0x40, 0x1f]), Buffer.alloc(8000, 'x')]),
  done: Buffer.from([0xfd, ...new Array(12).fill(0)]),
}
