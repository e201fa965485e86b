package com.allocationgateway.client;

import java.util.Iterator;

/**
 * What a job or a watch tells, as it comes: to be gone through once, by one thread at a time, and closed.
 *
 * <pre>{@code
 * try (JobStream<Allocation> outcomes = client.shipments().allocateAll(items, options)) {
 *   for (Outcome<Allocation> outcome : outcomes) {
 *     ...
 *   }
 * }
 * }</pre>
 *
 * <p>Its iterator waits for what comes next, and throws an {@link AllocationException} if it is over before all was
 * told: an {@link UnfinishedJobException} if it is a job that has begun.
 *
 * @param <T> what is told
 */
public interface ResultStream<T> extends Iterable<T>, AutoCloseable {
  /** Returns the iterator, which is the same each time. */
  @Override
  Iterator<T> iterator();

  /** Ends it, also while its iterator waits in another thread. A job can be begun again with its id. */
  @Override
  void close();
}
