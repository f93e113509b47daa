"""Recording: storages, the tape and its trie. See ``README.md``."""

from __future__ import annotations

from flambeau._tape.tape import boundary as boundary
from flambeau._tape.tape import flush as flush
