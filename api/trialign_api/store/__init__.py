"""Durable state: jobs, their append-only events, keys, datasets, leases. SQLite (WAL) or PostgreSQL."""
