package com.allocationgateway.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class TokenFileTest {
  private final AtomicLong now = new AtomicLong();

  @TempDir private Path folder;

  @Test
  void aTokenThatIsReplacedIsSentWithinASecond() throws IOException {
    Path file = Files.writeString(folder.resolve("token"), "first\n");
    TokenFile token = new TokenFile(file, now::get);
    Files.writeString(file, "second\n");
    now.addAndGet(Duration.ofMillis(999).toNanos());
    assertEquals("first", token.current());
    now.addAndGet(Duration.ofMillis(1).toNanos());
    assertEquals("second", token.current());
  }

  @ParameterizedTest
  @ValueSource(strings = {"", " \n", "two words", "grüße", "line\nline"})
  void whatIsNoTokenIsPassedOver(String text) throws IOException {
    Path file = Files.writeString(folder.resolve("token"), "first");
    TokenFile token = new TokenFile(file, now::get);
    Files.writeString(file, text);
    now.addAndGet(Duration.ofSeconds(1).toNanos());
    assertEquals("first", token.current());
    Files.delete(file);
    now.addAndGet(Duration.ofSeconds(1).toNanos());
    assertEquals("first", token.current());
    Files.writeString(file, text);
    assertThrows(IllegalArgumentException.class, () -> new TokenFile(file));
  }

  @Test
  void thereHasToBeAFile() {
    assertThrows(UncheckedIOException.class, () -> new TokenFile(folder.resolve("none")));
  }
}
