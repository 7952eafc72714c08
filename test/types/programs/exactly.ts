/** Whether two types are the same: neither wider nor narrower, nor the same only by `any`. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true : false

/** `exactly<string>()(value)` compiles where the value has this type and no other. */
export function exactly<Wanted> (): <Given>(value: Given, ...difference: Same<Given, Wanted> extends true ? [] : [never]) => void {
  return () => {}
}
