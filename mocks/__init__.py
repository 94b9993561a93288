"""Local stand-ins for S3, DynamoDB and SQS, with the same promises, kept in files."""
