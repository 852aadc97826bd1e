"""While one layer computes, the layers after it load."""

from axiom.reference.stream.requests import Request, Requests
from axiom.reference.stream.streamer import BlockDevice, Completion, StreamedExtent, Streamer

__all__ = ["BlockDevice", "Completion", "Request", "Requests", "StreamedExtent", "Streamer"]
