"""opto: autodiff for computational workflows.

Record a run of ordinary Python, give feedback on what came out, and let an optimizer change the parameters
behind it, in PyTorch's loop:

    >>> from opto import trace
    >>> from opto.llm import ScriptedLLM
    >>> from opto.optimizers import OptoPrime
    >>> greeting = trace.node("hi", name="greeting", trainable=True)
    >>> llm = ScriptedLLM(["<variable><name>greeting</name><value>Dear</value></variable>"])
    >>> optimizer = OptoPrime([greeting], llm=llm)
    >>> output = greeting + " Ada"
    >>> optimizer.zero_feedback()
    >>> optimizer.backward(output, "too casual")
    >>> print(optimizer.step())
    step 1: updated greeting
    >>> (greeting + " Ada").data
    'Dear Ada'
"""

__version__ = "0.1.0"
__all__ = ["__version__"]
