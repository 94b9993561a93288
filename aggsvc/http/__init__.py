"""What the API and the pages share: uploads, event streams, error mapping."""
