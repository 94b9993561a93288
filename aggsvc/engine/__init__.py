"""The engine: bytes in, a Summary and row errors out; knows nothing of HTTP, stores or jobs."""
