import { FieldCountError, NotANumberError, NumberRangeError, RecordSizeError } from '../errors.js'
import type { Refusal, Rules } from '../store/store.js'

/**
 * The error that tells an application why the store refused an operation.
 *
 * @param field the field's name
 * @param rules the limits that were in force
 */
export function refusalError (reason: Refusal['refused'], field: string, rules: Rules): Error {
  switch (reason) {
    case 'fields': return new FieldCountError(rules.maxFields)
    case 'size': return new RecordSizeError(rules.maxRecordSize)
    case 'not-a-number': return new NotANumberError(field)
    case 'range': return new NumberRangeError(field)
  }
}
