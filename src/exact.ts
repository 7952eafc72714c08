/**
 * Objects without other properties than those that are declared, where TypeScript does not look for itself: Fastify infers
 * the type of a route's config from what is written there, so that any property is one that was declared.
 */

/** For what an object of this type is to be intersected with: all other names are ruled out, by the letters that they are made of. */
export type NoOthers<Type> = { [Name in Others<Names<Type>>]?: never }

/**
 * What may stand in place of an object of this type. That it has none of the properties has to be said: where two types of
 * a union may be meant, editors describe neither.
 */
export type Instead<Value, Type> = Value & { [Name in Names<Type>]?: 'none' }

type Names<Type> = Extract<keyof Type, string>

/**
 * Patterns of all names but these: of those that go on with another letter somewhere, and of those that end too early.
 * (Not the latter by themselves: names would be offered by editors, patterns are not.)
 */
type Others<All extends string, Ends extends string = All, Begun extends string = ''> =
  `${Begun}${Exclude<Letter, First<Ends>>}${string}` | Longer<All, Ends, Begun, First<Ends>>

type Longer<All extends string, Ends extends string, Begun extends string, Next extends string> = Next extends string
  ? Others<All, Rest<Ends, Next>, `${Begun}${Next}`> | Unless<All, `${Begun}${string}${Next}`>
  : never

/** A pattern, unless one of the names has that form. */
type Unless<All extends string, Pattern extends string> = [Extract<All, Pattern>] extends [never] ? Pattern : never

type First<Ends extends string> = Ends extends `${infer Letter}${string}` ? Letter : never

type Rest<Ends extends string, Begin extends string> = Ends extends `${Begin}${infer End}` ? End : never

type Letter = Small | Uppercase<Small> | '_'

type Small = 'a' | 'b' | 'c' | 'd' | 'e' | 'f' | 'g' | 'h' | 'i' | 'j' | 'k' | 'l' | 'm' | 'n' | 'o' | 'p' | 'q' | 'r' | 's' | 't' | 'u' | 'v' | 'w' | 'x' | 'y' | 'z'
