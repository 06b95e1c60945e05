// What the browser project is given: where the server under test and the origin are.
declare module 'vitest' {
  export interface ProvidedContext {
    serverUrl: string
    originUrl: string
  }
}

export {}
