package com.allocationgateway.client;

import io.grpc.ChannelCredentials;
import io.grpc.ClientInterceptor;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.TlsChannelCredentials;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;

/** How the connections of a client are made. */
final class Connecting {
  private static final String USER_AGENT = "allocation-gateway-client-java";
  private static final long KEEPALIVE_SECONDS = 60;
  private static final long KEEPALIVE_TIMEOUT_SECONDS = 20;
  // Answers with labels are the largest there are.
  private static final int LARGEST_ANSWER = 32 << 20;

  private final String address;
  private boolean plaintext;
  private Path trusted;
  private Path chain;
  private Path key;
  private ChannelCredentials credentials;
  private String serverName;

  Connecting(String address) {
    this.address = address;
  }

  void plaintext() {
    plaintext = true;
  }

  /** Returns whether what is sent can be read by others. Of credentials of its caller's own making, nobody can tell. */
  boolean isPlaintext() {
    return plaintext || credentials instanceof InsecureChannelCredentials;
  }

  void trustedCertificates(Path pem) {
    trusted = pem;
  }

  void clientCertificate(Path chainPem, Path keyPem) {
    chain = chainPem;
    key = keyPem;
  }

  void credentials(ChannelCredentials own) {
    credentials = own;
  }

  void serverName(String name) {
    serverName = name;
  }

  /** Makes the channel. */
  ManagedChannel channel(
      ServiceConfig config, List<ClientInterceptor> interceptors, Consumer<? super ManagedChannelBuilder<?>> own) {
    ManagedChannelBuilder<?> builder =
        Grpc.newChannelBuilder(address, chosenCredentials())
            .userAgent(USER_AGENT)
            .keepAliveTime(KEEPALIVE_SECONDS, TimeUnit.SECONDS)
            .keepAliveTimeout(KEEPALIVE_TIMEOUT_SECONDS, TimeUnit.SECONDS)
            .maxInboundMessageSize(LARGEST_ANSWER)
            .disableRetry()
            .disableServiceConfigLookUp()
            .defaultServiceConfig(config.ofChannel())
            .intercept(interceptors);
    if (serverName != null) {
      builder.overrideAuthority(serverName);
    }
    own.accept(builder);
    return builder.build();
  }

  private ChannelCredentials chosenCredentials() {
    boolean ownTls = trusted != null || chain != null;
    if ((plaintext || ownTls) && credentials != null || plaintext && ownTls) {
      throw new IllegalStateException("Plaintext, certificates and credentials go not with each other: choose one");
    }
    if (plaintext) {
      return InsecureChannelCredentials.create();
    }
    return credentials == null ? tls() : credentials;
  }

  private ChannelCredentials tls() {
    TlsChannelCredentials.Builder tls = TlsChannelCredentials.newBuilder();
    try {
      if (trusted != null) {
        tls.trustManager(trusted.toFile());
      }
      if (chain != null) {
        tls.keyManager(chain.toFile(), key.toFile());
      }
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
    return tls.build();
  }
}
