"""Requests and replies that the tests of cassettes are about."""

from opto.llm import Reply
from opto.llm.cassettes import Request


def asking(content="hello", model="openai:m", rollout=None, secrets=(), **settings):
    return Request(model, [{"role": "user", "content": content}], settings, rollout, secrets)


def said(text, **more):
    return Reply(text, model="m", **more)
