"""The Consignments API: consignments, the rules of allocating them, quotes, groups and labels."""
