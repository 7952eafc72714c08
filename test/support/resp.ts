/** As much of Redis' protocol (RESP 2 and 3) as it takes to tell where one message ends and the next begins. */

/** The first byte of a message that answers no command, such as what was published on a channel. */
const PUSH = '>'.charCodeAt(0)

/** Where the value ends that begins at an offset; `undefined` while it has not arrived in full. */
function endOfValue (data: Buffer, start: number): number | undefined {
  let at = start
  for (let missing = 1; missing > 0; missing -= 1) {
    const endOfLine = data.indexOf('\r\n', at, 'latin1')
    if (endOfLine === -1) return undefined
    const type = String.fromCharCode(data[at]!)
    const length = Math.max(0, Number(data.toString('latin1', at + 1, endOfLine)))
    const isNull = data[at + 1] === '-'.charCodeAt(0)
    at = endOfLine + 2
    if ('$!='.includes(type)) at += isNull ? 0 : length + 2
    else if ('*~>'.includes(type)) missing += length
    else if (type === '%') missing += 2 * length
    // Attributes stand in front of the value that they belong to.
    else if (type === '|') missing += 2 * length + 1
    // Everything else is one line: a simple value, or a command typed by hand.
    if (at > data.length) return undefined
  }
  return at
}

/** Cuts a stream of bytes into messages: commands, or replies. */
export class MessageSplitter {
  #rest: Buffer = Buffer.alloc(0)

  /** Takes what has arrived, and gives back all messages that are complete by now. */
  push (chunk: Buffer): Buffer[] {
    const data = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    const messages: Buffer[] = []
    let start = 0
    for (let end = endOfValue(data, start); end !== undefined; end = endOfValue(data, start)) {
      messages.push(data.subarray(start, end))
      start = end
    }
    this.#rest = data.subarray(start)
    return messages
  }
}

/** The name of a command, in capitals; empty where the message is none, such as an empty line. */
export function commandName (message: Buffer): string {
  // *<count> $<length of the name> <name> …, or words in one line
  const text = message.toString('latin1', 0, 100)
  const name = text.startsWith('*') ? text.split('\r\n', 3)[2] : text.trim().split(' ', 1)[0]
  return (name ?? '').toUpperCase()
}

/** Whether a message of the server answers a command. */
export function isReply (message: Buffer): boolean {
  return message[0] !== PUSH
}
