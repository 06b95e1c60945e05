// Declares what the browser tests are given: the URLs of the server under test and of the origin.
declare module 'vitest' {
  export interface ProvidedContext {
    serverUrl: string
    originUrl: string
  }
}

export {}
