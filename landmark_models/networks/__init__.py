"""Networks of our own, registered with timm, and what serves a network: its head, its rule, its engine."""
