// Loaded before everything else, in plain JavaScript: says in one line that this Node is too old to read the rest.
const [major] = process.versions.node.split('.')
if (Number(major) < 26) {
  console.error(`sheaf needs Node 26 or newer and this is ${process.version}: install it, or use "npm ci" on Linux x64`)
  process.exit(1)
}
