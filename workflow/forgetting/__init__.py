"""Forgetting and loss of plasticity, measured: everything the workflow's rules run."""
