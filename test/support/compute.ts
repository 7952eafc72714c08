/** Keeps this process busy without a break, as rendering or hashing does: it reads nothing and writes nothing meanwhile. */
export function compute (milliseconds: number): void {
  const end = performance.now() + milliseconds
  while (performance.now() < end);
}
