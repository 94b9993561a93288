"""MockS3 keeps the contract of ports.ObjectStore."""

from tests.contracts.object_store import ObjectStoreContract


class TestMockS3(ObjectStoreContract):
    """The suite, on MockS3."""
