"""The two ways to ask a client, for tests that hold for both."""

import asyncio


def ask(llm, how="call", messages="hi", **settings):
    """Return what *llm* replies, asked in the way of the fixture ``how``."""
    if how == "call":
        return llm(messages, **settings)

    async def main():
        async with llm:
            return await llm.acall(messages, **settings)

    return asyncio.run(main())
