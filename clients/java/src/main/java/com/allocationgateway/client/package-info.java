/**
 * The client of the allocation gateway: calls that are safe to repeat, exceptions that say what to do, exact money.
 *
 * <p>Begin with {@link com.allocationgateway.client.AllocationClient}. The messages are in {@code
 * com.allocationgateway.allocation.v1}, beside the stubs that this client is made of.
 */
package com.allocationgateway.client;
