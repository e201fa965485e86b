"""Ship, the shipments API: its world of carriers and shipments, the engine over it, and its REST paths."""
