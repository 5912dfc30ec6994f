"""The skeleton that every stage service shares: fetch, batch, run, put, answer."""
