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
  assertCarriable(name, value, maxDepth, [], '')
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

/** Objects whose content JSON does not see, or turns into something else, whatever fields they may show besides. */
function isOpaque (value: object): boolean {
  return types.isMap(value) || types.isSet(value) || types.isWeakMap(value) || types.isWeakSet(value) ||
    types.isPromise(value) || types.isRegExp(value) || types.isNativeError(value) ||
    types.isAnyArrayBuffer(value) || ArrayBuffer.isView(value)
}

/** Whether an object is one as `{}` and `Object.create(null)` make it, in any realm: it is nothing beyond its fields. */
function isPlain (value: object): boolean {
  const prototype: object | null = Object.getPrototypeOf(value)
  return (prototype === null || Object.getPrototypeOf(prototype) === null) && Object.prototype.toString.call(value) === '[object Object]'
}

/** What an object is, for messages: `Map`, `Array Iterator`, the name of a class. */
function kindOf (value: object): string {
  const tag = Object.prototype.toString.call(value).slice(8, -1)
  const { constructor } = value as { constructor?: { name?: unknown } }
  return tag === 'Object' && typeof constructor?.name === 'string' && constructor.name !== '' ? constructor.name : tag
}

/**
 * Throws unless JSON carries the whole value.
 *
 * @param ancestors the containers on the way down, to see cycles
 * @param key under which the value stands there, for `toJSON`
 */
function assertCarriable (name: string, value: unknown, maxDepth: number, ancestors: object[], key: string | number): void {
  if (typeof value !== 'object' || value === null) {
    assertScalar(name, value)
    return
  }
  const { toJSON } = value as { toJSON?: unknown }
  if (typeof toJSON !== 'function') {
    assertObject(name, value, maxDepth, ancestors)
    return
  }
  assertTransparent(name, value)
  if (types.isDate(value) && Number.isNaN(value.getTime())) throw new ValueError(name, 'JSON has no invalid date')
  // As JSON.stringify has it: what comes of it stands for the object, and is not asked for its own toJSON.
  const shown: unknown = toJSON.call(value, String(key))
  if (typeof shown === 'object' && shown !== null) assertObject(name, shown, maxDepth, ancestors)
  else assertScalar(name, shown)
}

function assertScalar (name: string, value: unknown): void {
  switch (typeof value) {
    case 'string': case 'boolean':
      return
    case 'number':
      if (!Number.isFinite(value)) throw new ValueError(name, `JSON has no ${String(value)}`)
      return
    case 'object': // null
      return
    default: // undefined, function, symbol, bigint
      throw new ValueError(name, `JSON cannot carry a value of type ${typeof value}`)
  }
}

function assertTransparent (name: string, value: object): void {
  if (isOpaque(value)) throw new ValueError(name, `JSON cannot carry an object of type ${kindOf(value)}; store plain arrays and objects`)
}

/** Throws unless JSON carries an object field by field. */
function assertObject (name: string, value: object, maxDepth: number, ancestors: object[]): void {
  assertTransparent(name, value)
  if (types.isBoxedPrimitive(value)) {
    assertScalar(name, value.valueOf())
    return
  }
  if (ancestors.includes(value)) throw new ValueError(name, 'it contains itself')
  if (ancestors.length >= maxDepth) throw new DepthError(name, maxDepth)
  ancestors.push(value)
  if (Array.isArray(value)) {
    // By index, because iteration methods skip holes, which JSON turns into null.
    for (let i = 0; i < value.length; i++) assertCarriable(name, value[i], maxDepth, ancestors, i)
  } else {
    const keys = Object.keys(value)
    // What holds something JSON shows nothing of, such as Headers, an iterator or private fields, would come back as {}.
    if (keys.length === 0 && !isPlain(value)) {
      throw new ValueError(name, `JSON shows nothing of an object of type ${kindOf(value)}; store plain arrays and objects`)
    }
    for (const key of keys) {
      const member: unknown = (value as Record<string, unknown>)[key]
      // An absent optional member is what everybody means by `{ a: undefined }`, and JSON leaves it out just so. It leaves out
      // toJSON as well, which is no data.
      if (member !== undefined && !(typeof member === 'function' && key === 'toJSON')) assertCarriable(name, member, maxDepth, ancestors, key)
    }
  }
  ancestors.pop()
}
