"""What calls cost, beside other ways to do the same: `make bench`, and its guard for every change."""
