// Loaded before everything else, in plain JavaScript: says in one line that this Node is too old to read the rest, and keeps
// what Node makes of the sources, so that only the first start strips and compiles them.
import module from 'node:module'
import { fileURLToPath } from 'node:url'

const [major] = process.versions.node.split('.')
if (Number(major) < 26) {
  console.error(`sheaf needs Node 26 or newer and this is ${process.version}: install it, or use "npm ci" on Linux x64`)
  process.exit(1)
}
// By the sources' content, so it is never stale; where it cannot be written, it is not. NODE_COMPILE_CACHE has precedence.
module.enableCompileCache(fileURLToPath(new URL('../node_modules/.cache/sheaf-sources', import.meta.url)))
