/**
 * How a value becomes the text of a field and back.
 *
 * Decode: JSON where the text is valid JSON, else the text itself. Encode: the text itself where that decodes to the
 * same string, else JSON. So `andrew` stands as it is, `3`, `true` and `{"a":1}` are JSON, and the string `02134`,
 * which is no JSON, needs no quotes while the string `3` gets them.
 */
import { types } from 'node:util'
import { DepthError, ValueError } from '../errors.js'

/** A number as JSON writes it (RFC 8259, section 6), with the white space that JSON allows around it. */
const JSON_NUMBER = /^[ \t\n\r]*-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?[ \t\n\r]*$/

/**
 * The text that stands for a value in the record.
 *
 * @param name the field's name, for error messages only
 * @param value anything that JSON can carry
 * @param maxDepth how deep arrays and objects may be nested; a scalar has depth 0
 * @returns text for the store
 * @throws ValueError (`SESSION_VALUE_INVALID`) where JSON would drop or change the value
 * @throws DepthError (`SESSION_VALUE_TOO_DEEP`) where it is nested too deep
 */
export function encode (name: string, value: unknown, maxDepth: number): string {
  if (typeof value === 'string') return standsForItself(value) ? value : JSON.stringify(value)
  assertCarriable(name, value, maxDepth, [])
  return JSON.stringify(value)
}

/**
 * The value that a field's text stands for. Never throws: what is not JSON is a string.
 *
 * @param text the field as stored, by this plugin or by anybody else
 */
export function decode (text: string): unknown {
  if (!mayBeJson(text)) return text
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

/**
 * The value of a text that has to be JSON.
 *
 * @param text the field as stored
 * @returns the parsed value, or `undefined` where the text is not JSON
 */
export function decodeJson (text: string): unknown {
  if (!mayBeJson(text)) return undefined
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** Whether a string may stand in the record without quotes: it decodes to itself and survives UTF-8. */
function standsForItself (text: string): boolean {
  if (!text.isWellFormed()) return false
  return !mayBeJson(text) || decode(text) === text
}

/**
 * Rules out by the first character what cannot be JSON, and decides numbers and literals without parsing: parsing a
 * string that turns out not to be JSON throws, which costs more than everything else here together.
 */
function mayBeJson (text: string): boolean {
  const first = text.charCodeAt(0)
  switch (first) {
    case 0x22: case 0x5b: case 0x7b: // " [ {
    case 0x20: case 0x09: case 0x0a: case 0x0d: // white space
      return true
    case 0x74: case 0x66: case 0x6e: // t f n, perhaps followed by white space
      return text.startsWith('true') || text.startsWith('false') || text.startsWith('null')
    default:
      return beginsNumber(first) && JSON_NUMBER.test(text)
  }
}

function beginsNumber (character: number): boolean {
  return character === 0x2d || (character >= 0x30 && character <= 0x39)
}

/** Objects that JSON would turn into `{}` or into something that does not come back. */
function isOpaque (value: object): boolean {
  return types.isMap(value) || types.isSet(value) || types.isWeakMap(value) || types.isWeakSet(value) ||
    types.isPromise(value) || types.isRegExp(value) || types.isNativeError(value) ||
    types.isAnyArrayBuffer(value) || ArrayBuffer.isView(value)
}

/** Throws unless JSON carries the whole value; `ancestors` are the containers on the way down, to see cycles. */
function assertCarriable (name: string, value: unknown, maxDepth: number, ancestors: object[]): void {
  switch (typeof value) {
    case 'string': case 'boolean':
      return
    case 'number':
      if (!Number.isFinite(value)) throw new ValueError(name, `JSON has no ${String(value)}`)
      return
    case 'object':
      if (value !== null) assertContainer(name, value, maxDepth, ancestors)
      return
    default: // undefined, function, symbol, bigint
      throw new ValueError(name, `JSON cannot carry a value of type ${typeof value}`)
  }
}

function assertContainer (name: string, value: object, maxDepth: number, ancestors: object[]): void {
  if (isOpaque(value)) {
    throw new ValueError(name, `JSON cannot carry a ${Object.prototype.toString.call(value).slice(8, -1)}; store plain arrays and objects`)
  }
  if (types.isBoxedPrimitive(value)) {
    assertCarriable(name, value.valueOf(), maxDepth, ancestors)
    return
  }
  if (types.isDate(value) && Number.isNaN(value.getTime())) throw new ValueError(name, 'JSON has no invalid date')
  if (ancestors.includes(value)) throw new ValueError(name, 'it contains itself')
  if (ancestors.length >= maxDepth) throw new DepthError(name, maxDepth)
  ancestors.push(value)
  const toJSON: unknown = (value as { toJSON?: unknown }).toJSON
  if (typeof toJSON === 'function') {
    assertCarriable(name, toJSON.call(value, ''), maxDepth, ancestors)
  } else if (Array.isArray(value)) {
    // By index, because iteration methods skip holes, which JSON turns into null.
    for (let i = 0; i < value.length; i++) assertCarriable(name, value[i], maxDepth, ancestors)
  } else {
    for (const key of Object.keys(value)) {
      const member: unknown = (value as Record<string, unknown>)[key]
      // An absent optional member is what everybody means by `{ a: undefined }`, and JSON leaves it out just so.
      if (member !== undefined) assertCarriable(name, member, maxDepth, ancestors)
    }
  }
  ancestors.pop()
}
