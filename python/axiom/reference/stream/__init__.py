"""While one layer computes, the layers after it load."""

from .requests import Request, Requests
from .streamer import BlockDevice, Completion, StreamedExtent, Streamer

__all__ = ["BlockDevice", "Completion", "Request", "Requests", "StreamedExtent", "Streamer"]
