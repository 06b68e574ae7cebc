"""Answers from a server that speaks OpenAI's chat completions.

`Endpoint.ask` takes requests and gives replies. What was answered once is in the cache and is not asked for again, so
a run that is stopped, or killed, goes on where it was.
"""

from trialign_ray.inference.endpoint.client import Endpoint
from trialign_ray.inference.endpoint.request import ChatRequest, chat_body

__all__ = ["ChatRequest", "Endpoint", "chat_body"]
