// Hands a finished archive to the browser's own downloads, which stream to disk; no byte passes through this page.

/** As if the reader had pressed a download link. */
export function startDownload(url: string, fileName: string): void {
  const link = document.createElement('a')
  link.href = url
  link.download = fileName
  // Firefox only follows links that are in the document.
  document.body.append(link)
  link.click()
  link.remove()
}
