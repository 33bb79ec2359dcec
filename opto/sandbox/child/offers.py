"""What both sides call by number: what a kernel may help with, and how a child ends."""

__all__ = ["FILES", "NOT_STARTED", "OUT_OF_MEMORY", "SECCOMP"]

#: As bits: it keeps a process from files, by Landlock; from system calls, by seccomp.
FILES, SECCOMP = 1, 2
#: The exit code of a child that ran out of memory outside the candidate's code.
OUT_OF_MEMORY = 71
#: In place of how a child ended, where there could be none. None of its own can say so.
NOT_STARTED = -1
