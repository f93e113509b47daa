"""Graph mode: the steps by which a traced network is observed and converted."""
