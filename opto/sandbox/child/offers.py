"""What a kernel may help with."""

__all__ = ["FILES", "SECCOMP"]

#: As bits: it keeps a process from files, by Landlock; from system calls, by seccomp.
FILES, SECCOMP = 1, 2
