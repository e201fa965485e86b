package com.allocationgateway.client;

import io.grpc.Metadata;
import java.util.List;

/** Metadata that is sent. */
final class Headers {
  private static final String ACCOUNT = "allocation-account";
  private static final Metadata.Key<String> ACCOUNT_KEY =
      Metadata.Key.of(ACCOUNT, Metadata.ASCII_STRING_MARSHALLER);
  private static final Metadata.Key<String> AUTHORIZATION =
      Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

  private Headers() {}

  static Metadata copy(Metadata metadata) {
    Metadata made = new Metadata();
    made.merge(metadata);
    return made;
  }

  /**
   * Returns both. The account and the authorization of the second count, if it has them: the gateway refuses two. An account
   * without a name is none.
   */
  static Metadata joined(Metadata first, Metadata second) {
    Metadata made = copy(first);
    for (Metadata.Key<String> key : List.of(ACCOUNT_KEY, AUTHORIZATION)) {
      if (second.containsKey(key)) {
        made.discardAll(key);
      }
    }
    made.merge(second);
    if (accountOf(made).isEmpty()) {
      made.discardAll(ACCOUNT_KEY);
    }
    return made;
  }

  /** Sends a bearer token, unless there is an authorization already. */
  static void authorize(Metadata metadata, TokenFile token) {
    if (!metadata.containsKey(AUTHORIZATION)) {
      metadata.put(AUTHORIZATION, "Bearer " + token.current());
    }
  }

  /** Names the account, instead of one that is named already. With an empty name the gateway chooses. */
  static void setAccount(Metadata metadata, String account) {
    if (account.isEmpty()) {
      metadata.discardAll(ACCOUNT_KEY);
      metadata.put(ACCOUNT_KEY, "");
    } else {
      add(metadata, ACCOUNT, account);
    }
  }

  /** Returns the account that is named; empty if none is. */
  static String accountOf(Metadata metadata) {
    String account = metadata.get(ACCOUNT_KEY);
    return account == null ? "" : account;
  }

  /** Adds a header; an account or an authorization takes the place of one that is there. */
  static void add(Metadata metadata, String name, String value) {
    if (value.isEmpty() || !value.chars().allMatch(one -> one >= ' ' && one <= '~')) {
      throw new IllegalArgumentException("The value of " + name + " has to be printable ASCII, and not empty");
    }
    Metadata.Key<String> key = Metadata.Key.of(name, Metadata.ASCII_STRING_MARSHALLER);
    if (key.equals(ACCOUNT_KEY) || key.equals(AUTHORIZATION)) {
      metadata.discardAll(key);
    }
    metadata.put(key, value);
  }
}
