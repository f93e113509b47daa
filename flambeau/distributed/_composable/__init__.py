"""The older home of ``fully_shard``, which is in ``fsdp`` here."""
