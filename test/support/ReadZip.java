// Reads zips front to back, as a stream, with Java's ZipInputStream; it checks sizes and CRCs itself and never seeks.

import java.io.BufferedInputStream;
import java.io.BufferedReader;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStreamWriter;
import java.io.PrintWriter;
import java.util.zip.CRC32;
import java.util.zip.ZipEntry;
import java.util.zip.ZipInputStream;

import static java.nio.charset.StandardCharsets.UTF_8;

/** For each path on a line of the input: a line for each entry (size, CRC, name), then "end", or "bad" and why. */
class ReadZip {
  private static final byte[] WINDOW = new byte[1 << 20];

  public static void main(String[] none) throws IOException {
    var paths = new BufferedReader(new InputStreamReader(System.in, UTF_8));
    var answers = new PrintWriter(new OutputStreamWriter(System.out, UTF_8));
    for (String path = paths.readLine(); path != null; path = paths.readLine()) {
      try (var zip = new ZipInputStream(new BufferedInputStream(new FileInputStream(path), WINDOW.length), UTF_8)) {
        for (ZipEntry entry = zip.getNextEntry(); entry != null; entry = zip.getNextEntry()) {
          answers.println(read(zip) + " " + entry.getName());
        }
        answers.println("end");
      } catch (IOException | RuntimeException error) {
        answers.println("bad " + error);
      }
      answers.flush();
    }
  }

  private static String read(ZipInputStream zip) throws IOException {
    var checksum = new CRC32();
    long size = 0;
    for (int bytes = zip.read(WINDOW); bytes >= 0; bytes = zip.read(WINDOW)) {
      checksum.update(WINDOW, 0, bytes);
      size += bytes;
    }
    return size + " " + checksum.getValue();
  }
}
