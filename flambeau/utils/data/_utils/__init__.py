"""How a :class:`DataLoader` fetches, collates and carries batches; each part is a file."""
