"""Claims: what is known of each write, from before it is sent until nobody asks any more."""
