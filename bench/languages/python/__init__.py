"""What a caller in Python writes, in each way."""
