// Formats sizes for people, in binary units (IEC 80000-13) on every surface, as in the settings.

const UNITS = ['KiB', 'MiB', 'GiB', 'TiB', 'PiB']

/** For example "999 B", "1.2 KiB", "64.0 MiB". */
export function formatBytes(bytes: number): string {
  if (bytes < 1024) return `${Math.round(bytes)} B`
  let value = bytes
  let unit = -1
  // 1023.95 would be rounded to "1024.0", so it takes the next unit.
  while (value >= 1023.95 && unit < UNITS.length - 1) {
    value /= 1024
    unit++
  }
  return `${value.toFixed(1)} ${UNITS[Math.max(unit, 0)]}`
}
