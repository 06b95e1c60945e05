// Serves a few dozen small images to try sheaf with, on a loopback listener of their own. They are computed and never change.
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { encode } from 'fast-png'

export interface Samples extends AsyncDisposable {
  readonly port: number
  readonly urls: string[]
}

const COUNT = 48
const PATH = /^\/sample-(\d{2})\.png$/
const WIDTH = 240
const HEIGHT = 160

/** @throws if the port is taken */
export async function startSamples(port: number): Promise<Samples> {
  const images = new Map<number, Uint8Array>()
  const server = createServer({ requestTimeout: 10_000, keepAliveTimeout: 5_000 }, (req, res) => {
    const number = Number(PATH.exec(req.url ?? '')?.[1] ?? 0)
    if (number < 1 || number > COUNT || (req.method !== 'GET' && req.method !== 'HEAD')) {
      res.writeHead(404).end()
      return
    }
    const image = images.get(number) ?? draw(number)
    images.set(number, image)
    res.writeHead(200, {
      'content-type': 'image/png',
      'content-length': image.length,
      etag: `"sample-${number}"`,
      'last-modified': new Date(Date.UTC(2025, 0, number)).toUTCString(),
      'x-content-type-options': 'nosniff',
    })
    res.end(req.method === 'HEAD' ? undefined : image)
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', resolve)
  })
  const bound = (server.address() as AddressInfo).port
  const numbers = Array.from({ length: COUNT }, (_, index) => String(index + 1).padStart(2, '0'))
  return {
    port: bound,
    urls: numbers.map((number) => `http://127.0.0.1:${bound}/sample-${number}.png`),
    async [Symbol.asyncDispose]() {
      server.close()
      server.closeAllConnections()
    },
  }
}

/** Draws stalks in a field under a sky. The number decides colours and sway. */
function draw(number: number): Uint8Array {
  const data = new Uint8Array(WIDTH * HEIGHT * 3)
  const hue = (number * 137.5) % 360
  const sway = 0.15 + (number % 7) / 20
  for (let y = 0; y < HEIGHT; y++) {
    for (let x = 0; x < WIDTH; x++) {
      const height = y / HEIGHT
      const stalk = Math.sin((x + sway * (HEIGHT - y) * Math.sin(number + x / 60)) / (2 + (number % 5)))
      const isField = height > 0.45 + 0.08 * Math.sin(x / 30 + number)
      const [red, green, blue] = isField
        ? hsl(40 + (hue % 25), 0.75, 0.35 + 0.2 * stalk)
        : hsl(hue, 0.5, 0.55 + 0.35 * height)
      const at = (y * WIDTH + x) * 3
      data[at] = red
      data[at + 1] = green
      data[at + 2] = blue
    }
  }
  return encode({ width: WIDTH, height: HEIGHT, data, channels: 3 })
}

/** Converts as in https://www.w3.org/TR/css-color-4/#hsl-to-rgb, to channels of 0 to 255. */
function hsl(hue: number, saturation: number, lightness: number): [number, number, number] {
  const channel = (offset: number) => {
    const k = (offset + hue / 30) % 12
    const amount = saturation * Math.min(lightness, 1 - lightness)
    return Math.round(255 * (lightness - amount * Math.max(-1, Math.min(k - 3, 9 - k, 1))))
  }
  return [channel(0), channel(8), channel(4)]
}
