"""Named tensors: dimensions that have names, by which functions are told what to work along, and which are checked and handed on.

- ``names.py``: what may be a name, and how the names of several tensors go together
- ``inference.py``: which names the result of a function has
- ``tensor.py``: the class of tensors with names, and what makes one

PyTorch had them as a prototype from version 1.3 to 2.12. Nothing of it is loaded before a tensor is given names.
"""
