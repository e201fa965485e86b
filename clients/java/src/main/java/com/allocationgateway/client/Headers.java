package com.allocationgateway.client;

import io.grpc.Metadata;

/** Metadata that is sent. */
final class Headers {
  private static final String ACCOUNT = "allocation-account";
  private static final Metadata.Key<String> ACCOUNT_KEY =
      Metadata.Key.of(ACCOUNT, Metadata.ASCII_STRING_MARSHALLER);

  private Headers() {}

  static Metadata copy(Metadata metadata) {
    Metadata made = new Metadata();
    made.merge(metadata);
    return made;
  }

  /** Returns both. The account of the second counts, if it names one. */
  static Metadata joined(Metadata first, Metadata second) {
    Metadata made = copy(first);
    if (second.containsKey(ACCOUNT_KEY)) {
      made.discardAll(ACCOUNT_KEY);
    }
    made.merge(second);
    return made;
  }

  /** Names the account, instead of one that is named already. */
  static void setAccount(Metadata metadata, String account) {
    metadata.discardAll(ACCOUNT_KEY);
    add(metadata, ACCOUNT, account);
  }

  /** Returns the account that is named; empty if none is. */
  static String accountOf(Metadata metadata) {
    String account = metadata.get(ACCOUNT_KEY);
    return account == null ? "" : account;
  }

  /** Adds a header. */
  static void add(Metadata metadata, String name, String value) {
    if (value.isEmpty() || !value.chars().allMatch(one -> one >= ' ' && one <= '~')) {
      throw new IllegalArgumentException("The value of " + name + " has to be printable ASCII, and not empty");
    }
    metadata.put(Metadata.Key.of(name, Metadata.ASCII_STRING_MARSHALLER), value);
  }
}
