/**
 * Exact addition of decimal numbers, as every store has to do it.
 *
 * Binary floating point turns 0.1 + 0.2 into 0.30000000000000004, and counters past 2^53 silently stop counting. Here a
 * number is an integer coefficient and a count of decimals; both operands are brought to the same count, and whatever
 * does not fit into an exact integer (2^53-1) is refused instead of rounded.
 */

/** A number as JSON writes it (RFC 8259, section 6), taken apart. */
const NUMBER = /^(-?)(0|[1-9]\d*)(?:\.(\d+))?(?:[eE]([+-]?\d{1,3}))?$/

/** Digits that an exact integer can have. More cannot fit, and need not be looked at. */
const MAX_DIGITS = 16

interface Decimal { coefficient: number, decimals: number }

/**
 * The sum of two decimal numbers.
 *
 * @param text the stored number
 * @param by what to add
 * @returns the sum as plain decimal text, `'not-a-number'` where `text` is no JSON number, or `'range'` where an
 *   operand or the sum cannot be held exactly
 */
export function addDecimals (text: string, by: string): { sum: string } | 'not-a-number' | 'range' {
  const a = parse(text)
  const b = parse(by)
  if (a === undefined || b === undefined) return 'not-a-number'
  if (a === 'range' || b === 'range') return 'range'
  const decimals = Math.max(a.decimals, b.decimals)
  const left = scale(a.coefficient, decimals - a.decimals)
  const right = scale(b.coefficient, decimals - b.decimals)
  if (left === undefined || right === undefined) return 'range'
  const sum = left + right
  return Number.isSafeInteger(sum) ? { sum: format(sum, decimals) } : 'range'
}

function parse (text: string): Decimal | 'range' | undefined {
  const match = NUMBER.exec(text)
  if (match === null) return undefined
  const [, sign, whole = '', fraction = '', exponent = '0'] = match
  let digits = (whole + fraction).replace(/^0+/, '')
  let decimals = fraction.length - Number(exponent)
  const trailing = digits.length - digits.replace(/0+$/, '').length
  digits = digits.slice(0, digits.length - trailing)
  decimals -= trailing
  if (digits === '') return { coefficient: 0, decimals: 0 }
  if (digits.length > MAX_DIGITS) return 'range'
  let coefficient: number | undefined = Number(digits)
  if (decimals < 0) {
    coefficient = scale(coefficient, -decimals)
    decimals = 0
  }
  if (coefficient === undefined || !Number.isSafeInteger(coefficient)) return 'range'
  return { coefficient: sign === '-' ? -coefficient : coefficient, decimals }
}

/** `coefficient` times ten to the power of `digits`, or `undefined` where that is no exact integer any more. */
function scale (coefficient: number, digits: number): number | undefined {
  if (coefficient === 0) return 0
  if (digits > MAX_DIGITS) return undefined
  const scaled = coefficient * 10 ** digits
  return Number.isSafeInteger(scaled) ? scaled : undefined
}

function format (coefficient: number, decimals: number): string {
  if (decimals === 0 || coefficient === 0) return String(coefficient === 0 ? 0 : coefficient)
  const digits = String(Math.abs(coefficient)).padStart(decimals + 1, '0')
  const fraction = digits.slice(-decimals).replace(/0+$/, '')
  const whole = digits.slice(0, -decimals)
  return (coefficient < 0 ? '-' : '') + whole + (fraction === '' ? '' : `.${fraction}`)
}
