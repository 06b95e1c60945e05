// Hands a finished archive to the browser's own downloads, which stream to disk. No byte passes through this page.

/** Works as if a person had pressed a download link. */
export function startDownload(url: string, fileName: string): void {
  const link = document.createElement('a')
  link.href = url
  link.download = fileName
  // Firefox only follows links that are in the document.
  document.body.append(link)
  link.click()
  link.remove()
}
