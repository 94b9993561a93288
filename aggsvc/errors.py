"""What can go wrong, as a tree.

AggsvcError
├── StartRefused            the service cannot start: one line, exit status 1
│   ├── BadSettings         a variable of the environment has a value that makes no sense
│   ├── DataLocked          another process holds the data folders
│   └── DamagedStore        a file of a store is damaged: names it and the offset
├── TokenRefused            a token cannot be made or revoked
├── FileRejected            the engine cannot read the file: it ends `failed` with this message
├── InvalidRequest          400  the request is malformed
│   ├── InvalidParameter    400  a parameter is wrong, there twice or not known
│   ├── InvalidUpload       400  the upload is broken, cut short or empty
│   ├── UnsupportedMedia    415  the body is of a kind or an encoding that is not taken
│   ├── KeyReused           422  the Idempotency-Key belongs to an upload of other bytes
│   ├── NotAcceptable       406  the client takes none of the kinds that there are
│   ├── RangeNotSatisfiable 416  none of the bytes asked for are there
│   └── UnknownExpectation  417  the request expects what is not known
├── Unauthenticated         401  nobody is let in without a token, and none came
│   └── TokenInvalid        401  the token is wrong, was revoked or has expired
├── Forbidden               403  who calls may not do this
│   ├── ScopeMissing        403  the token's scope does not allow it
│   └── ForeignRequest      403  a page of another site has sent it
├── TooManyFailures         429  too many wrong tokens came from this address
├── TooSlow                 408  the client sent or took bytes too slowly
├── TooLarge                413  the upload is larger than is taken
├── NotFound                404  no such file
│   ├── SensorNotFound      404  the file has no readings of this sensor
│   └── ObjectNotFound      no such object in the bucket
├── Conflict                409  the file is not in a state that allows this
│   └── ConditionFailed     a conditional write found another version
├── ItemTooLarge            an item over 400 KB was refused
├── Busy                    503  no new work is taken now
└── StoreUnavailable        503  a store cannot read or write now
    ├── TokensUnreadable    the file of tokens cannot be read, so nobody is let in
    ├── StoreReadOnly       its disk failed to keep a write: nothing is written until the restart
    ├── ObjectLost          an object of the service's own is no more where it was put
    ├── StatisticsDamaged   an object of the service's own is not as it was written
    └── StoreFull           507  there is no room for a write

Each carries one plain sentence that says what was wrong, where, and what would be right, and where
one part of a request is at fault its name: that of a parameter, a header or a form field.
"""


class AggsvcError(Exception):
    """Base of every error of ours."""

    def __init__(self, text: str = "", field: str | None = None) -> None:
        super().__init__(text)
        self.field = field


class StartRefused(AggsvcError):
    """The service cannot start; the text says what to do."""


class BadSettings(StartRefused):
    """One line per variable whose value makes no sense."""


class DataLocked(StartRefused):
    """Another process holds the data folders."""


class DamagedStore(StartRefused):
    """A file of a store is damaged where a crash cannot have done it."""


class TokenRefused(AggsvcError):
    """A token cannot be made or revoked; the text says what would be right."""


class FileRejected(AggsvcError):
    """The file as a whole cannot be read; the text becomes the record's message."""


class InvalidRequest(AggsvcError):
    """The request is malformed or asks for something that does not exist."""


class InvalidParameter(InvalidRequest):
    """A parameter has a value that it cannot have, is there twice, or is not known."""


class InvalidUpload(InvalidRequest):
    """The upload is not one file of at least a byte in a whole multipart body."""


class UnsupportedMedia(InvalidRequest):
    """The request's body is of a kind or an encoding that is not taken."""


class KeyReused(InvalidRequest):
    """The Idempotency-Key belongs to an upload of other bytes."""


class NotAcceptable(InvalidRequest):
    """The request's Accept leaves none of the kinds in which the answer can be given."""


class RangeNotSatisfiable(InvalidRequest):
    """The request's Range has no byte of those that there are, `size` in all."""

    def __init__(self, message: str, size: int) -> None:
        super().__init__(message)
        self.size = size


class UnknownExpectation(InvalidRequest):
    """The request's Expect is something else than 100-continue."""


class Unauthenticated(AggsvcError):
    """The request does not say by a token who sends it."""


class TokenInvalid(Unauthenticated):
    """The request's token is wrong, was revoked or has expired."""


class Forbidden(AggsvcError):
    """Who sends the request may not do what it asks for."""


class ScopeMissing(Forbidden):
    """The token's scope does not allow this."""

    def __init__(self, needs: str, has: str) -> None:
        super().__init__(f"this needs a token of the scope {needs}; this one's is {has}")
        self.needs = needs


class ForeignRequest(Forbidden):
    """A page that is none of ours has had a browser send the request."""


class TooManyFailures(AggsvcError):
    """Too many wrong tokens came from an address; a wrong one may be tried again in `seconds`."""

    def __init__(self, seconds: int) -> None:
        super().__init__(
            f"too many wrong tokens came from this address; try another in {seconds} s, a right "
            "one at once"
        )
        self.seconds = seconds


class TooSlow(AggsvcError):
    """The client sends or takes bytes more slowly than it is waited for."""


class TooLarge(AggsvcError):
    """The upload is larger than MAX_UPLOAD_BYTES."""


class NotFound(AggsvcError):
    """There is no file with this id."""


class SensorNotFound(NotFound):
    """The file has no readings of this sensor."""


class ObjectNotFound(NotFound):
    """There is no object with this key."""


class Conflict(AggsvcError):
    """The file is not in a state that allows this."""


class ConditionFailed(Conflict):
    """A conditional write found another version of the item than expected."""


class ItemTooLarge(AggsvcError):
    """An item over DynamoDB's 400 KB."""


class Busy(AggsvcError):
    """No new work is taken now: there is enough of it, or the service stops."""


class StoreUnavailable(AggsvcError):
    """A store cannot read or write now; its text names files, `public` is for clients."""

    public = "a store cannot read or write now; try again later (the service's log says why)"


class TokensUnreadable(StoreUnavailable):
    """The file of tokens cannot be read, so that nobody is let in."""

    public = (
        "the tokens cannot be read, so nobody is let in; whoever runs the service must mend their "
        "file (the log says how)"
    )


class StoreReadOnly(StoreUnavailable):
    """A store's disk failed to keep a write, so that no other is taken until the restart."""

    public = (
        "a store is read-only since its disk failed to keep a write; whoever runs the service must "
        "check the disk and restart it"
    )


class StoreFull(StoreUnavailable):
    """There is no room for a write, of which nothing was kept."""

    public = "there is no room on the service's disk; try again when there is, or send less at once"


class ObjectLost(StoreUnavailable):
    """An object of a file that is there is no more in its bucket."""

    public = (
        "what the service kept of the file is gone from its store, though nobody deleted the file; "
        "whoever runs the service finds in its log what to restore, and with the upload there the "
        "file can be reprocessed"
    )


class StatisticsDamaged(StoreUnavailable):
    """The object with the statistics of a file's sensors is not as it was written."""

    public = "the statistics of the file's sensors are damaged; reprocess the file"
