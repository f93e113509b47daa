"""`python -m flambeau.distributed.launch`: the older name of `flambeau.distributed.run`."""

from __future__ import annotations

from flambeau.distributed.run import main as main

__all__ = ["main"]

if __name__ == "__main__":
    main()
