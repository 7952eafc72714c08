/**
 * The comments that stand in a schema's source, one before each property: editors show them, and the tables of the
 * documentation repeat them.
 */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'

/** What the comment before a property says. */
export interface SchemaComment {
  /** Of a property in a group, with the group: `cookie.name`. */
  path: string
  /** In one line. */
  text: string
  /** What `@default` says. */
  standard: string
}

/**
 * The comments of all properties that are no groups, in their order.
 *
 * @param file from `src`, such as `options.ts`
 * @param name of the constant that is `Type.Object({ … })`
 */
export function commentsOf (file: string, name: string): SchemaComment[] {
  const path = fileURLToPath(new URL(`../../src/${file}`, import.meta.url))
  const source = ts.createSourceFile(path, readFileSync(path, 'utf8'), ts.ScriptTarget.Latest, true)
  const constants = new Map(source.statements.filter(ts.isVariableStatement)
    .flatMap(({ declarationList }) => declarationList.declarations.map(({ name, initializer }) => [name.getText(), initializer] as const)))
  const found: SchemaComment[] = []
  const walk = (schema: ts.Expression | undefined, parent: string): void => {
    for (const property of propertiesOf(schema)) {
      const own = parent + property.name.getText()
      const value = ts.isIdentifier(property.initializer) ? constants.get(property.initializer.text) : property.initializer
      if (propertiesOf(value).length > 0) walk(value, `${own}.`)
      else found.push({ path: own, ...commentOf(property) })
    }
  }
  walk(constants.get(name), '')
  return found
}

/** Those of `Type.Object({ … })`. */
function propertiesOf (schema: ts.Expression | undefined): ts.PropertyAssignment[] {
  if (schema === undefined || !ts.isCallExpression(schema) || schema.expression.getText() !== 'Type.Object') return []
  return (schema.arguments[0] as ts.ObjectLiteralExpression).properties.filter(ts.isPropertyAssignment)
}

function commentOf (property: ts.PropertyAssignment): Omit<SchemaComment, 'path'> {
  const [comment] = ts.getJSDocCommentsAndTags(property).filter(ts.isJSDoc)
  const tag = comment?.tags?.find(({ tagName }) => tagName.text === 'default')
  return { text: inLine(comment?.comment), standard: inLine(tag?.comment) }
}

function inLine (comment: string | ts.NodeArray<ts.JSDocComment> | undefined): string {
  return (ts.getTextOfJSDocComment(comment) ?? '').replace(/\s+/g, ' ').trim()
}
