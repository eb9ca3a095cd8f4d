"""Tells others what happens in the registry: publications, rollbacks and spans in quarantine, as CloudEvents."""
