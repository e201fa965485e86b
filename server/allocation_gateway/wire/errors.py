"""The two kinds of error that HTTP/2 knows (RFC 9113, section 5.4)."""

from __future__ import annotations


class Http2ConnectionError(Exception):
    """The peer has broken the rules of HTTP/2 in a way that ends the connection.

    Attributes:
        code: The error code of the GOAWAY frame. The text of the error becomes its debug data.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Http2StreamError(Exception):
    """The peer has broken the rules of HTTP/2 in a way that ends one stream, and leaves the connection unharmed.

    Attributes:
        stream: The stream.
        code: The error code of the RST_STREAM frame.
    """

    def __init__(self, stream: int, code: int) -> None:
        super().__init__(stream, code)
        self.stream = stream
        self.code = code
