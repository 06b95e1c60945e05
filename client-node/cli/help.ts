// The texts of --help. No logic.
import { DEFAULT_SERVER, type Topic } from './args.ts'

const overview = `sheaf turns a list of URLs into one archive, and tells what happens while it happens.

Usage:
  sheaf get [URL...] [-i LIST] [-o FILE]   fetch URLs into one archive
  sheaf plan [URL...] [-i LIST]            say what would be in that archive, without making it
  sheaf echo TEXT                          send a text to the server and print what comes back
  sheaf info                               print the server's version and limits
  sheaf stress [...]                       run many clients against a server and check every byte
  sheaf help COMMAND                       say more about one of these
  sheaf --version

The server is --server URL, else $SHEAF_SERVER, else ${DEFAULT_SERVER}.
`

const server = `  -s, --server URL       where the server is (default: $SHEAF_SERVER, else ${DEFAULT_SERVER})
  -h, --help             print this
`

const byTopic: Record<Topic, string> = {
  get: `Usage: sheaf get [URL...] [-i LIST] [-o FILE] [options]

Has the server fetch all URLs into one archive, and downloads it while it grows.

  -i, --input LIST       read URLs from a file, "-" for standard input; may be given more than once.
                         What a list may be is said below.
      --assume-https     take hosts without a scheme in lists, such as example.org/a.zip, as https
  -o, --output FILE      write the archive there. A file of that name is replaced, but only by an archive that
                         is whole and checked. Default: the archive's own name in the current directory, with
                         a number if that name is taken.
                         "-" writes to standard output as it comes: then only the size can be checked.
  -n, --name NAME        what the server calls the archive, without extension
  -f, --format FORMAT    zip, tar or tar.gz (default: by the name of FILE, else zip)
  -c, --compress HOW     how a zip holds its entries. store: as they are (default); deflate: compressed if that makes
                         them smaller; auto: the same, but pictures, films and archives are left as they are
      --report           add sheaf-report.json as the last entry, with the outcome of each URL
      --sha256           ask the server for the archive's SHA-256, and check the saved bytes against it
      --on-failure WHAT  skip: leave out what cannot be fetched (default); abort: make no archive if a URL fails
                         or a line of a list is ignored
      --json             print each event as one line of JSON on standard output, and nothing else there
  -q, --quiet            print nothing but errors
${server}
A list has one URL a line, then optionally a tab and the name it shall have in the archive. Lines that start with "#" are
comments. Tables (CSV, semicolons, tabs), JSON (URLs, or objects with a url and a name), JSON lines, HTML, Markdown and
input files of aria2 are read as well, in UTF-8 or, with a byte order mark, in UTF-16. What is not an http or https URL
is ignored; standard error says which line, and why.

Exit codes: 0 every URL is in the archive; 3 some could not be fetched, or lines of a list were ignored; 1 there is no
archive; 2 wrong use, or a list without a URL.
Ctrl-C cancels the archive at the server too, and leaves no file behind; a second one ends at once.
`,
  plan: `Usage: sheaf plan [URL...] [-i LIST] [options]

Says what an archive of these URLs would hold: each entry's name and size, or why it would be left out. Nothing is
fetched and no archive is made. It is a prediction: the server asks each URL by HEAD, and a GET may be answered otherwise.

  -i, --input LIST       read URLs from a file, "-" for standard input, as "sheaf get" does
      --assume-https     take hosts without a scheme in lists as https
  -n, --name NAME        what the archive would be called, without extension
  -f, --format FORMAT    zip, tar or tar.gz (default: zip)
      --no-head          do not ask the origins: names come from the URLs, there are no sizes, and only faults in the
                         URLs themselves are found
      --json             print the whole plan as JSON
${server}
Exit codes: 0 every URL would be in the archive; 3 some would not, or lines of a list were ignored; 1 there is no
answer; 2 wrong use, or a list without a URL.
`,
  echo: `Usage: sheaf echo TEXT

Sends the text to the server, which logs it and sends it back.

${server}`,
  info: `Usage: sheaf info [--json]

      --json             print the server's whole answer as JSON
${server}`,
  stress: `Usage: sheaf stress [options]

Runs many clients at once, round after round, each with its own random choice of URLs, and checks every entry of
every archive against its checksum and against the source fetched directly.

  -i, --input LIST       choose from this list (default: the samples that the server offers)
      --clients N        clients at the same time (default 10)
      --rounds N         rounds, one after the other (default 3)
      --urls N           entries of each archive (default 20)
      --double           some clients send the same key twice at once, and must get identical archives
      --leave FRACTION   this share of the clients leaves midway, 0 to 1 (default 0)
      --seed N           make the same choices again
${server}
Exit codes: 0 all is well; 1 a wrong byte, which ends the run; 3 some clients got no archive; 2 wrong use.
`,
}

export function helpText(topic: Topic | null): string {
  return topic === null ? overview : byTopic[topic]
}
