"""The rpcs that last: jobs, of any number of shipments or consignments, each with its outcome."""
