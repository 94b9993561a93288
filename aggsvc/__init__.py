"""aggsvc, the Mock S3 Aggregator: sensor CSV files in, exact aggregates and every bad row out."""
