// Configures the build of the page. Asset URLs are relative, so that it works behind any path prefix.
import { defineConfig } from 'vite'

export default defineConfig({
  root: import.meta.dirname,
  base: './',
  build: {
    outDir: 'dist',
    emptyOutDir: true,
    // The first versions that have light-dark() in CSS.
    target: ['chrome123', 'firefox120', 'safari17.5'],
    modulePreload: false,
    // No assets are inlined. The server's policy would allow data: images, but a file can be cached.
    assetsInlineLimit: 0,
  },
})
