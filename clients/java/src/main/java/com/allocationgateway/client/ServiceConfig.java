package com.allocationgateway.client;

import com.google.gson.Gson;
import com.google.gson.JsonObject;
import com.google.gson.annotations.SerializedName;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** gRPC's service configuration, as far as this client keeps to it. */
final class ServiceConfig {
  private static final String RESOURCE = "service_config.json";
  private static final int NANO_DECIMALS = 9;
  private static final Pattern DURATION = Pattern.compile("(\\d+(?:\\.\\d{1,9})?)s");

  @SerializedName("loadBalancingConfig")
  private List<JsonObject> loadBalancing = List.of();

  @SerializedName("retryThrottling")
  private Throttling throttling = new Throttling();

  @SerializedName("methodConfig")
  private List<MethodConfig> methods = List.of();

  private ServiceConfig() {}

  /** What repetitions may cost. */
  static final class Throttling {
    double maxTokens = 1000;
    double tokenRatio = 0.1;

    private Throttling() {}
  }

  /** When a call is repeated. */
  static final class RetryPolicy {
    int maxAttempts = 1;
    String initialBackoff = "0s";
    String maxBackoff = "0s";
    double backoffMultiplier = 1;
    List<String> retryableStatusCodes = List.of();

    private RetryPolicy() {}
  }

  /** What is said of some rpcs. */
  static final class MethodConfig {
    List<Name> name = List.of();
    String timeout;
    RetryPolicy retryPolicy;

    private MethodConfig() {}
  }

  private static final class Name {
    String service = "";
    String method = "";

    private Name() {}
  }

  /** The one that the clients in all languages have. */
  static ServiceConfig ofAllClients() {
    try (InputStream stream = ServiceConfig.class.getResourceAsStream(RESOURCE)) {
      return parse(new String(stream.readAllBytes(), StandardCharsets.UTF_8));
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }

  /**
   * Reads the text of one.
   *
   * @throws com.google.gson.JsonParseException it is not JSON, or something else is where this client looks
   */
  static ServiceConfig parse(String json) {
    return new Gson().fromJson(json, ServiceConfig.class);
  }

  Throttling throttling() {
    return throttling;
  }

  /** Returns what is said of each rpc, by its full name: the service, a slash, the method. */
  Map<String, MethodConfig> byName() {
    Map<String, MethodConfig> found = new HashMap<>();
    methods.forEach(one -> one.name.forEach(name -> found.put(name.service + "/" + name.method, one)));
    return found;
  }

  /**
   * Returns what gRPC itself gets of it: how calls are spread. Time-outs and repetitions are this client's to keep, for
   * gRPC knows no request ids.
   */
  Map<String, ?> ofChannel() {
    Gson gson = new Gson();
    JsonObject kept = new JsonObject();
    kept.add("loadBalancingConfig", gson.toJsonTree(loadBalancing));
    @SuppressWarnings("unchecked")
    Map<String, ?> made = gson.fromJson(kept, Map.class);
    return made;
  }

  /**
   * Reads a duration as protobuf's JSON has it, such as {@code 0.1s}.
   *
   * @throws IllegalArgumentException it is none
   */
  static Duration duration(String text) {
    Matcher matcher = DURATION.matcher(text);
    if (!matcher.matches()) {
      throw new IllegalArgumentException(
          "The service configuration has \"" + text + "\" where a duration such as \"1.5s\" belongs");
    }
    BigDecimal nanos = new BigDecimal(matcher.group(1)).movePointRight(NANO_DECIMALS);
    return Duration.ofNanos(nanos.longValueExact());
  }
}
