"""Whether packed log-probs of a model are those of its plain forward, found out on a small copy before a run starts."""
