"""The part of the sandbox that runs in other processes: with Python's standard library alone, and without opto.

Its files import nothing but the standard library and each other. In the zygote they go by the name ``opto_child``.
"""
