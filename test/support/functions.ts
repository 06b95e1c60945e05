// Lists the functions of a source file with their lengths.
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
  /** Lines from its first to its last, including those of functions inside it. */
  readonly lines: number
}

/** Finds functions, methods and arrow functions that have a body, in any order. */
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
