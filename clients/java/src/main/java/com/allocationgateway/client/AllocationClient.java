package com.allocationgateway.client;

import com.allocationgateway.allocation.v1.ConsignmentAllocationServiceGrpc;
import com.allocationgateway.allocation.v1.ServiceGroupServiceGrpc;
import com.allocationgateway.allocation.v1.ShipmentAllocationServiceGrpc;
import com.google.protobuf.Message;
import io.grpc.ChannelCredentials;
import io.grpc.ClientInterceptor;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.Metadata;
import io.grpc.ServiceDescriptor;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.Consumer;

/**
 * Calls one gateway. It is meant to live as long as the program, and makes any number of calls at once, from any
 * threads.
 *
 * <pre>{@code
 * try (AllocationClient client = AllocationClient.builder("gateway.example:443").build()) {
 *   client.shipments().allocateShipment(request);
 * }
 * }</pre>
 */
public final class AllocationClient implements AutoCloseable {
  /** How long a call may take with all its repetitions, unless it or its client says otherwise: a minute. */
  public static final Duration DEFAULT_TIMEOUT = Duration.ofMinutes(1);

  private static final List<ServiceDescriptor> SERVICES =
      List.of(
          ShipmentAllocationServiceGrpc.getServiceDescriptor(),
          ConsignmentAllocationServiceGrpc.getServiceDescriptor(),
          ServiceGroupServiceGrpc.getServiceDescriptor());

  private final Caller caller;
  private final Shipments shipments;
  private final Consignments consignments;
  private final ServiceGroupCalls serviceGroups;

  private AllocationClient(Builder builder) {
    ServiceConfig config = builder.serviceConfig;
    // What can fail comes before there is a channel.
    Map<String, Rpc> rpcs = Rpc.of(SERVICES, config);
    Budget budget = new Budget(config.throttling().maxTokens, config.throttling().tokenRatio);
    TokenFile token = builder.tokenFile == null ? null : new TokenFile(builder.tokenFile);
    ManagedChannel channel = builder.connecting.channel(config, builder.interceptors, builder.configure);
    caller = new Caller(channel, rpcs, budget, builder.timeout, builder.metadata, token);
    shipments = new Shipments(caller);
    consignments = new Consignments(caller);
    serviceGroups = new ServiceGroupCalls(caller);
  }

  /**
   * Begins a client; the connection is made with the first call.
   *
   * @param address {@code host:port}, or any target of gRPC's. Calls go to all addresses of the host in turn.
   */
  public static Builder builder(String address) {
    return new Builder(address);
  }

  /** Allocates shipments. */
  public Shipments shipments() {
    return shipments;
  }

  /** Allocates consignments. */
  public Consignments consignments() {
    return consignments;
  }

  /** Lists and finds service groups. */
  public ServiceGroupCalls serviceGroups() {
    return serviceGroups;
  }

  /**
   * Makes the call whose request this is, such as the one of an {@link UnknownOutcomeException}.
   *
   * @throws AllocationException it failed
   * @throws IllegalArgumentException this is not the request of an rpc
   */
  public Message call(Message request) {
    return call(request, RequestOptions.DEFAULT);
  }

  /**
   * The same, with options.
   *
   * @throws AllocationException it failed
   * @throws IllegalArgumentException this is not the request of an rpc
   */
  public Message call(Message request, RequestOptions options) {
    return caller.call(request, options);
  }

  /**
   * Closes the connections. A call under way fails: with an {@link UnknownOutcomeException} if it may have been carried
   * out, or else with an {@link IllegalStateException}.
   */
  @Override
  public void close() {
    caller.close();
  }

  /** How a client reaches its gateway, and what it does unless a call says otherwise. */
  public static final class Builder {
    private final Connecting connecting;
    private final List<ClientInterceptor> interceptors = new ArrayList<>();
    private final Metadata metadata = new Metadata();
    private Duration timeout = DEFAULT_TIMEOUT;
    private Path tokenFile;
    private ServiceConfig serviceConfig = ServiceConfig.ofAllClients();
    private Consumer<? super ManagedChannelBuilder<?>> configure = channel -> {};

    private Builder(String address) {
      connecting = new Connecting(Objects.requireNonNull(address, "address"));
    }

    /** Does without TLS, for a sandbox, or where a mesh does it. The default is TLS with Java's list of authorities. */
    public Builder plaintext() {
      connecting.plaintext();
      return this;
    }

    /** Trusts the authorities in a PEM file instead of those of Java's own list. */
    public Builder trustedCertificates(Path pem) {
      connecting.trustedCertificates(pem);
      return this;
    }

    /** Proves who is calling, for mutual TLS: PEM files of a certificate chain and of its private key in PKCS #8. */
    public Builder clientCertificate(Path chain, Path key) {
      connecting.clientCertificate(chain, key);
      return this;
    }

    /** Connects with credentials of gRPC's, such as those of {@code io.grpc.TlsChannelCredentials}. */
    public Builder credentials(ChannelCredentials credentials) {
      connecting.credentials(credentials);
      return this;
    }

    /** Expects this name in the gateway's certificate, instead of the host that is called. */
    public Builder serverName(String name) {
      connecting.serverName(name);
      return this;
    }

    /**
     * Sends the bearer token in a file, which is read again within a second of being replaced. A call with {@code
     * authorization} in its metadata, or in that of the client, is sent with that instead.
     */
    public Builder tokenFile(Path file) {
      tokenFile = file;
      return this;
    }

    /**
     * Sends metadata with each call.
     *
     * @throws IllegalArgumentException the name or the value cannot be sent
     */
    public Builder metadata(String name, String value) {
      Headers.add(metadata, name, value);
      return this;
    }

    /**
     * Calls for this account, where the gateway has several, unless a call names another. If it is empty, the gateway
     * chooses, as it does without it.
     *
     * @throws IllegalArgumentException it cannot be sent
     */
    public Builder account(String account) {
      Headers.setAccount(metadata, account);
      return this;
    }

    /**
     * Gives a call this time with all its repetitions, unless it says otherwise.
     *
     * @throws IllegalArgumentException it is not more than zero, or more than a year
     */
    public Builder timeout(Duration timeout) {
      this.timeout = Timeouts.checked(timeout);
      return this;
    }

    /**
     * Takes another service configuration of gRPC's, as JSON. It has to have a time-out for every rpc but streams.
     *
     * @throws com.google.gson.JsonParseException it cannot be read
     */
    public Builder serviceConfig(String json) {
      serviceConfig = ServiceConfig.parse(json);
      return this;
    }

    /** Has gRPC's interceptors see each attempt. */
    public Builder intercept(ClientInterceptor... more) {
      interceptors.addAll(List.of(more));
      return this;
    }

    /** Sets anything else of gRPC's channel. It is called last, and wins. */
    public Builder configureChannel(Consumer<? super ManagedChannelBuilder<?>> configure) {
      this.configure = configure;
      return this;
    }

    /**
     * Makes the client.
     *
     * @throws IllegalStateException TLS and plaintext were asked for, or a token would be sent without TLS
     * @throws java.io.UncheckedIOException a file cannot be read
     * @throws IllegalArgumentException a file does not hold what it should, or the service configuration lacks an rpc
     */
    public AllocationClient build() {
      if (connecting.isPlaintext() && tokenFile != null) {
        throw new IllegalStateException("A token goes not with plaintext: it could be read on its way");
      }
      return new AllocationClient(this);
    }
  }
}
