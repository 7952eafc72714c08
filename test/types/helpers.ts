/** What the README's examples take from the application around them. */

/** A user, if the form's name and password are right. */
export async function checkPassword (form: unknown): Promise<{ id: string, admin: boolean } | undefined> {
  return form === undefined ? undefined : { id: 'u_48213', admin: false }
}

/** A price in cents. */
export async function price (id: number): Promise<number> {
  return id * 100
}

/** A file to send. */
export async function findReport (): Promise<Buffer> {
  return Buffer.from('report')
}

/** Something to send bit by bit. */
export async function * progress (): AsyncGenerator<string> {
  yield 'one\n'
  yield 'two\n'
}

/** A page. */
export function pageOf (message: string): string {
  return `<p>${message}</p>`
}
