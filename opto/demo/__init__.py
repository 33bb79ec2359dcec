"""What ``opto demo`` runs: a simulator that knows nothing of opto, and a program around it."""
