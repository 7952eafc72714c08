/**
 * Objects without other properties than those that are declared, where TypeScript does not look for itself: Fastify infers
 * the type of a route's config from what is written there, so that any property is one that was declared.
 */

/** An object of this type and no other property: whatever name begins otherwise than the declared ones is ruled out. */
export type Exact<Type> = Type & Forbidden<Others<Extract<keyof Type, string>>>

type Forbidden<Names extends string> = { [Name in Names]?: never }

/** All names but these, as patterns: those that go on with another letter somewhere, and those that end too early. */
type Others<Names extends string, Begun extends string = ''> = `${Begun}${Exclude<Letter, First<Names>>}${string}` | Longer<Names, Begun, First<Names>>

type Longer<Names extends string, Begun extends string, Next extends string> = Next extends string
  ? Others<Rest<Names, Next>, `${Begun}${Next}`> | ('' extends Rest<Names, Next> ? never : `${Begun}${Next}`)
  : never

type First<Names extends string> = Names extends `${infer Letter}${string}` ? Letter : never

type Rest<Names extends string, Begin extends string> = Names extends `${Begin}${infer End}` ? End : never

type Letter = Small | Uppercase<Small> | '_'

type Small = 'a' | 'b' | 'c' | 'd' | 'e' | 'f' | 'g' | 'h' | 'i' | 'j' | 'k' | 'l' | 'm' | 'n' | 'o' | 'p' | 'q' | 'r' | 's' | 't' | 'u' | 'v' | 'w' | 'x' | 'y' | 'z'
