// How the page is built. Relative asset URLs, so that it works behind any path prefix.
import { defineConfig } from 'vite'

export default defineConfig({
  root: import.meta.dirname,
  base: './',
  build: {
    outDir: 'dist',
    emptyOutDir: true,
    // The first with light-dark() of CSS.
    target: ['chrome123', 'firefox120', 'safari17.5'],
    modulePreload: false,
    // The policy the server sends would allow data: images, but a file of its own can be cached.
    assetsInlineLimit: 0,
  },
})
