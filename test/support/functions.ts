// The functions of a source file and how long each of them is.
import { parseSync } from 'vite'

interface Node {
  readonly type: string
  readonly start: number
  readonly end: number
  readonly body?: unknown
  readonly id?: { readonly name: string } | null
  readonly key?: { readonly name?: string }
}

export interface FoundFunction {
  readonly name: string
  /** From its first line to its last one, those of functions inside it included. */
  readonly lines: number
}

/** Functions, methods and arrow functions with a body, in no order. */
export function functionsOf(file: string, text: string): FoundFunction[] {
  const found: FoundFunction[] = []
  const lineAt = (offset: number) => text.slice(0, offset).split('\n').length

  function visit(value: unknown, parent: Node | null): void {
    if (Array.isArray(value)) {
      for (const item of value) visit(item, parent)
      return
    }
    if (typeof value !== 'object' || value === null || !('type' in value)) return
    const node = value as Node
    if (/Function/.test(node.type) && node.body != null) {
      const name = node.id?.name ?? parent?.key?.name ?? parent?.id?.name ?? 'a function'
      found.push({ name, lines: lineAt(node.end) - lineAt(node.start) + 1 })
    }
    for (const child of Object.values(node)) visit(child, node)
  }

  visit(parseSync(file, text).program, null)
  return found
}
