"""MockDynamoDB keeps the contract of ports.MetadataTable."""

from tests.contracts.metadata_table import MetadataTableContract


class TestMockDynamoDB(MetadataTableContract):
    """The suite, on MockDynamoDB."""
