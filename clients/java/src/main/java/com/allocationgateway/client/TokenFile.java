package com.allocationgateway.client;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import java.util.function.LongSupplier;
import java.util.regex.Pattern;

/** A bearer token in a file that may be replaced at any time, as Kubernetes does with projected tokens. */
final class TokenFile {
  private static final long CHECK_NANOS = 1_000_000_000;
  // What else would be is no value of a header.
  private static final Pattern TOKEN = Pattern.compile("[\\x21-\\x7e]+");

  private final Path file;
  private final LongSupplier now;
  private String token;
  private long readAt;

  /**
   * Reads the file.
   *
   * @throws UncheckedIOException it cannot be read
   * @throws IllegalArgumentException it holds no token
   */
  TokenFile(Path file) {
    this(file, System::nanoTime);
  }

  TokenFile(Path file, LongSupplier now) {
    this.file = file;
    this.now = now;
    readAt = now.getAsLong();
    try {
      token = read().orElseThrow(() -> new IllegalArgumentException("The token file " + file + " holds no token"));
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }

  /** Returns the token of at most a second ago; the one before it while the file cannot be read or holds none. */
  synchronized String current() {
    long time = now.getAsLong();
    if (time - readAt >= CHECK_NANOS) {
      readAt = time;
      try {
        token = read().orElse(token);
      } catch (IOException unreadable) {
        return token;
      }
    }
    return token;
  }

  private Optional<String> read() throws IOException {
    return Optional.of(Files.readString(file).trim()).filter(text -> TOKEN.matcher(text).matches());
  }
}
